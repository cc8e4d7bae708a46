"""A registered model in another format, and what that costs: nDCG before and after on the recipe's retrieval tasks."""

import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ruri_kedro.benchmark.scoring.evaluate import evaluate
from ruri_kedro.benchmark.scoring.models import Embedder, Model, MultiVector, Reranker
from ruri_kedro.benchmark.tasks.retrieval import RetrievalTask
from ruri_kedro.benchmark.tasks.specs import RERANKING_SUFFIX
from ruri_kedro.benchmark.tasks.stored import stored_task
from ruri_kedro.benchmark.tasks.types import task_types
from ruri_kedro.errors import DataError
from ruri_kedro.models.kinds import kind_called, model_class
from ruri_kedro.recipe.addresses import resolve
from ruri_kedro.tables.files import new_folder, replace_dir, write_json

METRIC = "ndcg@10"
_DEPTH = 10  # rank to which METRIC looks
_REPORT = "onnx/report.json"


@dataclass(frozen=True)
class Cost:
    """A graph against the model that it was made of, on one task."""

    graph: str
    task: str
    before: float  # mean nDCG@10
    after: float
    megabytes: float

    @property
    def loss(self) -> float:
        """What is lost of nDCG@10."""
        return self.before - self.after

    def __str__(self) -> str:
        figures = f"{METRIC} {self.before:.4f} -> {self.after:.4f} (loss {self.loss:+.4f})"
        return f"{self.graph}, {self.megabytes:.1f} MB: {self.task} {figures}"


def export_version(
    name: str, number: int, out: Path, int8: bool, params: Mapping[str, Any], test_sets: Path, runs: Path | None
) -> list[Cost]:
    """Export a registered version as ONNX into the folder `out`, and log what each graph costs with the version.

    An embedder searches the recipe's retrieval tasks, as they are stored in `test_sets`; a reranker orders BM25's
    candidates in `runs`, the exported runs of the recipe. Raises DataError where `out` is not empty or there is nothing
    to measure on, before any work.
    """
    from ruri_kedro.registry.versions.registered import fetch
    from ruri_kedro.registry.versions.stored import kind_of, model_part

    new_folder(out)
    with tempfile.TemporaryDirectory() as folder:
        root = fetch(name, str(number), Path(folder))
        kind = kind_of(root)
        tasks = list(_tasks(kind, params, test_sets, runs))
        if not tasks:
            raise DataError(
                "The recipe has no retrieval task to measure the export on, or no runs of it. Run: kedro run"
            )
        costs = _export(model_part(root), kind, out, int8, tasks, params)
    _log(name, number, costs)
    return costs


# A task, with the candidates of a model that orders them; None for one that searches.
_Measured = tuple[RetrievalTask, dict | None]


@dataclass(frozen=True)
class Measure:
    """How models of a kind are compared with their originals on a retrieval task."""

    suffix: str  # behind the task's name
    candidates: bool  # whether they order BM25's candidates
    asked: Callable[[Any, Mapping[str, Any]], Model]  # (model, parameters) -> the model as the benchmark asks it


def _export(
    model: Path, kind: str, out: Path, int8: bool, tasks: list[_Measured], params: Mapping[str, Any]
) -> list[Cost]:
    from ruri_kedro.models.foreign_code import open_model
    from ruri_kedro.models.onnx import export_onnx, load_onnx

    original, measure = open_model(model_class(kind_called(kind)), model, device="cpu"), _measure_of(kind)
    with replace_dir(out) as folder:
        graphs = export_onnx(model, kind, folder, int8)
        before = [_mean(original, measure, task, params) for task in tasks]
        costs = []
        for graph in graphs:
            loaded = load_onnx(folder, kind, graph)
            size = (folder / graph).stat().st_size / 1e6
            for task, value in zip(tasks, before, strict=True):
                after = _mean(loaded, measure, task, params)
                costs.append(Cost(graph, task[0].name + measure.suffix, value, after, size))
        write_json(folder / _REPORT, [asdict(cost) | {"loss": cost.loss} for cost in costs])
    return costs


def _tasks(kind: str, params: Mapping[str, Any], test_sets: Path, runs: Path | None) -> Iterator[_Measured]:
    from ruri_kedro.benchmark.runs import read_run

    for name, spec in params["tasks"].items():
        search = task_types()[spec["type"]].search
        if search is None or not search.collection:
            continue
        candidates = runs / (name + search.suffix) / "bm25.trec.gz" if runs else None
        if not _measure_of(kind).candidates:
            yield stored_task(test_sets, name), None
        elif candidates and candidates.exists():
            yield stored_task(test_sets, name), read_run(candidates)


def _mean(model: Any, measure: Measure, measured: _Measured, params: Mapping[str, Any]) -> float:
    """Mean nDCG@10 of a model on a task, with the settings of the recipe's own evaluation."""
    task, candidates = measured
    if candidates is not None:
        qrels = {qid: task.qrels[qid] for qid in candidates if qid in task.qrels}
        task = RetrievalTask(task.name, task.queries, task.corpus, qrels)
    rows = evaluate(measure.asked(model, params), task, _DEPTH, lambda: candidates or {}, metrics=(METRIC,)).rows
    return sum(row["score"] for row in rows) / len(rows)


def _measure_of(kind: str) -> Measure:
    return resolve(kind_called(kind).measure)


def _limits(params: Mapping[str, Any]) -> tuple[int, int]:
    return params["evaluation"]["max_length"], params["evaluation"]["chunk_tokens"]


def _embedder(model: Any, params: Mapping[str, Any]) -> Model:
    from ruri_kedro.models.forward import encode

    return Embedder("model", lambda texts, role: encode(model, texts, params["prompts"][role], *_limits(params)))


def _reranker(model: Any, params: Mapping[str, Any]) -> Model:
    from ruri_kedro.models.forward import score_pairs

    return Reranker("model", lambda pairs: score_pairs(model, pairs, *_limits(params)))


def _multi_vector(model: Any, params: Mapping[str, Any]) -> Model:
    from ruri_kedro.models.late_interaction import LateInteraction

    late = LateInteraction(model, params["evaluation"]["chunk_tokens"], params["prompts"])
    return MultiVector("model", late.score, late.search, params["evaluation"]["exact_documents"])


SEARCHING = Measure("", False, _embedder)
LATE_INTERACTION = Measure("", False, _multi_vector)
REORDERING = Measure(RERANKING_SUFFIX, True, _reranker)


def _log(name: str, number: int, costs: list[Cost]) -> None:
    """As metrics of the logged model, in its run, and as tags of the version."""
    from mlflow.tracking import MlflowClient

    from ruri_kedro.registry.runs.tracking import metric_name
    from ruri_kedro.registry.versions.registered import logged_model_id, version_of

    client = MlflowClient()
    version = version_of(name, number)
    for cost in costs:
        graph = Path(cost.graph).stem.replace("model", "onnx", 1)
        key = metric_name(f"{graph}/{cost.task}/{METRIC}_loss")
        if version.run_id:
            client.log_metric(version.run_id, key, cost.loss, model_id=logged_model_id(version))
        client.set_model_version_tag(
            name, str(number), f"{graph}.{cost.task}", f"{cost.before:.4f} -> {cost.after:.4f}"
        )
