"""Queries, judgments and corpora of retrieval tasks, by the shape of their raw files."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ruri_kedro.benchmark.runs import Qrels
from ruri_kedro.benchmark.tasks.judged import judged_queries
from ruri_kedro.benchmark.tasks.sampled import sampled_corpus
from ruri_kedro.benchmark.tasks.specs import NULLABLE, clean, put, raw_rows, read_id
from ruri_kedro.errors import DataError
from ruri_kedro.tables.judgments import paragraphs_of
from ruri_kedro.text.normalize import normalize
from ruri_kedro.text.prompts import passage_text

_SEPARATOR = " [SEP] "


def read_collection(task: str, spec: Mapping[str, Any], root: Path) -> tuple[dict[str, str], dict[str, str], Qrels]:
    """(queries, corpus, qrels) of a retrieval task.

    `shape: qa` takes the paragraphs of the questions themselves as its corpus where no `corpus` is given; the other
    shapes (see `judged.py`) need one, and may have it `sampled` (see `sampled.py`). `spec` was checked
    (`task_rows.py`). Raises DataError for a positive that is not in the corpus.
    """
    shape = spec["shape"]
    if shape == "qa":
        (queries, qrels), judged = _qa_queries(root, spec["path"]), set()
    else:
        queries, qrels, judged = _judged(root, spec["path"], shape)
    corpus_spec = spec.get("corpus", {"shape": "qa", "path": spec["path"]})
    if "sampled" in corpus_spec:
        return queries, *sampled_corpus(task, corpus_spec, root, judged, qrels)
    corpus = _CORPORA[corpus_spec["shape"]](root, corpus_spec["path"])
    for qid, positives in qrels.items():
        for docid in positives:
            if docid not in corpus:
                raise DataError(
                    f"task '{task}', query '{qid}': its positive '{docid}' is not in the corpus "
                    f"({corpus_spec['path']}). Take the corpus that the queries were made for."
                )
    return queries, corpus, qrels


def _qa_queries(root: Path, path: str) -> tuple[dict[str, str], Qrels]:
    queries: dict[str, str] = {}
    qrels: Qrels = {}
    for where, row in raw_rows(root, path, {"qid": str, "question": str, "context_id": str}):
        qid = read_id(where, "qid", row["qid"])
        put(queries, where, "qid", qid, clean(where, "question", row["question"]))
        qrels[qid] = {row["context_id"]: 1}
    return queries, qrels


def _judged(root: Path, path: str, shape: str) -> tuple[dict[str, str], Qrels, set[str]]:
    """Queries, judgments, and the docids that are judged for any query, relevant or not."""
    queries: dict[str, str] = {}
    qrels: Qrels = {}
    judged: set[str] = set()
    for found in judged_queries(root, path, shape):
        put(queries, found.where, "qid", found.qid, found.query)
        qrels[found.qid] = dict.fromkeys(found.positives, 1)
        judged.update(found.positives, found.negatives)
    return queries, qrels, judged


def _qa_corpus(root: Path, path: str) -> dict[str, str]:
    corpus: dict[str, str] = {}
    for where, row in raw_rows(root, path, {"context_id": str, "context": str, "title": NULLABLE}):
        # JSQuAD's contexts carry their title in front.
        left, separator, right = row["context"].partition(_SEPARATOR)
        title, context = (left, right) if separator else (row["title"], row["context"])
        section = row.get("section") or ""
        if not isinstance(section, str):
            raise DataError(f"{where}, field 'section': {type(section).__name__} given, str expected.")
        text = passage_text(normalize(title or ""), normalize(section), clean(where, "context", context))
        docid = read_id(where, "context_id", row["context_id"])
        if corpus.setdefault(docid, text) != text:
            raise DataError(f"{where}, field 'context_id': '{docid}' stands for two different texts. Ids are unique.")
    return corpus


def _docs_corpus(root: Path, path: str) -> dict[str, str]:
    corpus: dict[str, str] = {}
    for where, row in raw_rows(root, path, {"docid": str, "title": NULLABLE, "text": str}):
        text = passage_text(normalize(row["title"] or ""), "", clean(where, "text", row["text"]))
        put(corpus, where, "docid", read_id(where, "docid", row["docid"]), text)
    return corpus


def _articles_corpus(root: Path, path: str) -> dict[str, str]:
    """Every paragraph, as `<article_id>-<section index>-<paragraph index>`; abstracts are left out."""
    corpus: dict[str, str] = {}
    for where, row in raw_rows(root, path, {"article_id": str, "title": NULLABLE, "sections": list}):
        article = read_id(where, "article_id", row["article_id"])
        for place, section, paragraph in paragraphs_of(where, row["sections"]):
            field = f"sections {place}"
            text = passage_text(normalize(row["title"] or ""), normalize(section), clean(where, field, paragraph or ""))
            put(corpus, where, field, f"{article}-{place}", text)
    return corpus


_CORPORA = {"qa": _qa_corpus, "corpus": _docs_corpus, "articles": _articles_corpus}
