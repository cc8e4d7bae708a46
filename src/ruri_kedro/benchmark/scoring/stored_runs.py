"""What every model finds, as TREC files: runs for the retrieval tasks, and orders of candidates.

The candidates of a retrieval task are BM25's, those of a reranking task its own.
"""

import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from ruri_kedro.benchmark.tasks.load import RerankingTask, RetrievalTask
from ruri_kedro.benchmark.tasks.stored import stored_digest, stored_task
from ruri_kedro.models.reference import EncoderReference
from ruri_kedro.recipe.annotations import Params
from ruri_kedro.recipe.parse import parse
from ruri_kedro.tables.checksums import facts_of, is_current, write_manifest
from ruri_kedro.tables.code import behaviour_digest
from ruri_kedro.tables.files import replace_dir
from ruri_kedro.tables.store import key_of

RUN = "run.trec.gz"
RERANKED = "reranked.trec.gz"  # of a retrieval task for its first queries only
_FOUND = 1000  # rank to which BM25 looks for a reranking task's candidates; those it does not find score 0


def search_tasks(test_sets: Path, tasks: Params, bm25: Params, evaluation: Params) -> dict[str, Callable]:
    """BM25's run for every retrieval task, whose top documents rerankers order, and its order of given candidates."""
    from ruri_kedro.search.bm25.index import BM25Settings

    settings = parse(BM25Settings, bm25, "bm25")

    def build(name: str, folder: Path) -> None:
        from ruri_kedro.benchmark.runs import write_run
        from ruri_kedro.search.bm25.index import build_index, search

        depth = evaluation["depth"] if tasks[name]["type"] == "retrieval" else max(evaluation["depth"], _FOUND)
        key = key_of(task=stored_digest(test_sets, name), bm25=bm25, depth=depth, code=behaviour_digest(search_tasks))
        if is_current(folder, key):
            return
        task = stored_task(test_sets, name)
        with replace_dir(folder) as aside:
            build_index(task.corpus.items(), aside / "index", settings, key)
            found = search(aside / "index", list(task.queries.values()), depth, settings)
            run = {qid: dict(hits) for qid, hits in zip(task.queries, found, strict=True)}
            if isinstance(task, RerankingTask):
                run = {qid: {docid: run[qid].get(docid, 0.0) for docid in task.candidates[qid]} for qid in run}
            write_run(aside / (RERANKED if isinstance(task, RerankingTask) else RUN), run, "bm25")
            write_manifest(aside, {"key": key, "queries": len(run)})

    return {name: partial(build, name) for name in searched(tasks)}


def search_embedder(
    test_sets: Path,
    tasks: Params,
    bm25_runs: Path,
    model: Path,
    prompts: Params,
    evaluation: Params,
    name: str,
    equal: Params | None = None,
) -> dict[str, Callable]:
    """An embedding model's run for every retrieval task, and its order of the candidates.

    None for a model that is `equal` to another one, as nodes.equal_models has it.
    """
    if name in (equal or {}):
        return {}
    from ruri_kedro.benchmark.scoring.evaluate import embedder_runs, rerank_run_by_vectors

    reference = EncoderReference.of({}, model)
    encode = encode_by_role(reference, prompts, evaluation)

    def runs(task: RetrievalTask) -> dict[str, dict]:
        part, candidates = rerank_share(task, bm25_runs, evaluation)
        if isinstance(task, RerankingTask):
            return {RERANKED: rerank_run_by_vectors(name, candidates, part, encode)}
        found, reranked = embedder_runs(name, task, encode, evaluation["depth"], candidates)
        return {RUN: found, RERANKED: reranked}

    settings = {"model": reference.digest(), "prompts": prompts}
    return _run_folders(test_sets, tasks, bm25_runs, evaluation, name, runs, settings)


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
    from ruri_kedro.benchmark.scoring.evaluate import rerank_run

    def runs(task: RetrievalTask) -> dict[str, dict]:
        from ruri_kedro.models.base import device_kind, load_cross_encoder
        from ruri_kedro.models.forward import score_pairs

        loaded = load_cross_encoder(model).to(device_kind(device))
        score = partial(
            score_pairs, loaded, max_length=evaluation["max_length"], chunk_tokens=evaluation["chunk_tokens"]
        )
        part, candidates = rerank_share(task, bm25_runs, evaluation)
        return {RERANKED: rerank_run(candidates, part, score)}

    settings = {"model": EncoderReference.of({}, model).digest()}
    return _run_folders(test_sets, tasks, bm25_runs, evaluation, name, runs, settings)


