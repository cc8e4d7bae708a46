"""Queries with their judged passages, in the forms in which MIRACL and Mr. TyDi are published."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ruri_kedro.benchmark.specs import clean, raw_rows
from ruri_kedro.errors import DataError
from ruri_kedro.tables.formats import read_lines, read_records
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
                f"{found.where}, field 'positives': query '{found.qid}' needs a list of one or more docids (strings)."
            )
        yield found


def _queries(root: Path, path: str) -> Iterator[JudgedQuery]:
    for where, row in raw_rows(root, path, {"qid": str, "query": str, "positives": list}):
        sides = (row["positives"], row.get("negatives") or [])
        if not all(isinstance(docid, str) for side in sides for docid in side):
            raise DataError(
                f"{where}, field 'positives': query '{row['qid']}' needs a list of one or more docids (strings)."
            )
        yield JudgedQuery(where, row["qid"], clean(where, "query", row["query"]), *map(tuple, sides))


def _passages(root: Path, path: str) -> Iterator[JudgedQuery]:
    fields = {"query_id": str, "query": str, "positive_passages": list, "negative_passages": list}
    for where, row in raw_rows(root, path, fields):
        sides = ([passage["docid"] for passage in row[f"{side}_passages"]] for side in ("positive", "negative"))
        yield JudgedQuery(where, row["query_id"], clean(where, "query", row["query"]), *map(tuple, sides))


def _topics(root: Path, path: str) -> Iterator[JudgedQuery]:
    files = {file.name.partition(".")[0]: file for file in raw_files(root, path)}
    if files.keys() != {"topics", "qrels"}:
        raise DataError(
            f"{path}: a file topics.* and a file qrels.* are expected, found: {', '.join(files) or 'none'}."
        )
    judged: dict[str, tuple[list[str], list[str]]] = {}
    for _, row in read_records(files["qrels"], header=("qid", "Q0", "docid", "relevance")):
        positives, negatives = judged.setdefault(row["qid"], ([], []))
        (positives if int(row["relevance"]) > 0 else negatives).append(row["docid"])
    for number, line in read_lines(files["topics"]):
        qid, _, query = line.rstrip("\r\n").partition("\t")
        where = f"{files['topics']}, row {number}"
        yield JudgedQuery(where, qid, clean(where, "query", query), *map(tuple, judged.get(qid, ((), ()))))


JUDGED = {"queries": _queries, "passages": _passages, "topics": _topics}
