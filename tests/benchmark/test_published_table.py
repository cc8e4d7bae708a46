"""A paper's table with lines of the recipe's models."""

import polars as pl
import pytest
import yaml
from kedro_project import REPOSITORY

from ruri_kedro.benchmark.comparing.published import published_table
from ruri_kedro.errors import RecipeError


def settings(**changed):
    given = {"title": "Table 2", "columns": {"A": ["a/recall@1", "a/recall@5"], "B": ["b/recall@3", "b/recall@5"]},
             "average": True, "models": {"paper": [0.1, 0.2, 0.3, 0.4]}}  # fmt: skip
    return given | changed


def test_lines_of_the_paper_come_first_and_a_mean_needs_all_its_figures():
    columns = {"a/recall@1": [0.5, 0.7], "a/recall@5": [0.6, 0.8], "b/recall@3": [0.7, None], "b/recall@5": [0.8, 0.9]}
    text = published_table(pl.DataFrame({"model": ["ours", "bm25"], **columns}), settings())
    assert text.splitlines()[2:] == [
        "| Model | A recall@1 | A recall@5 | B recall@3 | B recall@5 | average 1 | average 2 |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: |",
        "| paper (published) | 0.100 | 0.200 | 0.300 | 0.400 | 0.200 | 0.300 |",
        "| ours (measured here) | 0.500 | 0.600 | 0.700 | 0.800 | 0.600 | 0.700 |",
        "| bm25 (measured here) | 0.700 | 0.800 | - | 0.900 | - | 0.850 |",
    ]
    assert published_table(pl.DataFrame({"model": ["ours"]}), settings(models={})) == ""


def test_the_averages_of_table_2_are_the_papers():
    given = yaml.safe_load((REPOSITORY / "conf/jacolbert/parameters_published.yml").read_text("utf-8"))["published"]
    text = published_table(pl.DataFrame({"model": []}, schema={"model": pl.String}), given)
    lines = {line.split("|")[1].strip(): line.split("|")[-4:-1] for line in text.splitlines()[4:]}
    assert [float(cell) for cell in lines["JaColBERT (published)"]] == pytest.approx([0.705, 0.765, 0.813], abs=0.0021)
    assert [float(cell) for cell in lines["m-e5-small (published)"]] == pytest.approx([0.690, 0.763, 0.819], abs=0.0011)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"models": {"paper": [0.1]}}, "published.models.paper: 1 figures are given for 4 columns"),
        ({"title": None}, "published.title: null, but there are models"),
        ({"columns": {"A": ["a/x"], "B": ["b/x", "b/y", "b/z"]}}, "published.average: true, but the groups"),
    ],
)
def test_a_table_that_does_not_fit_together_is_refused(changed, message):
    with pytest.raises(RecipeError, match=message):
        published_table(pl.DataFrame({"model": ["ours"]}), settings(**changed))
