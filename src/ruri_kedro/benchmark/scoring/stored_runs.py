"""What every model finds, as TREC files: runs for the retrieval tasks, and orders of candidates.

The candidates of a retrieval task are BM25's, those of a reranking task its own.
"""

import shutil
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from typing import Any

from ruri_kedro.benchmark.scoring.evaluate import RERANKED, RUN, Ordered, candidates_of, find_runs
from ruri_kedro.benchmark.scoring.models import FOUND, Bm25, Model, Reranker
from ruri_kedro.benchmark.scoring.token_index import TokenIndexes
from ruri_kedro.benchmark.tasks.retrieval import RetrievalTask
from ruri_kedro.benchmark.tasks.stored import stored_digest, stored_task
from ruri_kedro.benchmark.tasks.types import by_type, is_searched, task_types, type_of
from ruri_kedro.models.kinds import by_kind, kind_in, model_class
from ruri_kedro.models.reference import EncoderReference
from ruri_kedro.recipe.addresses import resolve
from ruri_kedro.recipe.annotations import Params
from ruri_kedro.recipe.parse import parse
from ruri_kedro.recipe.stages import BASE_KIND
from ruri_kedro.tables.checksums import facts_of, is_current, write_manifest
from ruri_kedro.tables.code import behaviour_digest
from ruri_kedro.tables.files import replace_dir
from ruri_kedro.tables.store import key_of


@by_type("searching")
def search_tasks(test_sets: Path, tasks: Params, bm25: Params, evaluation: Params) -> dict[str, Callable]:
    """BM25's run for every retrieval task, whose top documents rerankers order, and its order of given candidates."""
    from ruri_kedro.search.bm25.index import BM25Settings

    settings = parse(BM25Settings, bm25, "bm25")

    def build(name: str, folder: Path) -> None:
        from ruri_kedro.benchmark.runs import write_run
        from ruri_kedro.search.bm25.index import build_index, search

        # Of a task with candidates of its own BM25 looks deeper than it would search.
        kind = task_types()[tasks[name]["type"]]
        depth = evaluation["depth"] if kind.search.collection else max(evaluation["depth"], FOUND)
        code = behaviour_digest(search_tasks, *kind.searching)
        key = key_of(task=stored_digest(test_sets, name), bm25=bm25, depth=depth, code=code)
        if is_current(folder, key):
            return
        # An index of the task's documents, beside its runs.
        task = stored_task(test_sets, name)
        with replace_dir(folder) as aside:

            def find(documents: Any, queries: Any, k: int) -> list:
                build_index(documents.items(), aside / "index", settings, key)
                return list(search(aside / "index", queries, k, settings))

            model = Bm25("bm25", find, depth)
            ordered = None if kind.search.collection else candidates_of(task, dict)
            for file, run in find_runs(model, task, depth, ordered).items():
                write_run(aside / file, run, "bm25")
            write_manifest(aside, {"key": key, "queries": len(task.queries)})

    return {name: partial(build, name) for name in searched(tasks)}


@by_kind("asked")
@by_type("searching")
def search_model(
    test_sets: Path,
    tasks: Params,
    bm25_runs: Path,
    model: Path,
    prompts: Params,
    evaluation: Params,
    multi_vector: Params,
    name: str,
    equal: Params | None = None,
) -> dict[str, Callable]:
    """A model's run for every retrieval task, and its order of the candidates; it is of a kind of base models.

    None for a model that is `equal` to another one, as nodes.equal_models has it. `multi_vector`: of an index of token
    vectors, through which late interaction searches if `evaluation` says so.
    """
    if name in (equal or {}):
        return {}
    digest = EncoderReference.of({}, model).digest()
    index = TokenIndexes.of(evaluation, multi_vector, digest)

    @cache  # for all tasks
    def asked() -> Model:
        return asked_model(name, model, prompts, {**evaluation, "index": index})

    settings = {"model": digest, "prompts": prompts, "index": index and multi_vector}
    work = (asks(model), TokenIndexes) if index else (asks(model),)
    return _run_folders(test_sets, tasks, bm25_runs, evaluation, name, asked, settings, *work)


def asked_model(name: str, folder: Path, prompts: Params, evaluation: Params) -> Model:
    """The model in a folder, of a kind of base models, as the benchmark asks it, which loads it when it has to."""
    return asks(folder)(name, partial(loaded, folder), prompts, evaluation)


def asks(folder: Path) -> Callable[..., Model]:
    """How a model of the kind in a folder is asked, for keys too: Kind.asked."""
    return resolve(kind_in(folder, BASE_KIND).asked)


def loaded(folder: Path) -> Any:
    """The model in a folder, of a kind of base models, on the best device that is here."""
    import torch

    from ruri_kedro.models.base import device_kind
    from ruri_kedro.models.foreign_code import open_model

    kind = model_class(kind_in(folder, BASE_KIND))
    return open_model(kind, folder, {"dtype": torch.float32}, device=device_kind("auto"))


