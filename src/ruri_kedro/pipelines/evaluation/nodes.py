"""Scores of every model on every task, the report, and the registered challengers."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from ruri_kedro.benchmark.tasks import RetrievalTask, load_task
from ruri_kedro.corpora.source import parse_sources
from ruri_kedro.encoders.reference import EncoderReference
from ruri_kedro.pipelines.shared import Figure, Frame, Params
from ruri_kedro.tables import Part, Table
from ruri_kedro.tables.code import code_digest
from ruri_kedro.tables.files import replace_dir, write_json
from ruri_kedro.tables.lookup import passage_texts
from ruri_kedro.tables.store import MANIFEST, blocks, is_current, key_of

MODELS = ("bm25", "random", "pretrained", "finetuned", "reranker")
_RUN = "run.trec.gz"


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
            write_run(aside / _RUN, run, "bm25")
            write_json(aside / MANIFEST, {"key": key, "queries": len(run)})

    return {name: partial(build, name) for name, spec in tasks.items() if spec["type"] == "retrieval"}


def score_bm25(raw: Path, tasks: Params, bm25_runs: Path, evaluation: Params) -> dict[str, Part]:
    """BM25 on every retrieval task, and its own order of the candidates."""
    from ruri_kedro.benchmark.evaluate import evaluate_reranking, evaluate_run

    def rows(task: RetrievalTask) -> list[dict]:
        run = _run(bm25_runs, task)
        return [
            *evaluate_run("bm25", task, run),
            *evaluate_reranking("bm25", *_rerank_share(task, run, evaluation)),
        ]

    return _score_parts(raw, tasks, bm25_runs, evaluation, "bm25", rows)


def score_embedder(
    raw: Path,
    tasks: Params,
    bm25_runs: Path,
    model: Path,
    prompts: Params,
    task_prompts: Params,
    evaluation: Params,
    seed: int,
    name: str,
) -> dict[str, Part]:
    """An embedding model on every task, and on BM25's candidates."""
    from ruri_kedro.benchmark.evaluate import evaluate_embedder, evaluate_reranking, rerank_run_by_vectors

    reference = EncoderReference.of({}, model)
    encode = _encode_by_role(reference, {**prompts, **task_prompts}, evaluation)

    def rows(task: Any) -> list[dict]:
        scores = evaluate_embedder(name, task, encode, k=evaluation["depth"], seed=seed)
        if isinstance(task, RetrievalTask):
            part, candidates = _rerank_share(task, _run(bm25_runs, task), evaluation)
            scores += evaluate_reranking(name, part, rerank_run_by_vectors(name, candidates, part, encode))
        return scores

    settings = {"model": reference.digest(), "prompts": prompts, "task_prompts": task_prompts, "seed": seed}
    return _score_parts(raw, tasks, bm25_runs, evaluation, name, rows, settings, retrieval_only=False)


def score_reranker(raw: Path, tasks: Params, bm25_runs: Path, reranker: Path, evaluation: Params) -> dict[str, Part]:
    """The reranker on BM25's candidates."""
    from ruri_kedro.benchmark.evaluate import evaluate_reranking, rerank_run

    def rows(task: RetrievalTask) -> list[dict]:
        from ruri_kedro.encoders.base import load_cross_encoder
        from ruri_kedro.encoders.encode import score_pairs

        model = load_cross_encoder(reranker)
        score = partial(
            score_pairs, model, max_length=evaluation["max_length"], chunk_tokens=evaluation["chunk_tokens"]
        )
        part, candidates = _rerank_share(task, _run(bm25_runs, task), evaluation)
        return evaluate_reranking("reranker", part, rerank_run(candidates, part, score))

    settings = {"model": EncoderReference.of({}, reranker).digest()}
    return _score_parts(raw, tasks, bm25_runs, evaluation, "reranker", rows, settings)


def report(recipe: str, **scores: Table) -> tuple[dict, Frame, Figure, str]:
    """Means by model and task: as metrics, as a table, as a plot and as Markdown."""
    from ruri_kedro.benchmark.evaluate import summarize
    from ruri_kedro.benchmark.report import bar_plot, table_by_metric

    rows = (row for model in MODELS for row in scores[f"scores_{model}"].iter_rows())
    summary = summarize(rows, models=MODELS)
    metrics = {row.pop("model"): {task: value for task, value in row.items() if value is not None}
               for row in summary.to_dicts()}  # fmt: skip
    text = f"# Evaluation of recipe {recipe}\n\n{table_by_metric(summary)}"
    return metrics, summary.to_pandas(), bar_plot(summary), text


