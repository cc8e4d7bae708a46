"""An encoder without a model: vectors of length 1 that are made of the texts, in clusters, as those of passages are."""

import zlib

import numpy as np

from ruri_kedro.search.dense.faiss_index import search

# What ids and texts hold that a file or a request must not take for its own.
HOSTILE = ["'; DROP TABLE passages; --", '"\n{"delete": {"_id": "1"}}', "a\tb\\.\r\n\\.\n\\N", "</passages>&%{{}}",
           "../../etc/passwd", "富士山\u2028の高さ", "x" * 400]  # fmt: skip


class MadeEncoder:
    """As `Encoder` of `vector_stores.encoding`; the same text has the same vector, queries lie beside documents."""

    multi_vectors = False

    def __init__(self, dimension: int = 32, clusters: int = 40) -> None:
        self._centres = np.random.default_rng(0).standard_normal((clusters, dimension))

    def documents(self, texts):
        seeds = [zlib.crc32(text.encode()) for text in texts]
        made = [
            self._centres[seed % len(self._centres)]
            + 0.7 * np.random.default_rng(seed).standard_normal(len(self._centres[0]))
            for seed in seeds
        ]
        vectors = np.array(made)
        return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)

    queries = documents

    def nearest(self, queries, documents, k):
        return search(queries, documents, k, 1)


def made_documents(count: int) -> list[tuple[str, str]]:
    """(docid, text): hostile ids and texts first."""
    plain = [(f"文書-{number}", f"これは{number}番目の文書です。富士山の話もする。") for number in range(count)]
    return [*((hostile, f"本文 {hostile} 終わり") for hostile in HOSTILE), *plain]
