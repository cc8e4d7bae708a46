"""Reranking tasks as their authors publish them: each query with its candidates, judged."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa

from ruri_kedro.benchmark.runs import Qrels, Run
from ruri_kedro.benchmark.tasks import retrieval
from ruri_kedro.benchmark.tasks.columns import rows_table
from ruri_kedro.benchmark.tasks.judged_queries import hard_negatives, judged_queries
from ruri_kedro.benchmark.tasks.retrieval import RetrievalTask
from ruri_kedro.benchmark.tasks.rows import JudgedShape, MinedNegatives, Place
from ruri_kedro.benchmark.tasks.specs import (
    NULLABLE,
    clean,
    put,
    raw_rows,
    read_grades,
    read_id,
    read_ids,
    with_fields,
)
from ruri_kedro.benchmark.tasks.types import Search, TaskType, Value
from ruri_kedro.errors import DataError
from ruri_kedro.recipe.parse import parameters
from ruri_kedro.tables.raw import check_grade
from ruri_kedro.text.normalize import normalize
from ruri_kedro.text.prompts import passage_text

Candidates = dict[str, tuple[str, ...]]  # qid -> docids, as published
Collection = tuple[dict[str, str], dict[str, str], Qrels, Candidates]
Judged = tuple[str, str, str, dict[str, int]]  # file and row, qid, query, grades by docid

_ID = (str, int)
_PAIRS = {"qid": _ID, "query": str, "docid": _ID, "title": NULLABLE, "text": str, "label": (int, float)}
_LISTS = {"qid": _ID, "query": str, "positives": (str, list), "negatives": list}
_GRADES = {"qid": _ID, "query": str, "docids": list, "grades": list}
_DOCUMENTS = {"docid": _ID, "title": NULLABLE, "text": str}


@parameters
class CandidateTexts(Place):
    """The texts of candidates."""

    fields: Mapping[Literal["docid", "title", "text"], str] | None = None


@parameters
class Pairs(Place):
    """A row per query and candidate."""

    type: Literal["reranking"]
    shape: Literal["pairs"]
    fields: Mapping[Literal["qid", "query", "docid", "title", "text", "label"], str] | None = None


@parameters
class Lists(Place):
    """A row per query with its positives and negatives."""

    type: Literal["reranking"]
    shape: Literal["lists"]
    corpus: CandidateTexts
    fields: Mapping[Literal["qid", "query", "positives", "negatives"], str] | None = None


@parameters
class Grades(Place):
    """A row per query with its candidates and their grades."""

    type: Literal["reranking"]
    shape: Literal["grades"]
    corpus: CandidateTexts
    fields: Mapping[Literal["qid", "query", "docids", "grades"], str] | None = None


@parameters
class Mined(Place):
    """Judged queries, each with its positives and its first mined negatives."""

    type: Literal["reranking"]
    shape: Literal["mined"]
    queries: JudgedShape
    negatives: MinedNegatives
    corpus: CandidateTexts


@dataclass(frozen=True)
class RerankingTask(RetrievalTask):
    """Order the candidates of each query; every text of the corpus is a candidate of some query."""

    candidates: Candidates


def read(name: str, spec: Mapping[str, Any], root: Path) -> RerankingTask:
    """The queries of a task, their candidates and the judgments.

    Raises DataError for a candidate without a text and for a query of which no candidate is relevant: every order of
    those scores 0.
    """
    queries, corpus, qrels, candidates = _SHAPES[spec["shape"]](name, spec, root)
    for qid, judged in qrels.items():
        if not any(grade > 0 for grade in judged.values()):
            raise DataError(f"task '{name}', query '{qid}': none of its candidates is relevant. Remove the query.")
    return RerankingTask(name, queries, corpus, qrels, candidates)


def _pairs(task: str, spec: Mapping[str, Any], root: Path) -> Collection:
    """A row per query and candidate, with the candidate's text (JQaRA)."""
    names = with_fields(spec, _PAIRS)
    queries: dict[str, str] = {}
    corpus: dict[str, str] = {}
    qrels: Qrels = {}
    for where, row in raw_rows(root, spec["path"], {names[key]: kind for key, kind in _PAIRS.items()}):
        qid, docid = (read_id(where, names[key], row[names[key]]) for key in ("qid", "docid"))
        text = passage_text(normalize(row[names["title"]] or ""), "", clean(where, names["text"], row[names["text"]]))
        query = clean(where, names["query"], row[names["query"]])
        for key, table, value in ((docid, corpus, text), (qid, queries, query)):
            if table.setdefault(key, value) != value:
                field = names["docid" if table is corpus else "qid"]
                raise DataError(f"{where}, field '{field}': '{key}' stands for two different texts. Ids are unique.")
        grade = check_grade(f"{where}, field '{names['label']}'", row[names["label"]])
        put(qrels.setdefault(qid, {}), where, names["docid"], docid, grade)
    return queries, corpus, qrels, {qid: tuple(judged) for qid, judged in qrels.items()}


def _lists(task: str, spec: Mapping[str, Any], root: Path) -> Collection:
    """A row per query with its positives and negatives (JaCWIR)."""
    names = with_fields(spec, _LISTS, optional=("qid",))

    def judged() -> Iterator[Judged]:
        for where, row in _query_rows(spec, root, names, _LISTS):
            positives = row[names["positives"]]
            positives = [positives] if isinstance(positives, str) else positives
            sides = {"negatives": (row[names["negatives"]], 0), "positives": (positives, 1)}
            judged = [dict.fromkeys(read_ids(where, names[key], ids), grade) for key, (ids, grade) in sides.items()]
            yield where, row["qid"], row["query"], judged[0] | judged[1]

    return _with_texts(task, spec, root, judged())


