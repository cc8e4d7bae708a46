"""Queries with their judged passages, in the forms in which MIRACL and Mr. TyDi are published, and mined negatives."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ruri_kedro.benchmark.tasks.specs import clean, put, raw_rows, read_id, read_ids
from ruri_kedro.errors import DataError
from ruri_kedro.tables.formats import read_records
from ruri_kedro.tables.judgments import read_judgments, read_topics
from ruri_kedro.tables.raw import raw_files


@dataclass(frozen=True)
class JudgedQuery:
    """A query with docids; `where` is its file and row."""

    where: str
    qid: str
    query: str
    positives: tuple[str, ...]
    negatives: tuple[str, ...]


def judged_queries(root: Path, path: str, shape: str) -> Iterator[JudgedQuery]:
    """The queries of a file, or of the files that `path` fits; shapes:

    queries   rows {qid, query, positives, [negatives]}, both lists of docids
    passages  rows {query_id, query, positive_passages, negative_passages}, both lists of {docid, ...}
    topics    `topics*.tsv` (qid, query) and `qrels*.tsv` (qid, Q0, docid, relevance)

    Raises DataError for a query without a positive.
    """
    for found in JUDGED[shape](root, path):
        if not found.positives:
            raise DataError(
                f"{found.where}, field 'positives': query '{found.qid}' needs a list of one or more docids."
            )
        yield found


def _queries(root: Path, path: str) -> Iterator[JudgedQuery]:
    for where, row in raw_rows(root, path, {"qid": str, "query": str, "positives": list}):
        sides = (read_ids(where, side, row.get(side) or []) for side in ("positives", "negatives"))
        yield JudgedQuery(where, read_id(where, "qid", row["qid"]), clean(where, "query", row["query"]), *sides)


def _passages(root: Path, path: str) -> Iterator[JudgedQuery]:
    fields = {"query_id": str, "query": str, "positive_passages": list, "negative_passages": list}
    for where, row in raw_rows(root, path, fields):
        sides = (_docids(where, f"{side}_passages", row) for side in ("positive", "negative"))
        yield JudgedQuery(
            where, read_id(where, "query_id", row["query_id"]), clean(where, "query", row["query"]), *sides
        )


def _docids(where: str, field: str, row: Mapping[str, Any]) -> tuple[str, ...]:
    for passage in row[field]:
        if not isinstance(passage, Mapping) or "docid" not in passage:
            raise DataError(f"{where}, field '{field}': each passage needs a 'docid'. Correct the row.")
    return read_ids(where, f"{field}[].docid", [passage["docid"] for passage in row[field]])


def _topics(root: Path, path: str) -> Iterator[JudgedQuery]:
    files = {file.name.partition(".")[0]: file for file in raw_files(root, path)}
    if files.keys() != {"topics", "qrels"}:
        raise DataError(
            f"{path}: a file topics.* and a file qrels.* are expected, found: {', '.join(files) or 'none'}."
        )
    judged: dict[str, tuple[list[str], list[str]]] = {}
    for _, qid, docid, grade in read_judgments(files["qrels"]):
        positives, negatives = judged.setdefault(qid, ([], []))
        (positives if grade > 0 else negatives).append(docid)
    for where, qid, query in read_topics(files["topics"]):
        sides = map(tuple, judged.get(qid, ((), ())))
        yield JudgedQuery(where, read_id(where, "qid", qid), clean(where, "query", query), *sides)


JUDGED = {"queries": _queries, "passages": _passages, "topics": _topics}


def hard_negatives(task: str, spec: Mapping[str, Any], root: Path) -> dict[str, list[str]]:
    """The first `count` docids by qid of a JSON file {qid: {docids: [...]}}, as published for MIRACL."""
    found: dict[str, list[str]] = {}
    for file in raw_files(root, spec["path"]):
        for number, row in read_records(file):
            where = f"{file}, row {number}"
            for qid, mined in row.items():
                if not isinstance(mined, Mapping) or "docids" not in mined:
                    raise DataError(f"{where}, query '{qid}': an object with a list 'docids' is expected.")
                docids = read_ids(where, f"{qid}.docids", mined["docids"])
                put(found, where, "qid", qid, list(docids[: spec["count"]]))
    return found
