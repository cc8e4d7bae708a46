"""Models as the benchmark asks them: what they find in a collection, and how they order candidates.

A model of another kind is a class with the same attributes as `Model`.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

import numpy as np

from ruri_kedro.benchmark.runs import Run, check_scores
from ruri_kedro.benchmark.scoring.exact import best_documents, score_candidates, search_exact
from ruri_kedro.benchmark.tasks.retrieval import RetrievalTask
from ruri_kedro.errors import DataError

# (texts, role) -> float32 (n, d), rows of length 1. Roles: query, document, and the other types of task by name; the
# caller chooses the prompt of each role.
Encode = Callable[[list[str], str], np.ndarray]
# (query, passage) pairs -> (n,) scores, higher is better.
Score = Callable[[list[tuple[str, str]]], np.ndarray]
# (queries, passages) -> scores of all, (queries, passages).
ScoreAll = Callable[[Sequence[str], Sequence[str]], np.ndarray]
# (documents by docid, queries, depth) -> (docid, score) of the hits of each query.
Find = Callable[[Mapping[str, str], Sequence[str], int], list[list[tuple[str, float]]]]

_QUERIES_PER_CALL = 64  # a few thousand pairs at 100 candidates: enough to sort by length, and a bounded list
FOUND = 1000  # rank to which BM25 looks for given candidates; those it does not find score 0


class Model(Protocol):
    """A model, as it is asked. Tasks have queries and documents; runs of other queries or documents are DataErrors."""

    name: str
    encode: Encode | None  # None: it has no vectors of texts, which types of task without queries need

    def searches(self, task: RetrievalTask) -> bool:
        """Whether it searches all documents of the task; otherwise it orders candidates."""

    def search(self, task: RetrievalTask, depth: int, candidates: Run) -> tuple[Run, Run]:
        """The first `depth` documents of each query, and `candidates` with its scores. Each text is encoded once."""

    def order(self, task: RetrievalTask, candidates: Run) -> Run:
        """`candidates` with its scores."""


@dataclass(frozen=True)
class Embedder:
    """A model of vectors of texts, compared by their cosines."""

    name: str
    encode: Encode

    def searches(self, task: RetrievalTask) -> bool:
        """Always."""
        return True

    def search(self, task: RetrievalTask, depth: int, candidates: Run) -> tuple[Run, Run]:
        """By cosine over all documents, exactly."""
        check_run(task, candidates)
        qids, docids = list(task.queries), list(task.corpus)
        queries = checked_vectors(self, task, list(task.queries.values()), "query")
        documents = checked_vectors(self, task, list(task.corpus.values()), "document")
        places = dict(zip(qids, queries, strict=True))
        chosen = np.stack([places[qid] for qid in candidates]) if candidates else queries[:0]
        reordered = score_candidates(candidates, chosen, dict(zip(docids, documents, strict=True)))
        return search_exact(qids, queries, docids, documents, depth), reordered

    def order(self, task: RetrievalTask, candidates: Run) -> Run:
        """By cosine; only the texts of the candidates are encoded."""
        check_run(task, candidates)
        qids = list(candidates)
        docids = sorted({docid for scores in candidates.values() for docid in scores})
        queries = checked_vectors(self, task, [task.queries[qid] for qid in qids], "query")
        documents = checked_vectors(self, task, [task.corpus[docid] for docid in docids], "document")
        return score_candidates(candidates, queries, dict(zip(docids, documents, strict=True)))


@dataclass(frozen=True)
class Reranker:
    """A model of pairs of texts, such as a cross-encoder."""

    name: str
    score: Score
    encode: ClassVar[None] = None

    def searches(self, task: RetrievalTask) -> bool:
        """Never: every query would be scored with every document."""
        return False

    def search(self, task: RetrievalTask, depth: int, candidates: Run) -> tuple[Run, Run]:
        """Not possible."""
        raise DataError(
            f"model '{self.name}', task '{task.name}': it scores pairs, so it orders candidates and cannot search."
        )

    def order(self, task: RetrievalTask, candidates: Run) -> Run:
        """By the scores of pairs; `score` is called with those of up to 64 queries at a time.

        Raises DataError where `score` does not return one finite number per pair.
        """
        check_run(task, candidates)
        ordered: Run = {}
        for qids in _chunks(list(candidates), _QUERIES_PER_CALL):
            keys = [(qid, docid) for qid in qids for docid in candidates[qid]]
            scores = np.asarray(self.score([(task.queries[qid], task.corpus[docid]) for qid, docid in keys]))
            if scores.shape != (len(keys),) or not np.isfinite(scores).all():
                raise DataError(
                    f"task '{task.name}', query '{qids[0]}' and on: {len(keys)} finite scores expected, "
                    f"got {_summary(scores)}."
                )
            ordered |= {qid: {} for qid in qids}
            for (qid, docid), value in zip(keys, scores.tolist(), strict=True):
                ordered[qid][docid] = value
        return ordered


@dataclass(frozen=True)
class MultiVector(Reranker):
    """A late interaction model: it searches collections of any size by `find`, or of up to `exact_documents` itself."""

    score_all: ScoreAll
    exact_documents: int
    find: Find | None = None  # through an index

    def searches(self, task: RetrievalTask) -> bool:
        """Unless there is no index and the collection is too large."""
        return self.find is not None or len(task.corpus) <= self.exact_documents

    def search(self, task: RetrievalTask, depth: int, candidates: Run) -> tuple[Run, Run]:
        """By MaxSim over all documents, or through the index."""
        qids, queries = list(task.queries), list(task.queries.values())
        if self.find is not None:
            hits = self.find(task.corpus, queries, depth)
            run = {qid: dict(found) for qid, found in zip(qids, hits, strict=True)}
        else:
            scores = self.score_all(queries, list(task.corpus.values()))
            run = best_documents(qids, list(task.corpus), scores, depth)
        return run, self.order(task, candidates)


@dataclass(frozen=True)
class Bm25:
    """BM25, searched by `find`; candidates that it does not have among its first `found` documents score 0."""

    name: str
    find: Find
    found: int = FOUND
    encode: ClassVar[None] = None

    def searches(self, task: RetrievalTask) -> bool:
        """Always."""
        return True

    def search(self, task: RetrievalTask, depth: int, candidates: Run) -> tuple[Run, Run]:
        """By BM25 over all documents."""
        return self.run(task, list(task.queries), depth), self.order(task, candidates) if candidates else {}

    def order(self, task: RetrievalTask, candidates: Run) -> Run:
        """By the scores of a search of all documents."""
        found = self.run(task, list(candidates), self.found)
        return {qid: {docid: found[qid].get(docid, 0.0) for docid in docids} for qid, docids in candidates.items()}

    def run(self, task: RetrievalTask, qids: list[str], depth: int) -> Run:
        """The first `depth` documents of these queries."""
        hits = self.find(task.corpus, [task.queries[qid] for qid in qids], depth)
        return {qid: dict(found) for qid, found in zip(qids, hits, strict=True)}


def check_run(task: RetrievalTask, run: Run) -> None:
    """Raise DataError for a query or document that the task has not, or a score that is not finite."""
    check_scores(f"task '{task.name}'", run)
    for qid, scores in run.items():
        if qid not in task.queries:
            raise DataError(f"task '{task.name}': the run has a query '{qid}' that the task has not.")
        for docid in scores:
            if docid not in task.corpus:
                raise DataError(
                    f"task '{task.name}', query '{qid}': document '{docid}' of the run is not in the corpus."
                )


def checked_vectors(model: Model, task: Any, texts: Sequence[str], role: str) -> np.ndarray:
    """Vectors of shape (n, d), checked: a wrong shape or length gives a plausible, wrong score otherwise."""
    vectors = np.asarray(model.encode(list(texts), role))
    where = f"model '{model.name}', task '{task.name}', role '{role}'"
    if vectors.ndim != 2 or len(vectors) != len(texts) or not np.isfinite(vectors).all():
        raise DataError(f"{where}: {len(texts)} finite vectors expected, got {_summary(vectors)}.")
    lengths = np.linalg.norm(vectors, axis=1)
    if np.abs(lengths - 1).max(initial=0) > 1e-2:
        number = int(np.abs(lengths - 1).argmax())
        raise DataError(f"{where}, text {number}: its vector has length {lengths[number]:.4g}. Normalise vectors to 1.")
    return vectors.astype(np.float32, copy=False)


def _summary(values: np.ndarray) -> str:
    return f"shape {values.shape} with {int((~np.isfinite(values)).sum())} values that are not finite"


def _chunks(items: list, size: int) -> Iterator[list]:
    for start in range(0, len(items), size):
        yield items[start : start + size]