def export_runs(test_sets: Path, tasks: Params, evaluation: Params, bm25: Path, **models: Path) -> dict[str, Callable]:
    """Every model's run with the judgments, a folder per task: what `kedro ruri score-runs` reads."""
    from ruri_kedro.benchmark.tasks.specs import RERANKING_SUFFIX

    def build(name: str, suffix: str, folder: Path) -> None:
        from ruri_kedro.benchmark.runs import write_qrels, write_run

        key = key_of(task=stored_digest(test_sets, name), evaluation=evaluation, bm25=manifest(bm25, name),
                     models={model: manifest(runs, name) for model, runs in models.items() if (runs / name).exists()},
                     code=behaviour_digest(export_runs))  # fmt: skip
        if is_current(folder, key):
            return
        task = stored_task(test_sets, name)
        reordered = bool(suffix) or isinstance(task, RerankingTask)
        file = RERANKED if reordered else RUN
        part, first = rerank_share(task, bm25, evaluation) if reordered else (task, read_task_run(bm25, task))
        if isinstance(task, RerankingTask):
            first = read_task_run(bm25, task, RERANKED)
        with replace_dir(folder) as aside:
            write_qrels(aside / "qrels.trec.gz", part.qrels)
            write_run(aside / "bm25.trec.gz", first, "bm25")
            for model, runs in models.items():
                if (runs / name / file).exists():
                    shutil.copyfile(runs / name / file, aside / f"{model}.trec.gz")
            write_manifest(aside, {"key": key, "queries": len(part.queries)})

    suffixes = {"retrieval": ("", RERANKING_SUFFIX), "reranking": ("",)}
    return {
        name + suffix: partial(build, name, suffix)
        for name in searched(tasks)
        for suffix in suffixes[tasks[name]["type"]]
    }


def searched(tasks: Params) -> list[str]:
    """The tasks with queries and documents."""
    return [name for name, spec in tasks.items() if spec["type"] in ("retrieval", "reranking")]


def encode_by_role(reference: EncoderReference, prompts: Params, evaluation: Params) -> Callable:
    """The encoder as the benchmark calls it: with texts and their role."""

    def encode(texts: list[str], role: str) -> Any:
        return reference.encode(texts, prompts[role], evaluation["max_length"], evaluation["chunk_tokens"], None)

    return encode


def read_task_run(runs: Path, task: RetrievalTask, file: str = RUN) -> dict[str, dict[str, float]]:
    """A model's run for a task, from the folder of its runs."""
    from ruri_kedro.benchmark.runs import read_run

    return read_run(runs / task.name / file)


def manifest(runs: Path, name: str) -> Params:
    """What the runs of a task were made from and with, for keys."""
    return facts_of(runs / name)


def first_queries(task: RetrievalTask, evaluation: Params) -> RetrievalTask:
    """The queries of a retrieval task whose candidates are scored: all would take longer than training."""
    qids = list(task.queries)[: evaluation["rerank_queries"]]
    queries = {qid: task.queries[qid] for qid in qids}
    return RetrievalTask(task.name, queries, task.corpus, {qid: task.qrels[qid] for qid in qids if qid in task.qrels})


def rerank_share(task: RetrievalTask, bm25_runs: Path, evaluation: Params) -> tuple[RetrievalTask, dict]:
    """What rerankers order: of a retrieval task BM25's candidates of the first queries, of a reranking task all."""
    if isinstance(task, RerankingTask):
        return task, {qid: dict.fromkeys(docids, 0.0) for qid, docids in task.candidates.items()}
    run, part = read_task_run(bm25_runs, task), first_queries(task, evaluation)
    return part, {qid: run[qid] for qid in part.queries if qid in run}


def _run_folders(
    test_sets: Path,
    tasks: Params,
    bm25_runs: Path,
    evaluation: Params,
    model: str,
    runs: Callable[[RetrievalTask], dict[str, dict]],
    settings: Params,
) -> dict[str, Callable]:
    """A folder of TREC files per task, by the names that `runs` gives them."""

    def build(name: str, folder: Path) -> None:
        from ruri_kedro.benchmark.runs import write_run

        key = key_of(
            model=model, task=stored_digest(test_sets, name), run=manifest(bm25_runs, name), evaluation=evaluation,
            settings=settings, code=behaviour_digest(_run_folders, runs),
        )  # fmt: skip
        if is_current(folder, key):
            return
        with replace_dir(folder) as aside:
            for file, run in runs(stored_task(test_sets, name)).items():
                write_run(aside / file, run, model)
            write_manifest(aside, {"key": key})

    return {name: partial(build, name) for name in searched(tasks)}
