"""What every model finds: runs for the retrieval tasks, and orders of BM25's candidates, as TREC files."""

import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from ruri_kedro.benchmark.tasks import RetrievalTask, load_task
from ruri_kedro.encoders.reference import EncoderReference
from ruri_kedro.pipelines.shared import Params
from ruri_kedro.tables.code import code_digest
from ruri_kedro.tables.files import replace_dir, write_json
from ruri_kedro.tables.store import MANIFEST, is_current, key_of

RUN = "run.trec.gz"
RERANKED = "reranked.trec.gz"  # for the first queries of a task only


def search_tasks(raw: Path, tasks: Params, bm25: Params, evaluation: Params) -> dict[str, Callable]:
    """BM25's run for every retrieval task, as a TREC file; its top documents are what rerankers order."""

    def build(name: str, folder: Path) -> None:
        from ruri_kedro.benchmark.runs import write_run
        from ruri_kedro.retrieval.bm25 import BM25Settings, build_index, search

        task = load_task(name, tasks[name], raw)
        depth = evaluation["depth"]
        key = key_of(queries=task.queries, corpus=task.corpus, bm25=bm25, depth=depth, code=code_digest("retrieval"))
        if is_current(folder, key):
            return
        with replace_dir(folder) as aside:
            build_index(task.corpus.items(), aside / "index", BM25Settings(**bm25), key)
            found = search(aside / "index", list(task.queries.values()), depth, BM25Settings(**bm25))
            run = {qid: dict(hits) for qid, hits in zip(task.queries, found, strict=True)}
            write_run(aside / RUN, run, "bm25")
            write_json(aside / MANIFEST, {"key": key, "queries": len(run)})

    return {name: partial(build, name) for name, spec in tasks.items() if spec["type"] == "retrieval"}


def search_embedder(
    raw: Path, tasks: Params, bm25_runs: Path, model: Path, prompts: Params, evaluation: Params, name: str
) -> dict[str, Callable]:
    """An embedding model's run for every retrieval task, and its order of BM25's candidates."""
    from ruri_kedro.benchmark.evaluate import embedder_run, rerank_run_by_vectors

    reference = EncoderReference.of({}, model)
    encode = encode_by_role(reference, prompts, evaluation)

    def runs(task: RetrievalTask) -> dict[str, dict]:
        part, candidates = rerank_share(task, read_task_run(bm25_runs, task), evaluation)
        return {
            RUN: embedder_run(name, task, encode, evaluation["depth"]),
            RERANKED: rerank_run_by_vectors(name, candidates, part, encode),
        }

    settings = {"model": reference.digest(), "prompts": prompts}
    return _run_folders(raw, tasks, bm25_runs, evaluation, name, runs, settings)


def search_reranker(
    raw: Path, tasks: Params, bm25_runs: Path, reranker: Path, evaluation: Params
) -> dict[str, Callable]:
    """The reranker's order of BM25's candidates."""
    from ruri_kedro.benchmark.evaluate import rerank_run

    def runs(task: RetrievalTask) -> dict[str, dict]:
        from ruri_kedro.encoders.base import load_cross_encoder
        from ruri_kedro.encoders.encode import score_pairs

        model = load_cross_encoder(reranker)
        score = partial(
            score_pairs, model, max_length=evaluation["max_length"], chunk_tokens=evaluation["chunk_tokens"]
        )
        part, candidates = rerank_share(task, read_task_run(bm25_runs, task), evaluation)
        return {RERANKED: rerank_run(candidates, part, score)}

    settings = {"model": EncoderReference.of({}, reranker).digest()}
    return _run_folders(raw, tasks, bm25_runs, evaluation, "reranker", runs, settings)


def export_runs(raw: Path, tasks: Params, evaluation: Params, bm25: Path, **models: Path) -> dict[str, Callable]:
    """Every model's run with the judgments, a folder per task: what `kedro ruri score-runs` reads."""
    from ruri_kedro.benchmark.evaluate import RERANKING_SUFFIX

    def build(name: str, suffix: str, folder: Path) -> None:
        from ruri_kedro.benchmark.runs import write_qrels, write_run

        task = load_task(name, tasks[name], raw)
        file = RERANKED if suffix else RUN
        key = key_of(task=repr(task), evaluation=evaluation, bm25=manifest(bm25, name),
                     models={model: manifest(runs, name) for model, runs in models.items()},
                     code=code_digest("benchmark"))  # fmt: skip
        if is_current(folder, key):
            return
        run = read_task_run(bm25, task)
        part, candidates = rerank_share(task, run, evaluation) if suffix else (task, run)
        with replace_dir(folder) as aside:
            write_qrels(aside / "qrels.trec.gz", part.qrels)
            write_run(aside / "bm25.trec.gz", candidates, "bm25")
            for model, runs in models.items():
                if (runs / name / file).exists():
                    shutil.copyfile(runs / name / file, aside / f"{model}.trec.gz")
            write_json(aside / MANIFEST, {"key": key, "queries": len(part.queries)})

    names = [name for name, spec in tasks.items() if spec["type"] == "retrieval"]
    return {name + suffix: partial(build, name, suffix) for name in names for suffix in ("", RERANKING_SUFFIX)}


def encode_by_role(reference: EncoderReference, prompts: Params, evaluation: Params) -> Callable:
    """The encoder as the benchmark calls it: with texts and their role."""

    def encode(texts: list[str], role: str) -> Any:
        return reference.encode(texts, prompts[role], evaluation["max_length"], evaluation["chunk_tokens"], None)

    return encode


def read_task_run(runs: Path, task: RetrievalTask, file: str = RUN) -> dict[str, dict[str, float]]:
    """A model's run for a task, from the folder of its runs."""
    from ruri_kedro.benchmark.runs import read_run

    return read_run(runs / task.name / file)


def manifest(runs: Path, name: str) -> str:
    """What the runs of a task were made from and with, for keys."""
    return (runs / name / MANIFEST).read_text("utf-8")


def rerank_share(task: RetrievalTask, run: dict, evaluation: Params) -> tuple[RetrievalTask, dict]:
    """The first queries of a task with their candidates: scoring all would take longer than training."""
    qids = list(task.queries)[: evaluation["rerank_queries"]]
    part = RetrievalTask(
        task.name,
        {qid: task.queries[qid] for qid in qids},
        task.corpus,
        {qid: task.qrels[qid] for qid in qids if qid in task.qrels},
    )
    return part, {qid: run[qid] for qid in qids if qid in run}


def _run_folders(
    raw: Path,
    tasks: Params,
    bm25_runs: Path,
    evaluation: Params,
    model: str,
    runs: Callable[[RetrievalTask], dict[str, dict]],
    settings: Params,
) -> dict[str, Callable]:
    """A folder of TREC files per retrieval task, by the names that `runs` gives them."""

    def build(name: str, folder: Path) -> None:
        from ruri_kedro.benchmark.runs import write_run

        task = load_task(name, tasks[name], raw)
        key = key_of(
            model=model, task=repr(task), run=manifest(bm25_runs, name), evaluation=evaluation, settings=settings,
            code=code_digest("text", "encoders", "benchmark"),
        )  # fmt: skip
        if is_current(folder, key):
            return
        with replace_dir(folder) as aside:
            for file, run in runs(task).items():
                write_run(aside / file, run, model)
            write_json(aside / MANIFEST, {"key": key})

    return {name: partial(build, name) for name, spec in tasks.items() if spec["type"] == "retrieval"}
