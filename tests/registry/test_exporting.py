"""What an export costs is measured on the stored tasks of the recipe and kept; the graphs are those of test_onnx."""

import json
import shutil

import pytest
from registered import NAME, evidence, evidence_of_reranker, register
from tiny import TEXTS, save_tiny_late

from ruri_kedro.benchmark.runs import write_run
from ruri_kedro.benchmark.tasks.stored import store_task
from ruri_kedro.errors import DataError
from ruri_kedro.models import onnx
from ruri_kedro.registry.publishing.exporting import export_version
from ruri_kedro.registry.versions import models

RERANKER = "ruri-reranker-tiny"
HUB = {"id": "owner/wiki", "revision": "0" * 40, "split": "test"}
PARAMS = {
    # As in conf/ruri, a task may come from the hub: its raw files are nowhere.
    "tasks": {
        "wiki": {"type": "retrieval", "shape": "qa", "hub": HUB},
        "similar": {"type": "sts", "path": "sts.jsonl"},
    },
    "prompts": {"query": "クエリ: ", "document": "文章: "},
    "evaluation": {"max_length": 64, "max_length_of": {}, "chunk_tokens": 1024, "exact_documents": 100},
}


@pytest.fixture
def sets(tmp_path):
    def fetch(row, path):
        import gzip

        rows = [{"qid": f"q{i}", "question": text[:6], "context": text, "title": "", "context_id": f"d{i}"}
                for i, text in enumerate(TEXTS)]  # fmt: skip
        path.write_bytes(gzip.compress("".join(json.dumps(row) + "\n" for row in rows).encode()))

    store_task("wiki", PARAMS["tasks"]["wiki"], tmp_path, tmp_path / "sets/wiki", fetch)
    return tmp_path / "sets"


@pytest.fixture
def graphs(monkeypatch):
    """The model itself in place of a graph."""
    from sentence_transformers import CrossEncoder, MultiVectorEncoder, SentenceTransformer

    classes = {"embedder": SentenceTransformer, "reranker": CrossEncoder, "multi_vector": MultiVectorEncoder}

    def export(model, kind, folder, int8=False):
        shutil.copytree(model, folder, dirs_exist_ok=True)
        (folder / onnx.GRAPH).parent.mkdir()
        (folder / onnx.GRAPH).write_bytes(b"graph")
        return [onnx.GRAPH]

    def load(folder, kind, graph=onnx.GRAPH):
        return classes[kind](str(folder), device="cpu")

    monkeypatch.setattr(onnx, "export_onnx", export)
    monkeypatch.setattr(onnx, "load_onnx", load)


def test_an_embedder_is_measured_on_the_tasks_as_they_are_stored(store, folders, sets, graphs, tmp_path):
    import mlflow

    register(folders / "embedder")
    [cost] = export_version(NAME, 1, tmp_path / "out", False, PARAMS, sets, None)
    assert (cost.task, cost.loss) == ("wiki", 0) and 0 < cost.before < 1
    [kept] = json.loads((tmp_path / "out/onnx/report.json").read_text("utf-8"))
    assert (kept["before"], kept["loss"]) == (cost.before, 0)
    version = mlflow.MlflowClient().get_model_version(NAME, "1")
    assert version.tags["onnx.wiki"] == f"{cost.before:.4f} -> {cost.before:.4f}"
    metrics = mlflow.MlflowClient().get_logged_model(version.source.removeprefix("models:/")).metrics
    assert {metric.key: metric.value for metric in metrics}["onnx/wiki/ndcg_at_10_loss"] == 0


def test_late_interaction_searches_the_tasks(store, sets, graphs, tmp_path):
    import mlflow

    save_tiny_late(tmp_path / "late")
    with mlflow.start_run():
        models.register_multi_vector(tmp_path / "late", "ruri-late", {}, evidence())
    [cost] = export_version("ruri-late", 1, tmp_path / "out", False, PARAMS, sets, None)
    assert (cost.task, cost.loss) == ("wiki", 0) and 0 < cost.before < 1


def test_a_reranker_is_measured_on_the_candidates_of_the_runs(store, folders, sets, graphs, tmp_path):
    import mlflow

    with mlflow.start_run():
        models.register_reranker(folders / "reranker", RERANKER, {}, evidence_of_reranker())
    with pytest.raises(DataError, match="no retrieval task to measure the export on, or no runs of it"):
        export_version(RERANKER, 1, tmp_path / "none", False, PARAMS, sets, tmp_path / "runs")
    found = {f"q{i}": {f"d{i}": 2.0, f"d{i + 1}": 1.0} for i in range(5)}
    (tmp_path / "runs/wiki_rerank").mkdir(parents=True)
    write_run(tmp_path / "runs/wiki_rerank/bm25.trec.gz", found, "bm25")
    [cost] = export_version(RERANKER, 1, tmp_path / "out", False, PARAMS, sets, tmp_path / "runs")
    assert (cost.task, cost.loss) == ("wiki_rerank", 0) and 0.6 < cost.before <= 1
