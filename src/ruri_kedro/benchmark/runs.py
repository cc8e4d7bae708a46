"""Runs and judgments in the form of TREC: read, written, and put in the order in which trec_eval reads them."""

import gzip
import math
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np

from ruri_kedro.errors import DataError
from ruri_kedro.tables.files import replace_file
from ruri_kedro.tables.judgments import columns_of, read_judgments

Run = dict[str, dict[str, float]]  # qid -> docid -> score
Qrels = dict[str, dict[str, int]]  # qid -> docid -> relevance


def ranked(scores: Mapping[str, float]) -> list[str]:
    """Docids, best first, as trec_eval ranks them.

    trec_eval compares scores in single precision and breaks ties by docid, descending by its bytes (for UTF-8 that
    is the order of code points).
    """
    single = np.fromiter(scores.values(), dtype=np.float32, count=len(scores)).tolist()
    return [docid for _, docid in sorted(zip(single, scores, strict=True), reverse=True)]


def in_file_order(run: Run) -> Run:
    """The run with scores that no two documents of a query share: equal ones stand in the order they were read in.

    For runs made elsewhere, whose files keep the order in which their system ranked equal scores; trec_eval would
    order them by docid. Scores are compared in single precision, as in `ranked`, so a file that `write_run` wrote
    keeps the order in which this package scores it.
    """
    return {qid: _by_rank(scores) for qid, scores in run.items()}


def _by_rank(scores: Mapping[str, float]) -> dict[str, float]:
    single = np.fromiter(scores.values(), dtype=np.float32, count=len(scores))
    docids = list(scores)
    # A stable sort keeps the file's order; ranks are exact in single precision up to 2^24 documents.
    return {docids[place]: float(-rank) for rank, place in enumerate(np.argsort(-single, kind="stable"))}


def write_run(path: Path, run: Run, tag: str) -> None:
    """Lines `qid Q0 docid rank score tag`, best first (see `ranked`); gzipped where the name ends in .gz.

    Scores are written so that reading gives the same numbers. Raises DataError for an id that TREC's form cannot
    hold, or a score that is not finite.
    """
    path = Path(path)
    check_id(f"{path}, column 'tag'", tag)
    _write_lines(path, _run_lines(path, run, tag))


def write_qrels(path: Path, qrels: Qrels) -> None:
    """Lines `qid 0 docid relevance`; otherwise as `write_run`."""
    path = Path(path)
    _write_lines(path, _qrels_lines(path, qrels))


def read_run(path: Path) -> Run:
    """A TREC run, plain or gzipped. Scores decide the order (see `ranked`), the rank column is not read.

    Raises DataError, naming file and row, for a row that does not have six columns, a score that is not a finite
    number, or a document that a query has twice.
    """
    run: Run = {}
    for where, (qid, _, docid, _, score, _) in columns_of(Path(path), ("qid", "Q0", "docid", "rank", "score", "tag")):
        _put(run, where, qid, docid, _finite(where, score))
    return run


def read_qrels(path: Path) -> Qrels:
    """TREC judgments (`qid 0 docid relevance`), plain or gzipped. Raises DataError as `read_run` does."""
    qrels: Qrels = {}
    for _, qid, docid, relevance in read_judgments(Path(path)):
        qrels.setdefault(qid, {})[docid] = relevance
    return qrels


def check_scores(where: str, run: Mapping[str, Mapping[str, float]]) -> None:
    """Raises DataError at the first score that is not finite: such a score has no place in an order."""
    for qid, scores in run.items():
        for docid, score in scores.items():
            if not math.isfinite(score):
                raise DataError(f"{where}, query '{qid}', document '{docid}': the score is {score}, not a number.")


def _run_lines(path: Path, run: Run, tag: str) -> Iterator[str]:
    check_scores(str(path), run)
    for qid, scores in run.items():
        check_id(f"{path}, column 'qid'", qid)
        for rank, docid in enumerate(ranked(scores), start=1):
            check_id(f"{path}, column 'docid'", docid)
            yield f"{qid} Q0 {docid} {rank} {float(scores[docid])!r} {tag}\n"


def _qrels_lines(path: Path, qrels: Qrels) -> Iterator[str]:
    for qid, judged in qrels.items():
        check_id(f"{path}, column 'qid'", qid)
        for docid, relevance in judged.items():
            check_id(f"{path}, column 'docid'", docid)
            yield f"{qid} 0 {docid} {relevance}\n"


def _write_lines(path: Path, lines: Iterator[str]) -> None:
    data = "".join(lines).encode("utf-8")
    with replace_file(path) as aside:
        # No time stamp: the same lines give the same bytes.
        aside.write_bytes(gzip.compress(data, mtime=0) if path.name.endswith(".gz") else data)


def check_id(where: str, value: str) -> None:
    """Raises DataError for an id that a file of TREC's form cannot hold."""
    if value.split() != [value]:
        raise DataError(f"{where}: '{value}' is empty or has white space. Use another id.")


def _finite(where: str, score: str) -> float:
    try:
        value = float(score)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise DataError(f"{where}, column 'score': '{score}' is not a finite number.")
    return value


def _put(table: dict[str, dict], where: str, qid: str, docid: str, value: float) -> None:
    documents = table.setdefault(qid, {})
    if docid in documents:
        raise DataError(f"{where}: query '{qid}' has document '{docid}' twice.")
    documents[docid] = value