@by_type("searching")
def search_reranker(
    test_sets: Path,
    tasks: Params,
    bm25_runs: Path,
    model: Path,
    evaluation: Params,
    device: str,
    name: str,
    equal: Params | None = None,
) -> dict[str, Callable]:
    """A cross-encoder's order of the candidates, scored on the run's device; none of a model that is `equal` to one."""
    if name in (equal or {}):
        return {}

    @cache  # for all tasks
    def reranker() -> Model:
        from ruri_kedro.models.base import device_kind, load_cross_encoder
        from ruri_kedro.models.forward import score_pairs

        loaded = load_cross_encoder(model).to(device_kind(device))
        limits = {"max_length": evaluation["max_length"], "chunk_tokens": evaluation["chunk_tokens"]}
        return Reranker(name, partial(score_pairs, loaded, **limits))

    settings = {"model": EncoderReference.of({}, model).digest()}
    return _run_folders(test_sets, tasks, bm25_runs, evaluation, name, reranker, settings)


@by_type("searching")
def export_runs(test_sets: Path, tasks: Params, evaluation: Params, bm25: Path, **models: Path) -> dict[str, Callable]:
    """Every model's run with the judgments, a folder per task: what `kedro ruri score-runs` reads."""

    def build(name: str, file: str, folder: Path) -> None:
        from ruri_kedro.benchmark.runs import write_qrels, write_run

        kind = task_types()[tasks[name]["type"]]
        key = key_of(task=stored_digest(test_sets, name), evaluation=evaluation, bm25=manifest(bm25, name),
                     models={model: manifest(runs, name) for model, runs in models.items() if (runs / name).exists()},
                     code=behaviour_digest(export_runs, *kind.searching))  # fmt: skip
        if is_current(folder, key):
            return
        task = stored_task(test_sets, name)
        part = task if file == RUN else kind.search.part(task, evaluation["rerank_queries"])
        with replace_dir(folder) as aside:
            write_qrels(aside / "qrels.trec.gz", part.qrels)
            write_run(aside / "bm25.trec.gz", runs_of_bm25(bm25, task, evaluation)[file], "bm25")
            for model, runs in models.items():
                if (runs / name / file).exists():
                    shutil.copyfile(runs / name / file, aside / f"{model}.trec.gz")
            write_manifest(aside, {"key": key, "queries": len(part.queries)})

    builds = {}
    for name in searched(tasks):
        search = task_types()[tasks[name]["type"]].search
        if search.collection:
            builds[name] = partial(build, name, RUN)
        builds[name + search.suffix] = partial(build, name, RERANKED)
    return builds


def searched(tasks: Params) -> list[str]:
    """The tasks with queries and documents."""
    return [name for name, spec in tasks.items() if is_searched(spec["type"])]


def read_task_run(runs: Path, task: RetrievalTask, file: str = RUN) -> dict[str, dict[str, float]]:
    """A model's run for a task, from the folder of its runs."""
    from ruri_kedro.benchmark.runs import read_run

    return read_run(runs / task.name / file)


def manifest(runs: Path, name: str) -> Params:
    """What the runs of a task were made from and with, for keys."""
    return facts_of(runs / name)


def read_task_runs(runs: Path, task: RetrievalTask) -> dict[str, dict]:
    """What a model has found for a task: RERANKED and, of a collection that it searches, RUN."""
    files = [file for file in (RUN, RERANKED) if (runs / task.name / file).exists()]
    return {file: read_task_run(runs, task, file) for file in files}


def runs_of_bm25(bm25_runs: Path, task: RetrievalTask, evaluation: Params) -> dict[str, dict]:
    """BM25's runs for a task; of a collection the candidates that others order are what it found itself."""
    if not type_of(task).search.collection:
        return read_task_runs(bm25_runs, task)
    run = read_task_run(bm25_runs, task)
    return {RUN: run, RERANKED: candidates_of(task, lambda: run, evaluation["rerank_queries"])[1]}


def _ordered(task: RetrievalTask, bm25_runs: Path, evaluation: Params) -> Ordered:
    """What rerankers order: of a retrieval task BM25's candidates of the first queries, of a reranking task all."""
    return candidates_of(task, lambda: read_task_run(bm25_runs, task), evaluation["rerank_queries"])


def _run_folders(
    test_sets: Path,
    tasks: Params,
    bm25_runs: Path,
    evaluation: Params,
    name: str,
    load: Callable[[], Model],
    settings: Params,
    *work: Callable,
) -> dict[str, Callable]:
    """A folder of TREC files per task: what the model that `load` gives finds.

    work: functions besides `load` that do it.
    """

    def build(task_name: str, folder: Path) -> None:
        from ruri_kedro.benchmark.runs import write_run

        kind = task_types()[tasks[task_name]["type"]]
        key = key_of(
            model=name, task=stored_digest(test_sets, task_name), run=manifest(bm25_runs, task_name),
            evaluation=evaluation, settings=settings, code=behaviour_digest(_run_folders, load, *work, *kind.searching),
        )  # fmt: skip
        if is_current(folder, key):
            return
        with replace_dir(folder) as aside:
            task = stored_task(test_sets, task_name)
            ordered = _ordered(task, bm25_runs, evaluation)
            for file, run in find_runs(load(), task, evaluation["depth"], ordered).items():
                write_run(aside / file, run, name)
            write_manifest(aside, {"key": key})

    return {task_name: partial(build, task_name) for task_name in searched(tasks)}
