"""Texts as vectors of a saved model, with the nearest documents of some queries by exact search."""

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Protocol

import numpy as np

from ruri_kedro.search.dense.faiss_index import search
from ruri_kedro.search.vector_stores.documents import Batch

if TYPE_CHECKING:
    from ruri_kedro.models.saved import SavedModel

Vectors = np.ndarray | list[np.ndarray]
_THREADS = 1  # of faiss, for some queries among a block of documents
_BLOCK = 4_096  # documents that are encoded at a time


class Encoder(Protocol):
    """How a kind of model encodes and compares."""

    multi_vectors: bool

    def queries(self, texts: list[str]) -> Vectors:
        """Vectors of queries, of length 1: (n, d) or n of (tokens, d)."""

    def documents(self, texts: list[str]) -> Vectors:
        """Vectors of documents, of length 1: (n, d) or n of (tokens, d)."""

    def nearest(self, queries: Vectors, documents: Vectors, k: int) -> tuple[np.ndarray, np.ndarray]:
        """Rows of the `k` nearest of the documents and their scores, (q, min(k, n)), best first."""


class SingleVectors:
    """A SentenceTransformer: one vector for a text, compared by the cosine."""

    multi_vectors = False

    def __init__(self, model: "SavedModel", prompts: Mapping[str, str], max_length: int, chunk_tokens: int) -> None:
        self._model, self._prompts, self._lengths = model, prompts, (max_length, chunk_tokens)

    def queries(self, texts: list[str]) -> np.ndarray:
        """As `Encoder.queries`."""
        return self._model.encode(texts, self._prompts["query"], *self._lengths)

    def documents(self, texts: list[str]) -> np.ndarray:
        """As `Encoder.documents`."""
        return self._model.encode(texts, self._prompts["document"], *self._lengths)

    def nearest(self, queries: Vectors, documents: Vectors, k: int) -> tuple[np.ndarray, np.ndarray]:
        """As `Encoder.nearest`."""
        return search(np.asarray(queries), np.asarray(documents), k, _THREADS)


class MultiVectors:
    """A MultiVectorEncoder: a vector for each token, compared by MaxSim; prompts and lengths are the model's own."""

    multi_vectors = True

    def __init__(self, model: "SavedModel", chunk_tokens: int) -> None:
        from ruri_kedro.models.late_interaction import LateInteraction

        self._late = LateInteraction(model.multi_vector, chunk_tokens)

    def queries(self, texts: list[str]) -> list[np.ndarray]:
        """As `Encoder.queries`."""
        return self._encoded(texts, "query")

    def documents(self, texts: list[str]) -> list[np.ndarray]:
        """As `Encoder.documents`."""
        return self._encoded(texts, "document")

    def nearest(self, queries: Vectors, documents: Vectors, k: int) -> tuple[np.ndarray, np.ndarray]:
        """As `Encoder.nearest`."""
        from ruri_kedro.models.token_vectors import TokenVectors

        sides = [TokenVectors(np.concatenate([*side]), np.array([*map(len, side)])) for side in (queries, documents)]
        scores = self._late.scores(*sides)
        rows = np.argsort(-scores, axis=1, kind="stable")[:, :k]
        return rows, np.take_along_axis(scores, rows, axis=1)

    def _encoded(self, texts: list[str], task: str) -> list[np.ndarray]:
        found = self._late.encode(texts, task)
        return np.split(found.vectors, np.cumsum(found.lengths)[:-1])


class ExactSearch:
    """The nearest documents of queries, kept while documents go by in batches."""

    def __init__(self, encoder: Encoder, queries: list[str], k: int) -> None:
        self._encoder, self._k = encoder, k
        self.texts = queries
        self.vectors = encoder.queries(queries)
        self.docids: list[list[str]] = [[] for _ in queries]
        self.scores: list[list[float]] = [[] for _ in queries]

    def encoded(self, documents: Sequence[tuple[str, str]]) -> Iterator[Batch]:
        """The documents (docid, text) with their vectors; when the last has gone by, the nearest are known."""
        for start in range(0, len(documents), _BLOCK):
            block = documents[start : start + _BLOCK]
            docids, texts = [docid for docid, _ in block], [text for _, text in block]
            vectors = self._encoder.documents(texts)
            self._look_at(docids, vectors)
            yield Batch(docids, texts, vectors)

    def _look_at(self, docids: list[str], vectors: Vectors) -> None:
        rows, scores = self._encoder.nearest(self.vectors, vectors, self._k)
        for number, (found, its_scores) in enumerate(zip(rows, scores, strict=True)):
            together = [*zip(self.scores[number], self.docids[number], strict=True)]
            together += zip(its_scores.tolist(), (docids[row] for row in found), strict=True)
            best = sorted(together, key=lambda pair: -pair[0])[: self._k]  # stable: equal scores in order of documents
            self.scores[number], self.docids[number] = [score for score, _ in best], [docid for _, docid in best]
