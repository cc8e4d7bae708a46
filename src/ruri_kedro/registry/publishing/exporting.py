"""A registered model in another format, and what that costs: nDCG before and after on the recipe's retrieval tasks."""

import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from statistics import fmean
from typing import Any

from ruri_kedro.benchmark.runs import Run, read_run
from ruri_kedro.benchmark.scoring.evaluate import evaluate
from ruri_kedro.benchmark.scoring.models import Model
from ruri_kedro.benchmark.tasks.retrieval import RetrievalTask
from ruri_kedro.benchmark.tasks.stored import stored_task
from ruri_kedro.benchmark.tasks.types import task_types, type_of
from ruri_kedro.errors import DataError
from ruri_kedro.models.foreign_code import open_model
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
        model = model_part(root)
        original = _asked(kind, lambda: open_model(model_class(kind_called(kind)), model, device="cpu"), params)
        tasks = list(_tasks(original, params, test_sets, runs))
        if not tasks:
            raise DataError(
                "The recipe has no retrieval task to measure the export on, or no runs of it. Run: kedro run"
            )
        costs = _export(model, kind, original, out, int8, tasks, params)
    _log(name, number, costs)
    return costs


_Measured = tuple[RetrievalTask, Run | None]  # a task, with the candidates of a model that does not search it


def _asked(kind: str, load: Callable[[], Any], params: Mapping[str, Any]) -> Model:
    """A model as the recipe's own evaluation asks it."""
    return resolve(kind_called(kind).asked)("model", load, params["prompts"], params["evaluation"])


def _export(
    model: Path, kind: str, original: Model, out: Path, int8: bool, tasks: list[_Measured], params: Mapping[str, Any]
) -> list[Cost]:
    from ruri_kedro.models.onnx import export_onnx, load_onnx

    with replace_dir(out) as folder:
        graphs = export_onnx(model, kind, folder, int8)
        before = [_mean(original, *measured) for measured in tasks]
        costs = []
        for graph in graphs:
            loaded = _asked(kind, partial(load_onnx, folder, kind, graph), params)
            size = (folder / graph).stat().st_size / 1e6
            for (task, candidates), value in zip(tasks, before, strict=True):
                called = task.name + (type_of(task).search.suffix if candidates else "")
                costs.append(Cost(graph, called, value, _mean(loaded, task, candidates), size))
        write_json(folder / _REPORT, [asdict(cost) | {"loss": cost.loss} for cost in costs])
    return costs


def _tasks(model: Model, params: Mapping[str, Any], test_sets: Path, runs: Path | None) -> Iterator[_Measured]:
    for name, spec in params["tasks"].items():
        search = task_types()[spec["type"]].search
        if search is None or not search.collection:
            continue
        task, candidates = stored_task(test_sets, name), (runs or Path()) / (name + search.suffix) / "bm25.trec.gz"
        if model.searches(task):
            yield task, None
        elif runs and candidates.exists():
            yield task, read_run(candidates)


def _mean(model: Model, task: RetrievalTask, candidates: Run | None) -> float:
    """Mean nDCG@10 of a model on a task, or on its queries that have candidates."""
    if candidates is not None:
        qrels = {qid: task.qrels[qid] for qid in candidates if qid in task.qrels}
        task = RetrievalTask(task.name, task.queries, task.corpus, qrels)
    rows = evaluate(model, task, _DEPTH, lambda: candidates or {}, metrics=(METRIC,)).rows
    return fmean(row["score"] for row in rows)


def _log(name: str, number: int, costs: list[Cost]) -> None:
    """As metrics of the logged model, in its run, and as tags of the version."""
    from ruri_kedro.registry.runs.tracking import metric_name, mlflow_client
    from ruri_kedro.registry.versions.registered import logged_model_id, version_of

    client = mlflow_client()
    version = version_of(name, number)
    for cost in costs:
        graph = Path(cost.graph).stem.replace("model", "onnx", 1)
        key = metric_name(f"{graph}/{cost.task}/{METRIC}_loss")
        if version.run_id:
            client.log_metric(version.run_id, key, cost.loss, model_id=logged_model_id(version))
        client.set_model_version_tag(
            name, str(number), f"{graph}.{cost.task}", f"{cost.before:.4f} -> {cost.after:.4f}"
        )
