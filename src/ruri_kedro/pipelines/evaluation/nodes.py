"""Scores of every model on every task, and the report."""

import logging
from collections.abc import Callable, Iterator, Mapping
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ruri_kedro.benchmark.scoring.stored_runs import (
    asked_model,
    asks,
    loaded,
    manifest,
    read_task_runs,
    runs_of_bm25,
    searched,
)
from ruri_kedro.benchmark.tasks.retrieval import RetrievalTask
from ruri_kedro.benchmark.tasks.stored import stored_digest, stored_task
from ruri_kedro.benchmark.tasks.types import Fitting, by_type, task_types, type_of
from ruri_kedro.corpora.source import parse_sources
from ruri_kedro.models.kinds import by_kind
from ruri_kedro.models.packaged import PACKAGES
from ruri_kedro.models.reference import EncoderReference, folder_digest
from ruri_kedro.recipe.annotations import Figure, Frame, Params
from ruri_kedro.recipe.stages import evaluated_models, kind_of_model
from ruri_kedro.tables import Part, Table
from ruri_kedro.tables.code import behaviour_digest
from ruri_kedro.tables.lookup import passage_texts
from ruri_kedro.tables.store import blocks, key_of

if TYPE_CHECKING:
    from ruri_kedro.benchmark.scoring.models import Model

logger = logging.getLogger(__name__)

BM25 = "bm25"
_VALIDATION_DEPTH = 100  # documents found for a query
_PLOT = "metrics.png"  # beside the report
_NOTHING = "Nothing was tested: the recipe has no task (parameter tasks). Its models can be used, but not promoted.\n"


def tested_models() -> tuple[str, ...]:
    """What reports call the models, in their order."""
    return BM25, *evaluated_models()


def equal_models(**models: Path) -> Params:
    """By name each model that is the same as one before it, and that one's name: it is evaluated once, as the first.

    `models` are folders by what reports call the models. A stage that trains nothing hands its model on unchanged.
    """
    first: dict[str, str] = {}
    names = [name for name in evaluated_models() if name in models]
    same = {name: first.setdefault(str(folder_digest(models[name])), name) for name in names}
    equal = {name: other for name, other in same.items() if name != other}
    for name, other in equal.items():
        logger.info("%s is the same model as %s: it is evaluated once, as %s.", name, other, other)
    return equal


@by_type("scoring")
def score_bm25(test_sets: Path, tasks: Params, bm25_runs: Path, evaluation: Params) -> dict[str, Part]:
    """BM25 on every retrieval task, and its own order of the candidates."""
    from ruri_kedro.benchmark.scoring.evaluate import evaluate_runs

    def rows(task: RetrievalTask) -> list[dict]:
        runs = runs_of_bm25(bm25_runs, task, evaluation)
        return evaluate_runs(BM25, task, runs, evaluation["rerank_queries"])

    return _score_parts(test_sets, tasks, searched(tasks), bm25_runs, evaluation, BM25, rows)


@by_kind("asked")
@by_type("scoring")
def score_model(
    test_sets: Path,
    tasks: Params,
    runs: Path,
    model: Path,
    prompts: Params,
    task_prompts: Params,
    evaluation: Params,
    seed: int,
    name: str,
    equal: Params | None = None,
) -> dict[str, Part]:
    """A model on every task that it can do, and on the candidates; none of a model that is `equal` to another one."""
    if name in (equal or {}):
        return {}
    from ruri_kedro.benchmark.scoring.evaluate import can_do, evaluate_runs, score_by_vectors

    asked = asked_model(name, model, {**prompts, **task_prompts}, evaluation)

    def rows(task: Any) -> list[dict]:
        if type_of(task).search is None:
            return score_by_vectors(asked, task, Fitting(seed))
        return evaluate_runs(name, task, read_task_runs(runs, task), evaluation["rerank_queries"])

    digest = EncoderReference.of({}, model).digest()
    settings = {"model": digest, "prompts": prompts, "task_prompts": task_prompts, "seed": seed}
    wanted = [task for task, row in tasks.items() if can_do(asked, task_types()[row["type"]])]
    return _score_parts(test_sets, tasks, wanted, runs, evaluation, name, rows, settings, asks(model))


@by_type("scoring")
def score_reranker(
    test_sets: Path, tasks: Params, runs: Path, evaluation: Params, name: str, equal: Params | None = None
) -> dict[str, Part]:
    """A cross-encoder on the candidates; none of a model that is `equal` to another one."""
    if name in (equal or {}):
        return {}
    from ruri_kedro.benchmark.scoring.evaluate import evaluate_runs

    def rows(task: RetrievalTask) -> list[dict]:
        return evaluate_runs(name, task, read_task_runs(runs, task), evaluation["rerank_queries"])

    return _score_parts(test_sets, tasks, searched(tasks), runs, evaluation, name, rows)


