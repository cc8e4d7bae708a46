"""Made-up token vectors: noisy copies of a few hundred words, as documents, and queries made of a document's tokens."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ruri_kedro.search.multi_vector.build import build_index
from ruri_kedro.search.multi_vector.settings import MultiVectorSettings

MODEL = "digest of a model"
SETTINGS = MultiVectorSettings(
    bits=2,
    centroids=512,
    iterations=4,
    seed=0,
    shard_tokens=500,
    probes=8,
    candidates=300,
    rescored=100,
    threads=2,
)


def unit(vectors: np.ndarray) -> np.ndarray:
    """Vectors of length 1, float32."""
    return (vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)).astype(np.float32)


@dataclass(frozen=True)
class Collection:
    """Documents by their token vectors."""

    docids: list[str]
    documents: list[np.ndarray]

    def blocks(self, done: int, size: int = 7) -> Iterator[tuple]:
        """The documents from number `done` on, `size` in a block."""
        for start in range(done, len(self.docids), size):
            some = self.documents[start : start + size]
            yield self.docids[start : start + size], np.concatenate(some), [len(vectors) for vectors in some]

    def scores(self, query: np.ndarray) -> np.ndarray:
        """MaxSim of a query with each document, by brute force; -inf for one without vectors."""
        return np.array(
            [(query @ vectors.T).max(axis=1).sum() if len(vectors) else -np.inf for vectors in self.documents]
        )

    def best(self, query: np.ndarray, k: int) -> list[str]:
        """The docids of the highest scores."""
        order = np.argsort(-self.scores(query), kind="stable")[:k]
        return [self.docids[row] for row in order]


def make_collection(documents: int, dimension: int = 32, seed: int = 0, words: int = 300, noise: float = 0.3):
    """Documents of 1 to 24 tokens."""
    rng = np.random.default_rng(seed)
    centres = unit(np.random.default_rng(1).standard_normal((words, dimension)))
    lengths = rng.integers(1, 25, documents)
    drawn = centres[rng.integers(0, words, lengths.sum())]
    tokens = unit(drawn + noise * unit(rng.standard_normal(drawn.shape)))
    return Collection([f"文書{seed}-{row}" for row in range(documents)], np.split(tokens, np.cumsum(lengths)[:-1]))


def make_queries(collection: Collection, count: int, noise: float = 0.3) -> list[np.ndarray]:
    """Each of 9 tokens of a document, with noise."""
    rng = np.random.default_rng(2)
    chosen = [collection.documents[row] for row in rng.integers(0, len(collection.documents), count)]
    drawn = [vectors[rng.integers(0, len(vectors), 9)] for vectors in chosen]
    return [unit(vectors + noise * unit(rng.standard_normal(vectors.shape))) for vectors in drawn]


def build(collection: Collection, folder: Path, settings: MultiVectorSettings = SETTINGS) -> None:
    """An index of a collection."""
    build_index(collection.blocks, folder, settings, MODEL, "documents")


def files(folder: Path) -> dict[str, bytes]:
    """The bytes of every file of a folder, hidden ones among them."""
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
