"""LanceDB, embedded: a folder."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from ruri_kedro.search.vector_stores.documents import Batch, Layout
from ruri_kedro.search.vector_stores.parquet import FILE, schema_of, write_documents

_ROWS = 10_000  # merged at a time
_LEAST = 256  # rows that LanceDB's product quantiser is trained on; fewer are searched exactly
_REFINED = 10  # times as many hits as are wanted get their exact distance
_GRAM = 2  # characters of an n-gram; LanceDB brings no Japanese dictionary


class LanceDB:
    """documents.parquet: lancedb.connect(FOLDER).create_table(NAME, pyarrow.parquet.read_table(FILE))."""

    address = "a folder"
    multi_vectors = True

    def __init__(self, address: str, layout: Layout, folder: Path) -> None:
        import lancedb

        self._layout, self._folder = layout, folder
        self._db = lancedb.connect(address)

    @staticmethod
    def write(folder: Path, batches: Iterable[Batch], layout: Layout) -> None:
        """Write the file."""
        write_documents(folder / FILE, batches, layout)

    def load(self) -> None:
        """Merge the documents by docid; then LanceDB's usual index (IVF_PQ) and one of two-character grams."""
        table = self._db.create_table(self._layout.name, schema=schema_of(self._layout), exist_ok=True)
        for part in pq.ParquetFile(self._folder / FILE).iter_batches(_ROWS):
            table.merge_insert("docid").when_matched_update_all().when_not_matched_insert_all().execute(part)
        if table.count_rows() >= _LEAST:
            table.create_index(metric="cosine", vector_column_name=self._layout.vector_field, replace=True)
        if self._layout.texts:
            table.create_fts_index(
                "text", base_tokenizer="ngram", ngram_min_length=_GRAM, ngram_max_length=_GRAM, replace=True
            )

    def search(self, vectors: list[np.ndarray], k: int, exact: bool) -> list[list[str]]:
        """Docids of the nearest, without the index or by it; what the index finds is ranked again by true distances."""
        table, found = self._db.open_table(self._layout.name), []
        for vector in vectors:
            query = table.search(vector, vector_column_name=self._layout.vector_field).distance_type("cosine").limit(k)
            query = query.bypass_vector_index() if exact else query.refine_factor(_REFINED)
            found.append(query.select(["docid", "_distance"]).to_arrow()["docid"].to_pylist())
        return found
