"""Reports: the table and the picture of a summary; and what importing the room costs."""

import io
import subprocess
import sys

import polars as pl
import pytest

from ruri_kedro.benchmark.comparing.report import bar_plot, main_columns, markdown_table, table_by_metric
from ruri_kedro.errors import DataError

SUMMARY = pl.DataFrame(
    {
        "model": ["ruri|small", "bm25"],
        "jsquad/recall@1": [0.7, 0.8],
        "jsquad/ndcg@10": [0.81234, 0.9],
        "jsts/spearman": [-0.25, None],
        "pn/lrap": [0.5, 0.5],
    }
)


def test_a_table_marks_the_best_and_the_missing():
    assert markdown_table(SUMMARY, digits=2) == (
        "| model | jsquad/recall@1 | jsquad/ndcg@10 | jsts/spearman | pn/lrap |\n"
        "| --- | ---: | ---: | ---: | ---: |\n"
        "| ruri\\|small | 0.70 | 0.81 | **-0.25** | **0.50** |\n"
        "| bm25 | **0.80** | **0.90** | - | **0.50** |\n"
    )


def test_a_column_without_any_score_has_no_best():
    empty = pl.DataFrame({"model": ["a"], "t/ndcg@10": pl.Series([None], dtype=pl.Float64)})
    assert markdown_table(empty).splitlines()[-1] == "| a | - |"


def test_each_task_has_one_main_metric():
    assert main_columns(SUMMARY) == ["jsquad/ndcg@10", "jsts/spearman"]


def test_a_plot_has_a_bar_per_model_and_task():
    figure = bar_plot(SUMMARY)
    axes = figure.axes[0]
    heights = [[bar.get_height() for bar in group] for group in axes.containers]
    assert heights == [[0.81234, -0.25], [0.9, 0.0]]
    assert [text.get_text() for text in axes.texts] == ["0.812", "-0.250", "0.900", "n/a"]
    assert [label.get_text() for label in axes.get_xticklabels()] == ["jsquad\nndcg@10", "jsts\nspearman"]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["ruri|small", "bm25"]


def test_a_plot_of_many_models_gives_each_its_colour_and_is_drawn():
    models = [f"model-{i}" for i in range(14)]
    summary = pl.DataFrame({"model": models, "t/ndcg@10": [i / 14 for i in range(14)]})
    figure = bar_plot(summary)
    assert len({group.patches[0].get_facecolor() for group in figure.axes[0].containers}) == 14
    figure.savefig(picture := io.BytesIO(), format="png")
    assert picture.getvalue().startswith(b"\x89PNG")


def test_a_column_that_is_not_there_is_named():
    with pytest.raises(DataError, match=r"column 'jsts/accuracy' is not in the summary\. It has: jsquad/recall@1, "):
        bar_plot(SUMMARY, ["jsts/accuracy"])


def test_the_room_is_cheap_to_import_and_leaves_no_figure_behind():
    code = (
        "import sys, ruri_kedro.benchmark.scoring.evaluate, ruri_kedro.benchmark.leaks.contamination;"
        "from ruri_kedro.benchmark.comparing import report;"
        "heavy = {'torch', 'sklearn', 'scipy', 'pytrec_eval', 'matplotlib', 'kedro', 'mlflow'} & set(sys.modules);"
        "import polars as pl;"
        "report.bar_plot(pl.DataFrame({'model': ['a'], 't/ndcg@10': [0.5]}));"
        "print(sorted(heavy), 'matplotlib.pyplot' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[] False"


def test_a_line_per_metric_marks_the_best_model_of_the_line():
    summary = pl.DataFrame({"model": ["a", "b"], "t/ndcg@10": [0.25, 0.5], "t/mrr@10": [0.75, None]})
    assert table_by_metric(summary, digits=2).splitlines()[2:] == [
        "| t/ndcg@10 | 0.25 | **0.50** |",
        "| t/mrr@10 | **0.75** | - |",
    ]
