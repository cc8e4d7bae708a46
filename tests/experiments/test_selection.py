"""The best cell of each model and data set: the published choice, ties, and rows that cannot be chosen from."""

import random
from pathlib import Path

import pandas as pd
import pytest
from click.testing import CliRunner

from ruri_kedro.cli.commands import cli
from ruri_kedro.errors import DataError
from ruri_kedro.experiments.selection import Columns, read_results, select_best

FIGURES = Path(__file__).resolve().parents[2].parent / "shared" / "data" / "figures"
SMALL = """\
model_name,dataset_name,lr,batch_size,best-step,best-dev,jsick,jsts-val,avg,count
m1,a,1e-05,64,100,80.0,70.0,72.0,71.0,5
m1,a,3e-05,64,200,82.0,60.0,62.0,61.0,5
m1,b,1e-05,64,100,50.0,40.0,42.0,41.0,5
m2,a,1e-05,64,100,,90.0,92.0,91.0,5
m2,a,3e-05,64,100,60.0,50.0,52.0,51.0,5
m2,b,3e-05,128,100,70.0,75.0,77.0,76.0,5
m2,b,3e-05,64,100,70.0,70.0,72.0,71.0,5
m3,a,3e-05,64,100,,70.0,72.0,71.0,5
"""


def report(results: Path, out: Path, *more: str):
    return CliRunner().invoke(cli, ["ruri", "sweep-report", "--results", str(results), "--out", str(out), *more])


def test_the_published_cells_are_chosen(tmp_path):
    if not FIGURES.is_dir():
        pytest.skip("the published figures are not in shared/data")
    said = report(FIGURES / "simple_simcse_ja_sup_all.csv", tmp_path / "best.csv")
    assert said.exit_code == 0, said.output
    found, published = (
        pd.read_csv(path) for path in (tmp_path / "best.csv", FIGURES / "simple_simcse_ja_sup_best.csv")
    )
    assert len(found) == 120
    names = ["model_name", "dataset_name"]
    assert found[names].equals(published[names]), "in the same order"
    assert (found.drop(columns=names) - published.drop(columns=names)).abs().to_numpy().max() < 1e-9
    tables = (tmp_path / "best.md").read_text("utf-8")
    assert "| cl-tohoku/bert-large-japanese-v2 | 5e-05 | 512 | 83.97 |" in tables
    assert tables.count("\n## ") == 7  # all data sets, each of five, the heat maps
    assert (tmp_path / "best.svg").read_text("utf-8").count("<g ") == 120, "a heat map for each"
    assert '<img src="data:image/svg+xml;base64,' in (tmp_path / "best.html").read_text("utf-8")


def test_ties_and_rows_without_a_figure_are_said(tmp_path):
    path = tmp_path / "all.csv"
    path.write_text(SMALL, "utf-8")
    said = report(path, tmp_path / "best.csv").output
    best = pd.read_csv(tmp_path / "best.csv")
    chosen = {(row.model_name, row.dataset_name): (row.lr, row.batch_size) for row in best.itertuples()}
    assert chosen == {
        ("m1", "a"): (3e-5, 64),
        ("m1", "b"): (1e-5, 64),
        ("m2", "a"): (3e-5, 64),
        ("m2", "b"): (3e-5, 64),
    }
    assert best["avg"].is_monotonic_decreasing
    assert (
        "model_name=m2, dataset_name=a, lr=1e-05, batch_size=64: best-dev is not a number; the row is left out." in said
    )
    assert (
        "2 cells have the same best-dev, 70.0000; the one with the lower settings is taken: lr=3e-05, batch_size=64."
        in said
    )
    assert "m3, a: no cell is left to choose from." in said
    assert said.splitlines()[0] in (tmp_path / "best.md").read_text("utf-8")


def test_the_order_of_the_rows_decides_nothing(tmp_path):
    head, *rows = SMALL.splitlines()
    found = []
    for seed in range(5):
        random.Random(seed).shuffle(rows)
        (tmp_path / "all.csv").write_text("\n".join([head, *rows]), "utf-8")
        found.append(select_best(read_results(tmp_path / "all.csv", Columns()), Columns()).best)
    assert all(found[0].equals(other) for other in found)


@pytest.mark.parametrize(
    ("text", "options", "reason"),
    [
        (SMALL.replace("best-dev", "dev"), (), "the column 'best-dev' is missing. It has: model_name, "),
        (SMALL.replace("m2,b,3e-05,128", "m2,b,3e-05,64"), (), "row 8: the cell model_name=m2, dataset_name=b"),
        (SMALL.replace(",80.0,", ",high,"), (), "'best-dev' has text where numbers are expected"),
        ("", (), "cannot be read as CSV"),
        (SMALL, ("--choose", "jsick", "--setting", "rate"), "the column 'rate' is missing"),
    ],
)
def test_what_is_wrong_with_a_file_is_one_line(tmp_path, text, options, reason):
    path = tmp_path / "all.csv"
    path.write_text(text, "utf-8")
    said = report(path, tmp_path / "best.csv", *options)
    assert said.exit_code == 1 and reason in said.output and "Traceback" not in said.output
    assert len(said.output.strip().splitlines()) == 1
    assert not (tmp_path / "best.csv").exists()


def test_other_columns_can_be_named(tmp_path):
    path = tmp_path / "all.csv"
    path.write_text("base,rate,seed,dev,test\nx,1,1,0.5,0.4\nx,2,1,0.6,0.3\n", "utf-8")
    columns = Columns(("base",), ("rate",), "dev")
    assert select_best(read_results(path, columns), columns).best["rate"].tolist() == [2]
    with pytest.raises(DataError, match="model_name"):
        read_results(path, Columns())