def register(embedder: Path, reranker: Path, metrics: dict, recipe: str) -> dict:
    """Register both models as challengers, their test metrics on the logged models."""
    from ruri_kedro.registry.models import register_embedder, register_reranker

    names = {"embedder": f"ruri-{recipe}", "reranker": f"ruri-reranker-{recipe}"}
    versions = {
        "embedder": register_embedder(embedder, names["embedder"], metrics["finetuned"]),
        "reranker": register_reranker(reranker, names["reranker"], metrics["reranker"]),
    }
    return {kind: {"name": names[kind], "version": version} for kind, version in versions.items()}


def validate(model: Path, pairs: Table, passages: Table, sources: Params, prompts: Params, evaluation: Params) -> dict:
    """Retrieval among a source's own positives for its held-out pairs: nDCG@10 and Recall@10 by source.

    This, and no test set, is what settings may be chosen by.
    """
    from ruri_kedro.benchmark.evaluate import evaluate_embedder, summarize

    encode = _encode_by_role(EncoderReference.of({}, model), prompts, evaluation)
    scores: list[dict] = []
    for name in parse_sources(sources):
        rows = list(pairs.iter_rows([name])) if name in pairs.parts() else []
        if any(row["split"] == "validation" for row in rows):
            task = _validation_task(name, rows, passage_texts(passages, parts=[name]))
            scores += evaluate_embedder("model", task, encode, metrics=("ndcg@10", "recall@10"))
    return {task: value for row in summarize(scores).to_dicts() for task, value in row.items() if task != "model"}


def _validation_task(name: str, rows: list[dict], texts: dict[str, str]) -> RetrievalTask:
    held_out = [row for row in rows if row["split"] == "validation"]
    qrels: dict[str, dict[str, int]] = {}
    for row in held_out:
        qrels.setdefault(row["query_id"], {})[row["positive"]] = 1
    corpus = {row["positive"]: texts[row["positive"]] for row in rows}
    return RetrievalTask(name, {row["query_id"]: texts[row["anchor"]] for row in held_out}, corpus, qrels)


def _encode_by_role(reference: EncoderReference, prompts: Params, evaluation: Params) -> Callable:
    def encode(texts: list[str], role: str) -> Any:
        return reference.encode(texts, prompts[role], evaluation["max_length"], evaluation["chunk_tokens"], None)

    return encode


def _run(bm25_runs: Path, task: RetrievalTask) -> dict[str, dict[str, float]]:
    from ruri_kedro.benchmark.runs import read_run

    return read_run(bm25_runs / task.name / _RUN)


def _rerank_share(task: RetrievalTask, run: dict, evaluation: Params) -> tuple[RetrievalTask, dict]:
    """The first queries of a task with their candidates: scoring all would take longer than training."""
    qids = list(task.queries)[: evaluation["rerank_queries"]]
    part = RetrievalTask(
        task.name,
        {qid: task.queries[qid] for qid in qids},
        task.corpus,
        {qid: task.qrels[qid] for qid in qids if qid in task.qrels},
    )
    return part, {qid: run[qid] for qid in qids if qid in run}


def _score_parts(
    raw: Path,
    tasks: Params,
    bm25_runs: Path,
    evaluation: Params,
    model: str,
    rows: Callable[[Any], list[dict]],
    settings: Params | None = None,
    retrieval_only: bool = True,
) -> dict[str, Part]:
    """A part per task; one that is there for the same model, data and parameters is not computed again."""

    def part(name: str) -> Part:
        task = load_task(name, tasks[name], raw)
        run = (bm25_runs / name / MANIFEST).read_text("utf-8") if tasks[name]["type"] == "retrieval" else ""
        key = key_of(
            model=model, task=repr(task), run=run, evaluation=evaluation, settings=settings,
            code=code_digest("text", "encoders", "benchmark"),
        )  # fmt: skip
        return Part(key, lambda: blocks(rows(task)))

    wanted = [name for name, spec in tasks.items() if spec["type"] == "retrieval" or not retrieval_only]
    return {name: part(name) for name in wanted}