def report(
    recipe: str, base_model: Params, published: Params, equal: Params | None = None, **scores: Table
) -> tuple[dict, Frame, Figure, str]:
    """Means by model and task, as metrics, table, plot and Markdown. A model without scores is left out.

    The metrics have the 95% intervals of the main ones, too, as `<task>/<metric>_ci95_low` and `..._ci95_high`.
    For people the base model has the name of what it is. The table of a paper that `published` describes stands in the
    Markdown, too.
    """
    from ruri_kedro.benchmark.comparing.comparison import scores_by_query
    from ruri_kedro.benchmark.comparing.intervals import bounds
    from ruri_kedro.benchmark.comparing.published import published_table
    from ruri_kedro.benchmark.comparing.report import bar_plot, named, table_by_metric
    from ruri_kedro.benchmark.scoring.evaluate import summarize

    equal = equal or {}
    models = [model for model in tested_models() if model not in equal]
    tested = [model for model in models if scores[f"scores_{model}"].rows()]
    rows = (row for model in tested for row in scores[f"scores_{model}"].iter_rows())
    summary = summarize(rows, models=tested)
    metrics = {row.pop("model"): {task: value for task, value in row.items() if value is not None}
               for row in summary.to_dicts()}  # fmt: skip
    for model, means in metrics.items():
        means |= bounds(scores_by_query(scores[f"scores_{model}"].iter_rows()))
    summary = named(summary, {"base": base_name(base_model)})
    shown = [f"![The main metric of each task by model]({_PLOT})", table_by_metric(summary)]
    parts = [f"# Evaluation of recipe {recipe}", *(shown if tested else [_NOTHING])]
    if tested and (left := [model for model in models if model not in tested]):
        parts.append(f"Not tested: {', '.join(left)}. The recipe has no task for them (retrieval or reranking).\n")
    parts += [f"{line}\n" for line in _left_out(equal)]
    if paper := published_table(summary, published):
        parts.append(paper)
    return metrics, summary.to_pandas(), bar_plot(summary), "\n\n".join(parts)


def _left_out(equal: Mapping[str, str]) -> Iterator[str]:
    """Why a model has no line: it is the same as another one, or no stage of its kind has trained it."""
    models = evaluated_models()
    same = {name: other for name, other in equal.items() if kind_of_model(models[name]) == kind_of_model(models[other])}
    if same:
        listed = ", ".join(f"{name} is {other}" for name, other in same.items())
        yield f"The same model has one line: {listed}. No source takes part in the training between them."
    if untrained := [name for name in equal if name not in same]:
        yield f"Not trained, and so left out: {', '.join(untrained)}. No source takes part in its stages."


def base_name(base_model: Params) -> str:
    """What the base model is called: the name of the model that was loaded, or random weights if it was built."""
    package = base_model["package"]
    return base_model["name"] or (PACKAGES[package].model if package else "random weights")


@by_kind("asked")
def validate(model: Path, pairs: Table, passages: Table, sources: Params, prompts: Params, evaluation: Params) -> dict:
    """Retrieval among the held-out positives of a source for its held-out pairs: nDCG@10 and Recall@10 by source.

    Of a source with labels Spearman's correlation of the cosines of its held-out pairs with them. Settings may be
    chosen by this, and by no test set. Positives of training pairs are not distractors: a model that has learnt which
    question belongs to them tells them apart too easily, and a test set has none.
    """
    from ruri_kedro.benchmark.scoring.evaluate import evaluate, summarize

    metrics = ("ndcg@10", "recall@10")
    load = cache(partial(loaded, model))  # once for all sources
    scores: list[dict] = []
    correlations: dict[str, float] = {}
    for name, source in parse_sources(sources).items():
        rows = pairs.iter_rows([name]) if name in pairs.parts() else ()
        held_out = [row for row in rows if row["split"] == "validation" and row["positive"]]
        if not held_out:
            continue
        texts = passage_texts(passages, parts=[name])
        settings = {**evaluation, "exact_documents": len(held_out)}
        asked = asks(model)("model", load, source.prompts_or(prompts), settings)
        if source.is_labelled:
            correlations[f"{name}/spearman"] = _label_correlation(held_out, texts, asked)
        else:
            task = _validation_task(name, held_out, texts)
            scores += evaluate(asked, task, _VALIDATION_DEPTH, dict, metrics=metrics).rows
    found = summarize(scores).to_dicts() if scores else []
    return {task: value for row in found for task, value in row.items() if task != "model"} | correlations


def _label_correlation(held_out: list[dict], texts: dict[str, str], asked: "Model") -> float:
    """Spearman's correlation of the scores of pairs with their labels."""
    import numpy as np

    from ruri_kedro.training.held_out import rank_correlation

    first, second = ([texts[row[side]] for row in held_out] for side in ("anchor", "positive"))
    if asked.encode is None:
        scores = asked.score(list(zip(first, second, strict=True)))
    else:
        scores = (asked.encode(first, "query") * asked.encode(second, "document")).sum(axis=1)
    return rank_correlation(scores, np.array([row["label"] for row in held_out]))


def _validation_task(name: str, held_out: list[dict], texts: dict[str, str]) -> RetrievalTask:
    qrels: dict[str, dict[str, int]] = {}
    for row in held_out:
        qrels.setdefault(row["query_id"], {})[row["positive"]] = 1
    corpus = {row["positive"]: texts[row["positive"]] for row in held_out}
    return RetrievalTask(name, {row["query_id"]: texts[row["anchor"]] for row in held_out}, corpus, qrels)


def _score_parts(
    test_sets: Path,
    tasks: Params,
    wanted: list[str],
    runs: Path,
    evaluation: Params,
    model: str,
    rows: Callable[[Any], list[dict]],
    settings: Params | None = None,
    *work: Callable,
) -> dict[str, Part]:
    """A part per task; one that is there for the same model, data and parameters is not computed again.

    work: functions besides `rows` that do it.
    """

    def part(name: str) -> Part:
        kind = task_types()[tasks[name]["type"]]
        run = manifest(runs, name) if kind.search else ""
        key = key_of(
            model=model, task=stored_digest(test_sets, name), run=run, evaluation=evaluation, settings=settings,
            code=behaviour_digest(_score_parts, rows, *work, *kind.scoring),
        )  # fmt: skip
        return Part(key, lambda: blocks(rows(stored_task(test_sets, name))))

    return {name: part(name) for name in wanted}
