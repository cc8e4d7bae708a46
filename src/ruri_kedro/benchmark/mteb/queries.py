"""Scores by query of mteb's searches, which its results leave out: a table beside them, a part per task."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ruri_kedro.benchmark.metrics import RETRIEVAL_METRICS, retrieval_scores
from ruri_kedro.tables import SCHEMAS, Part, Table, write_table
from ruri_kedro.tables.store import blocks, is_current

SEARCHES = ("Retrieval", "Reranking")  # mteb's types of task that have queries


def record_queries(task: Any, model: str) -> list[dict]:
    """Rows of SCORES that are added while mteb evaluates `task`: of the very ranking and judgments that it scores.

    It calls `task_specific_scores` with these for each language and split. Tasks without queries leave it empty.
    """
    rows: list[dict] = []
    if task.metadata.type not in SEARCHES:
        return rows
    scored = task.task_specific_scores

    def recording(scores: Any, qrels: Any, results: Any, hf_split: str, hf_subset: str) -> dict[str, float]:
        name = _name(task, hf_split, hf_subset)
        for metric, by_query in retrieval_scores(qrels, _plain(results), RETRIEVAL_METRICS).items():
            rows.extend(
                {"model": model, "task": name, "metric": metric, "query_id": qid, "score": score}
                for qid, score in by_query.items()
            )
        return scored(scores, qrels, results, hf_split=hf_split, hf_subset=hf_subset)

    task.task_specific_scores = recording
    return rows


def save_queries(folder: Path, task: Any, rows: list[dict], key: str) -> None:
    """Add the rows of a task to the table in `folder`."""
    if task.metadata.type in SEARCHES:
        others = dict.fromkeys(Table(folder, SCHEMAS["scores"]).parts())
        write_table(folder, SCHEMAS["scores"], {**others, _part(task): Part(key, lambda: blocks(rows))})


def has_queries(folder: Path, task: Any, key: str) -> bool:
    """Whether the scores by query of a task are there; of one without queries nothing is missing."""
    return task.metadata.type not in SEARCHES or is_current(folder / _part(task), key)


def _part(task: Any) -> str:
    return "-".join([task.metadata.name, *(sorted(task.hf_subsets) if task.metadata.is_multilingual else [])])


def _name(task: Any, split: str, subset: str) -> str:
    """The task, with language and split where it has several."""
    splits = [split] if len(task.eval_splits) > 1 else []
    languages = [subset] if task.metadata.is_multilingual else []
    return "/".join([task.metadata.name, *languages, *splits])


def _plain(results: Mapping[str, Mapping[str, float]]) -> dict[str, dict[str, float]]:
    return {qid: {docid: float(score) for docid, score in found.items()} for qid, found in results.items()}
