"""The map of a model's vectors is PCA as scikit-learn has it, of a sample that the seed draws."""

import json
import re
from html import unescape

import numpy as np
import pytest
from click.testing import CliRunner
from kedro.framework.project import configure_project
from registered import NAME, register
from sklearn.decomposition import PCA

from ruri_kedro.cli import cli
from ruri_kedro.errors import DataError
from ruri_kedro.registry.evidence.embedding_map import map_page, principal_components, sample
from ruri_kedro.tables import SCHEMAS, Part, Table
from ruri_kedro.tables.store import write_table


def write_passages(folder):
    def rows(source, count):
        return [{"docid": f"{source}{i}", "source": source, "title": "", "section": "", "text": f"{source} {i}"}
                for i in range(count)]  # fmt: skip

    return write_table(folder, SCHEMAS["passages"], {
        name: Part("key", lambda name=name, count=count: [rows(name, count)]) for name, count in (("a", 50), ("b", 3))
    })  # fmt: skip


@pytest.fixture
def passages(tmp_path):
    return write_passages(tmp_path)


def test_components_are_those_of_scikit_learn():
    vectors = np.random.default_rng(0).standard_normal((60, 8)) * np.arange(1, 9)
    points, shares = principal_components(vectors)
    expected = PCA(2, svd_solver="full").fit(vectors)
    np.testing.assert_allclose(np.abs(points), np.abs(expected.transform(vectors)), atol=1e-9)
    np.testing.assert_allclose(shares, expected.explained_variance_ratio_)
    np.testing.assert_array_equal(principal_components(-vectors)[1], shares)
    assert np.isfinite(principal_components(np.ones((3, 4)))[0]).all()


def test_sources_share_the_sample_and_the_seed_draws_it(passages):
    rows = sample(passages, 10, seed=1)
    assert [source for source, _ in rows] == ["a"] * 7 + ["b"] * 3
    assert rows == sample(passages, 10, seed=1) != sample(passages, 10, seed=2)
    assert len(sample(passages, 1000, seed=1)) == 53


def test_nothing_to_show_is_told(tmp_path):
    with pytest.raises(DataError, match="fewer than 3 passages"):
        sample(Table(tmp_path, SCHEMAS["passages"]), 10, 0)


def test_texts_stay_texts_on_the_page():
    hostile = '"><script>alert(1)</script> & 駅'
    page = map_page("m", [("a", hostile), ("b", "駅"), ("b", "山")], np.eye(3))
    assert "<script>alert" not in page
    data = json.loads(unescape(re.search(r'data-map="([^"]*)"', page)[1]))
    assert data["points"][0][3] == hostile and data["sources"] == ["a", "b"]


def test_the_command_logs_the_page_beside_the_model(store, folders, monkeypatch):
    import mlflow

    register(folders / "embedder")
    write_passages(store / "data/03_primary/sample/passages")
    configure_project("ruri_kedro")
    monkeypatch.chdir(store)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", mlflow.get_tracking_uri())
    command = ["ruri", "embedding-map", NAME, "--rows", "10", "--out", "maps"]
    result = CliRunner().invoke(cli, command, catch_exceptions=False)
    assert result.exit_code == 0 and f"10 passages of {NAME} version 1" in result.output
    run_id = mlflow.MlflowClient().get_model_version(NAME, "1").run_id
    logged = mlflow.artifacts.download_artifacts(f"runs:/{run_id}/embedding_map.html")
    page = (store / "maps/embedding_map.html").read_text("utf-8")
    assert f"{NAME} version 1" in page
    with open(logged, encoding="utf-8") as handle:
        assert handle.read() == page
