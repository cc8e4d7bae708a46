"""Reranking tasks as their authors publish them: each query with its candidates, judged."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ruri_kedro.benchmark.judged import JUDGED, judged_queries
from ruri_kedro.benchmark.runs import Qrels
from ruri_kedro.benchmark.specs import check_spec, choose, clean, put, raw_rows, with_fields
from ruri_kedro.errors import DataError
from ruri_kedro.tables.files import read_json
from ruri_kedro.text.normalize import normalize
from ruri_kedro.text.prompts import passage_text

Candidates = dict[str, tuple[str, ...]]  # qid -> docids, as published
Collection = tuple[dict[str, str], dict[str, str], Qrels, Candidates]
Judged = tuple[str, str, str, dict[str, int]]  # file and row, qid, query, grades by docid

_ID = (str, int)
_PAIRS = {"qid": _ID, "query": str, "docid": _ID, "title": str, "text": str, "label": int}
_LISTS = {"qid": _ID, "query": str, "positives": (str, list), "negatives": list}
_GRADES = {"qid": _ID, "query": str, "docids": list, "grades": list}
_DOCUMENTS = {"docid": _ID, "title": str, "text": str}


def read_candidates(task: str, spec: Mapping[str, Any], root: Path) -> Collection:
    """(queries, corpus, qrels, candidates) of a reranking task; keys as in `tasks.load_task`.

    Raises DataError for a candidate without a text and for a query of which no candidate is relevant: every order of
    those scores 0.
    """
    shape = choose(task, spec, "shape", _SHAPES)
    types = {"type": str, "shape": str, "path": str}
    others = {"pairs": {}, "mined": {"queries": str, "negatives": Mapping, "corpus": Mapping}}
    fields = {} if shape == "mined" else {"fields": Mapping}
    check_spec(task, spec, types | others.get(shape, {"corpus": Mapping}), fields)
    queries, corpus, qrels, candidates = _SHAPES[shape](task, spec, root)
    for qid, judged in qrels.items():
        if not any(grade > 0 for grade in judged.values()):
            raise DataError(f"task '{task}', query '{qid}': none of its candidates is relevant. Remove the query.")
    return queries, corpus, qrels, candidates


def hard_negatives(task: str, spec: Mapping[str, Any], root: Path) -> dict[str, list[str]]:
    """The first `count` docids by qid of a JSON file {qid: {docids: [...]}}, as published for MIRACL."""
    check_spec(task, spec, {"path": str, "count": int}, below="negatives.")
    found = read_json(Path(root) / spec["path"])
    return {qid: [str(docid) for docid in row["docids"][: spec["count"]]] for qid, row in found.items()}


def _pairs(task: str, spec: Mapping[str, Any], root: Path) -> Collection:
    """A row per query and candidate, with the candidate's text (JQaRA)."""
    names = with_fields(task, spec, _PAIRS)
    queries: dict[str, str] = {}
    corpus: dict[str, str] = {}
    qrels: Qrels = {}
    for where, row in raw_rows(root, spec["path"], {names[key]: kind for key, kind in _PAIRS.items()}):
        qid, docid = str(row[names["qid"]]), str(row[names["docid"]])
        text = passage_text(normalize(row[names["title"]]), "", clean(where, names["text"], row[names["text"]]))
        if corpus.setdefault(docid, text) != text:
            raise DataError(f"{where}, field '{names['docid']}': '{docid}' stands for two different texts.")
        queries.setdefault(qid, clean(where, names["query"], row[names["query"]]))
        put(qrels.setdefault(qid, {}), where, names["docid"], docid, int(row[names["label"]]))
    return queries, corpus, qrels, {qid: tuple(judged) for qid, judged in qrels.items()}


def _lists(task: str, spec: Mapping[str, Any], root: Path) -> Collection:
    """A row per query with its positives and negatives (JaCWIR)."""
    names = with_fields(task, spec, _LISTS, optional=("qid",))

    def judged() -> Iterator[Judged]:
        for where, row in _query_rows(spec, root, names, _LISTS):
            positives = row[names["positives"]]
            positives = [positives] if isinstance(positives, str) else positives
            negatives = dict.fromkeys(map(str, row[names["negatives"]]), 0)
            yield where, row["qid"], row["query"], negatives | dict.fromkeys(map(str, positives), 1)

    return _with_texts(task, spec, root, judged())


def _mined(task: str, spec: Mapping[str, Any], root: Path) -> Collection:
    """Judged queries, each with its positives and its first mined negatives (MIRACL)."""
    shape = choose(task, spec, "queries", JUDGED)
    mined = hard_negatives(task, spec["negatives"], root)

    def judged() -> Iterator[Judged]:
        for found in judged_queries(root, spec["path"], shape):
            if found.qid not in mined:
                raise DataError(
                    f"{found.where}: query '{found.qid}' has no mined negatives. Take those of its version."
                )
            negatives = dict.fromkeys(mined[found.qid], 0)
            yield found.where, found.qid, found.query, negatives | dict.fromkeys(found.positives, 1)

    return _with_texts(task, spec, root, judged())


def _grades(task: str, spec: Mapping[str, Any], root: Path) -> Collection:
    """A row per query with its candidates and their grades (ESCI in JMTEB)."""
    names = with_fields(task, spec, _GRADES, optional=("qid",))

    def judged() -> Iterator[Judged]:
        for where, row in _query_rows(spec, root, names, _GRADES):
            docids, grades = row[names["docids"]], row[names["grades"]]
            if len(docids) != len(grades):
                raise DataError(f"{where}: {len(docids)} in '{names['docids']}', {len(grades)} in '{names['grades']}'.")
            grades = {str(docid): int(grade) for docid, grade in zip(docids, grades, strict=True)}
            yield where, row["qid"], row["query"], grades

    return _with_texts(task, spec, root, judged())


def _query_rows(
    spec: Mapping[str, Any], root: Path, names: Mapping[str, str], types: Mapping[str, Any]
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Rows with `qid` and `query`; without a field for it the id is the number of the row."""
    wanted = {name: types[key] for key, name in names.items()}
    for number, (where, row) in enumerate(raw_rows(root, spec["path"], wanted)):
        qid = str(row[names["qid"]]) if "qid" in names else str(number)
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
    check_spec(task, spec, {"path": str}, {"fields": Mapping}, below="corpus.")
    names = with_fields(task, spec, _DOCUMENTS, optional=("title",), below="corpus.fields.")
    corpus: dict[str, str] = {}
    for where, row in raw_rows(root, spec["path"], {name: _DOCUMENTS[key] for key, name in names.items()}):
        docid = str(row[names["docid"]])
        if docid in wanted:
            title = normalize(row[names["title"]]) if "title" in names else ""
            put(corpus, where, names["docid"], docid, passage_text(title, "", clean(where, "text", row[names["text"]])))
    return corpus


_SHAPES = {"pairs": _pairs, "lists": _lists, "grades": _grades, "mined": _mined}
