"""Search among token vectors by the interface that all retrievers have."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path

import numpy as np
import pyarrow as pa
from tqdm import tqdm

from ruri_kedro.engines.engine import Engine
from ruri_kedro.search.multi_vector.build import build_index
from ruri_kedro.search.multi_vector.search import Searcher
from ruri_kedro.search.multi_vector.settings import MultiVectorSettings
from ruri_kedro.search.multi_vector.spool import Block, Blocks
from ruri_kedro.search.multi_vector.update import add_documents
from ruri_kedro.search.retriever import Hits

# Texts to the token vectors (tokens, d) of each, of length 1.
EncodeTokens = Callable[[list[str]], Sequence[np.ndarray]]


@dataclass(frozen=True)
class MultiVectorRetriever:
    """Texts by a vector for each token. `model` is the digest of the model by which both sides are encoded.

    `engine` encodes documents, `block` of them at a time.
    """

    folder: Path
    settings: MultiVectorSettings
    model: str
    encode_query: EncodeTokens
    encode_document: EncodeTokens
    block: int
    engine: Engine = map

    def build(self, documents: Iterable[tuple[str, str]], key: str, most: int | None = None) -> None:
        """As `Retriever.build`. `documents` have the same order each time, so that a killed call is continued."""
        build_index(self._blocks(documents, most), self.folder, self.settings, self.model, key)

    def add(self, documents: Iterable[tuple[str, str]], key: str, most: int | None = None) -> None:
        """Add documents to what was built, as `add_documents`."""
        add_documents(self._blocks(documents, most), self.folder, self.settings, self.model, key)

    def search(self, queries: Sequence[str], k: int) -> Iterator[Hits]:
        """As `Retriever.search`; the score is MaxSim."""
        searcher = Searcher(self.folder, self.settings, self.model)
        return searcher.search(self.encode_query(list(queries)), k)

    def _blocks(self, documents: Iterable[tuple[str, str]], most: int | None) -> Blocks:
        def blocks(done: int) -> Iterator[Block]:
            label = f"encode {self.folder.name}"
            told = tqdm(islice(documents, done, None), total=most, initial=done, unit="text", desc=label, disable=None)
            rows = iter(told)
            texts = iter(lambda: list(islice(rows, self.block)), [])
            for table in self.engine(partial(_encoded, self.encode_document), texts):
                yield _block(table)

        return blocks


def _encoded(encode: EncodeTokens, rows: list[tuple[str, str]]) -> pa.Table:
    """Docids and token vectors of (docid, text) rows as Arrow columns, which any engine can carry."""
    vectors = [np.asarray(one, dtype=np.float16) for one in encode([text for _, text in rows])]
    values = pa.array(np.concatenate([one.ravel() for one in vectors]))
    offsets = np.cumsum([0, *(one.size for one in vectors)], dtype=np.int64)
    columns = [
        pa.array([docid for docid, _ in rows], type=pa.string()),
        pa.array([len(one) for one in vectors], type=pa.int32()),
        pa.LargeListArray.from_arrays(pa.array(offsets), values),
    ]
    return pa.table(columns, names=["docid", "tokens", "vectors"])


def _block(table: pa.Table) -> Block:
    lengths = table["tokens"].to_pylist()
    values = table["vectors"].combine_chunks().flatten().to_numpy(zero_copy_only=False)
    return table["docid"].to_pylist(), values.reshape(sum(lengths), -1) if len(values) else values[:, None], lengths
