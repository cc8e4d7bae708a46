"""Reports: the table and the picture of a summary; and what importing the room costs."""

import io
import subprocess
import sys

import polars as pl

from ruri_kedro.benchmark.comparing.report import bar_plot, main_columns, table_by_metric

SUMMARY = pl.DataFrame(
    {
        "model": ["ruri|small", "bm25"],
        "jsquad/recall@1": [0.7, 0.8],
        "jsquad/ndcg@10": [0.81234, 0.9],
        "jsts/spearman": [-0.25, None],
        "pn/lrap": [0.5, 0.5],
    }
)


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
    columns = {"t/ndcg@10": [0.25, 0.5], "t/mrr@10": [0.75, None], "t/map@10": pl.Series([None] * 2, dtype=pl.Float64)}
    assert table_by_metric(pl.DataFrame({"model": ["ruri|small", "b"]} | columns)) == (
        "| metric | ruri\\|small | b |\n"
        "| --- | ---: | ---: |\n"
        "| t/ndcg@10 | 0.2500 | **0.5000** |\n"
        "| t/mrr@10 | **0.7500** | - |\n"
        "| t/map@10 | - | - |\n"
    )
