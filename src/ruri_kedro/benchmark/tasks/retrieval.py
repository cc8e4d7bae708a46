"""Retrieval: documents of a collection, found for queries.

A model searches all documents; models that order candidates get BM25's first, as a task of its own.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa

from ruri_kedro.benchmark.runs import Qrels, Run
from ruri_kedro.benchmark.tasks.columns import judgments, rows_table, texts_by_id
from ruri_kedro.benchmark.tasks.judged_queries import judged_queries
from ruri_kedro.benchmark.tasks.rows import JudgedShape, MinedNegatives, Place
from ruri_kedro.benchmark.tasks.sampled import sampled_corpus
from ruri_kedro.benchmark.tasks.specs import NULLABLE, RERANKING_SUFFIX, clean, put, raw_rows, read_id
from ruri_kedro.benchmark.tasks.types import Search, TaskType, Text, Value
from ruri_kedro.errors import DataError, RecipeError
from ruri_kedro.recipe.parse import Count, parameters
from ruri_kedro.tables.judgments import paragraphs_of
from ruri_kedro.text.normalize import normalize
from ruri_kedro.text.prompts import passage_text

_SEPARATOR = " [SEP] "


@parameters
class Sampled:
    """A sampled collection: `random` passages drawn with `seed`, or the mined negatives of the queries."""

    random: Count | None = None
    seed: int | None = None
    negatives: MinedNegatives | None = None

    def __post_init__(self) -> None:
        drawn = (self.random is not None, self.seed is not None)
        if drawn not in ((True, True), (False, False)) or all(drawn) == (self.negatives is not None):
            raise RecipeError("give either {random, seed} or {negatives: {path, count}}.")


@parameters
class Documents(Place):
    """The collection of a retrieval task."""

    shape: Literal["qa", "corpus", "articles"]
    sampled: Sampled | None = None


@parameters
class Qa(Place):
    """Questions about paragraphs, which are the collection where no other is given."""

    type: Literal["retrieval"]
    shape: Literal["qa"]
    corpus: Documents | None = None


@parameters
class Judged(Place):
    """Judged queries and the collection that is searched."""

    type: Literal["retrieval"]
    shape: JudgedShape
    corpus: Documents


@dataclass(frozen=True)
class RetrievalTask:
    """Find each query's positives in the corpus."""

    name: str
    queries: dict[str, str]  # qid -> text
    corpus: dict[str, str]  # docid -> text
    qrels: Qrels  # qid -> docid -> relevance


def read(name: str, spec: Mapping[str, Any], root: Path) -> RetrievalTask:
    """The queries, the collection and the judgments of a task.

    `shape: qa` takes the paragraphs of the questions themselves as its corpus where no `corpus` is given; the other
    shapes (`judged_queries.py`) need one, and may have it `sampled` (`sampled.py`). Raises DataError for a positive
    that is not in the corpus.
    """
    shape = spec["shape"]
    if shape == "qa":
        (queries, qrels), judged = _qa_queries(root, spec["path"]), set()
    else:
        queries, qrels, judged = _judged(root, spec["path"], shape)
    corpus_spec = spec.get("corpus", {"shape": "qa", "path": spec["path"]})
    if "sampled" in corpus_spec:
        return RetrievalTask(name, queries, *sampled_corpus(name, corpus_spec, root, judged, qrels))
    corpus = _CORPORA[corpus_spec["shape"]](root, corpus_spec["path"])
    for qid, positives in qrels.items():
        for docid in positives:
            if docid not in corpus:
                raise DataError(
                    f"task '{name}', query '{qid}': its positive '{docid}' is not in the corpus "
                    f"({corpus_spec['path']}). Take the corpus that the queries were made for."
                )
    return RetrievalTask(name, queries, corpus, qrels)


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
    for where, docid, text in read_documents(root, path):
        put(corpus, where, "docid", docid, text)
    return corpus


def read_documents(root: Path, path: str) -> Iterator[tuple[str, str, str]]:
    """(place, docid, text with the title before it) of the rows of raw files that have docid, title and text."""
    for where, row in raw_rows(root, path, {"docid": str, "title": NULLABLE, "text": str}):
        text = passage_text(normalize(row["title"] or ""), "", clean(where, "text", row["text"]))
        yield where, read_id(where, "docid", row["docid"]), text


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


def tables(task: RetrievalTask) -> dict[str, pa.Table]:
    """What is stored."""
    judged = [(qid, docid, value) for qid, documents in task.qrels.items() for docid, value in documents.items()]
    return {
        "corpus": rows_table(("id", "text"), task.corpus.items()),
        "qrels": rows_table(("qid", "docid", "relevance"), judged),
        "queries": rows_table(("id", "text"), task.queries.items()),
    }


def fields_of(stored: Mapping[str, pa.Table]) -> tuple[dict[str, str], dict[str, str], Qrels]:
    """Queries, corpus and judgments of the tables of a searched task."""
    return texts_by_id(stored["queries"]), texts_by_id(stored["corpus"]), judgments(stored["qrels"])


def restore(name: str, stored: Mapping[str, pa.Table]) -> RetrievalTask:
    """The task of its tables."""
    return RetrievalTask(name, *fields_of(stored))


def texts(task: RetrievalTask) -> Iterator[Text]:
    """Each query and, right behind it, its positives (both with item_id = qid), then the whole corpus (docid)."""
    for qid, query in task.queries.items():
        yield "query", qid, query
        for docid in (docid for docid, grade in task.qrels.get(qid, {}).items() if grade > 0):
            yield "positive", qid, task.corpus[docid]
    for docid, text in task.corpus.items():
        yield "passage", docid, text


def first_queries(task: RetrievalTask, count: int | None) -> RetrievalTask:
    """The first `count` queries with their judgments; None: all. To order candidates of all takes hours."""
    if count is None:
        return task
    qids = list(task.queries)[:count]
    queries = {qid: task.queries[qid] for qid in qids}
    return RetrievalTask(task.name, queries, task.corpus, {qid: task.qrels[qid] for qid in qids if qid in task.qrels})


def candidates_of_bm25(part: RetrievalTask, bm25: Callable[[], Run]) -> Run:
    """What BM25 finds for the queries."""
    run = bm25()
    return {qid: run[qid] for qid in part.queries if qid in run}


def score_order(part: RetrievalTask, run: Run, metrics: Sequence[str] | None = None) -> Iterator[Value]:
    """Metrics of an order of candidates. A positive that is not among them is missed by every model."""
    from ruri_kedro.benchmark.metrics import RERANKING_METRICS, run_scores

    return run_scores(part.qrels, run, metrics or RERANKING_METRICS)


TYPE = TaskType(
    name="retrieval",
    rows={"qa": Qa, "queries": Judged, "passages": Judged, "topics": Judged},
    task=RetrievalTask,
    read=read,
    tables=tables,
    restore=restore,
    texts=texts,
    search=Search(
        collection=True, suffix=RERANKING_SUFFIX, part=first_queries, candidates=candidates_of_bm25, score=score_order
    ),
    main_metric="ndcg@10",
    hub_task="information-retrieval",
)