def _mined(task: str, spec: Mapping[str, Any], root: Path) -> Collection:
    """Judged queries, each with its positives and its first mined negatives (MIRACL)."""
    mined = hard_negatives(task, spec["negatives"], root)

    def judged() -> Iterator[Judged]:
        for found in judged_queries(root, spec["path"], spec["queries"]):
            if found.qid not in mined:
                raise DataError(
                    f"{found.where}: query '{found.qid}' has no mined negatives. Take those of its version."
                )
            negatives = dict.fromkeys(mined[found.qid], 0)
            yield found.where, found.qid, found.query, negatives | dict.fromkeys(found.positives, 1)

    return _with_texts(task, spec, root, judged())


def _grades(task: str, spec: Mapping[str, Any], root: Path) -> Collection:
    """A row per query with its candidates and their grades (ESCI in JMTEB)."""
    names = with_fields(spec, _GRADES, optional=("qid",))

    def judged() -> Iterator[Judged]:
        for where, row in _query_rows(spec, root, names, _GRADES):
            yield where, row["qid"], row["query"], read_grades(where, (names["docids"], names["grades"]), row)

    return _with_texts(task, spec, root, judged())


def _query_rows(
    spec: Mapping[str, Any], root: Path, names: Mapping[str, str], types: Mapping[str, Any]
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Rows with `qid` and `query`; without a field for it the id is the number of the row."""
    wanted = {name: types[key] for key, name in names.items()}
    for number, (where, row) in enumerate(raw_rows(root, spec["path"], wanted)):
        qid = read_id(where, names["qid"], row[names["qid"]]) if "qid" in names else str(number)
        yield where, {**row, "qid": qid, "query": clean(where, names["query"], row[names["query"]])}


def _with_texts(task: str, spec: Mapping[str, Any], root: Path, rows: Iterator[Judged]) -> Collection:
    """The collection of judged queries, with the texts of their candidates only."""
    queries: dict[str, str] = {}
    qrels: Qrels = {}
    for where, qid, query, judged in rows:
        put(queries, where, "qid", qid, query)
        qrels[qid] = judged
    wanted = {docid for judged in qrels.values() for docid in judged}
    corpus = _documents(task, spec["corpus"], root, wanted)
    for qid, judged in qrels.items():
        if lost := next((docid for docid in judged if docid not in corpus), None):
            raise DataError(f"task '{task}', query '{qid}': candidate '{lost}' is not in {spec['corpus']['path']}.")
    return queries, corpus, qrels, {qid: tuple(judged) for qid, judged in qrels.items()}


def _documents(task: str, spec: Mapping[str, Any], root: Path, wanted: set[str]) -> dict[str, str]:
    names = with_fields(spec, _DOCUMENTS, optional=("title",))
    corpus: dict[str, str] = {}
    for where, row in raw_rows(root, spec["path"], {name: _DOCUMENTS[key] for key, name in names.items()}):
        docid = str(row[names["docid"]])
        if docid in wanted:
            title = normalize(row[names["title"]] or "") if "title" in names else ""
            put(corpus, where, names["docid"], docid, passage_text(title, "", clean(where, "text", row[names["text"]])))
    return corpus


_SHAPES = {"pairs": _pairs, "lists": _lists, "grades": _grades, "mined": _mined}


def tables(task: RerankingTask) -> dict[str, pa.Table]:
    """What is stored."""
    candidates = ((qid, list(docids)) for qid, docids in task.candidates.items())
    return retrieval.tables(task) | {"candidates": rows_table(("qid", "docids"), candidates)}


def restore(name: str, stored: Mapping[str, pa.Table]) -> RerankingTask:
    """The task of its tables."""
    candidates = {row["qid"]: tuple(row["docids"]) for row in stored["candidates"].to_pylist()}
    return RerankingTask(name, *retrieval.fields_of(stored), candidates)


def whole(task: RerankingTask, count: int | None) -> RerankingTask:
    """The task itself: the candidates of all its queries are ordered."""
    return task


def own_candidates(task: RerankingTask, bm25: Callable[[], Run]) -> Run:
    """The candidates that the task gives, without scores."""
    return {qid: dict.fromkeys(docids, 0.0) for qid, docids in task.candidates.items()}


def score_order(task: RerankingTask, run: Run, metrics: Sequence[str] | None = None) -> Iterator[Value]:
    """Metrics of an order of the candidates.

    `pooled_recall@30` is over all relevant candidates together, as MIRACL's Recall@30 in Ruri's Table 5 is taken.
    """
    from ruri_kedro.benchmark.metrics import CANDIDATE_METRICS, run_scores

    values = list(run_scores(task.qrels, run, metrics or CANDIDATE_METRICS))
    yield from values
    relevant = {qid: sum(grade > 0 for grade in judged.values()) for qid, judged in task.qrels.items()}
    found = [score * relevant[qid] for metric, qid, score in values if metric == "recall@30"]
    if found:
        yield "pooled_recall@30", "", sum(found) / sum(relevant.values())


TYPE = TaskType(
    name="reranking",
    rows={"pairs": Pairs, "lists": Lists, "grades": Grades, "mined": Mined},
    task=RerankingTask,
    read=read,
    tables=tables,
    restore=restore,
    texts=retrieval.texts,
    search=Search(collection=False, suffix="", part=whole, candidates=own_candidates, score=score_order),
    main_metric="ndcg@10",
    hub_task="text-ranking",
)
