"""An index of token vectors as other engines read multi-vectors: LanceDB, Qdrant, Vespa.

Documents that are deleted are left out; vectors are the decompressed ones, of length 1.
"""

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ruri_kedro.search.multi_vector.index import Index, open_index
from ruri_kedro.search.multi_vector.residuals import Codes
from ruri_kedro.search.multi_vector.segment import Segment
from ruri_kedro.tables.files import new_folder, replace_dir

_BLOCK = 1000  # documents in memory at a time
_DIGITS = 5  # of a component in JSON

Documents = list[tuple[str, np.ndarray]]  # docid and vectors (tokens, d) float32


def export_index(folder: Path, to: str, out: Path) -> int:
    """Write the documents of an index for the engine `to`, a name of `WRITERS`, into a new folder; their number.

    Raises as `open_index`, but takes the index of any model, and DataError where `out` holds something.
    """
    index = open_index(folder, None)
    with replace_dir(new_folder(Path(out))) as aside:
        WRITERS[to](aside, _documents(index), index.codec.dimension)
    return index.manifest["documents"]


def read_by(to: str) -> str:
    """What was written for an engine, and how it reads it."""
    return " ".join((WRITERS[to].__doc__ or "").split())


def _documents(index: Index) -> Iterator[Documents]:
    """The documents in blocks, in order of rows."""
    for segment, deleted in zip(index.segments, index.deleted, strict=True):
        for first in range(0, len(segment), _BLOCK):
            last = min(first + _BLOCK, len(segment))
            found = zip(_docids(segment, first, last), _vectors(index, segment, first, last), strict=True)
            yield [pair for pair, gone in zip(found, deleted[first:last], strict=True) if not gone]


def _docids(segment: Segment, first: int, last: int) -> list[str]:
    return segment.docids.slice(first, last - first).to_pylist()


def _vectors(index: Index, segment: Segment, first: int, last: int) -> list[np.ndarray]:
    offsets, stored = segment.offsets, segment.stored
    rows = slice(offsets[first], offsets[last])
    vectors = index.codec.decompress(Codes(stored.codes[rows], stored.packed[rows], stored.scales[rows]))
    return np.split(vectors, offsets[first + 1 : last] - offsets[first])


def _write_lancedb(folder: Path, documents: Iterator[Documents], dimension: int) -> None:
    """passages.parquet: lancedb.connect(FOLDER).create_table("passages", pyarrow.parquet.read_table(FILE))."""
    vectors = pa.list_(pa.list_(pa.float16(), dimension))
    schema = pa.schema([("docid", pa.string()), ("vectors", vectors)])
    with pq.ParquetWriter(folder / "passages.parquet", schema) as writer:
        for block in documents:
            offsets = np.cumsum([0, *(len(tokens) for _, tokens in block)], dtype=np.int32)
            flat = np.concatenate([np.zeros((0, dimension)), *(tokens for _, tokens in block)]).astype(np.float16)
            values = pa.FixedSizeListArray.from_arrays(pa.array(flat.ravel()), dimension)
            columns = [pa.array([docid for docid, _ in block]), pa.ListArray.from_arrays(pa.array(offsets), values)]
            writer.write_table(pa.table([column.cast(kind) for column, kind in zip(columns, schema.types, strict=True)],
                                        schema=schema))  # fmt: skip


def _write_qdrant(folder: Path, documents: Iterator[Documents], dimension: int) -> None:
    """collection.json: body of PUT /collections/NAME; points.jsonl: a body of PUT /collections/NAME/points a line."""
    multi = {"size": dimension, "distance": "Dot", "multivector_config": {"comparator": "max_sim"}}
    (folder / "collection.json").write_text(json.dumps({"vectors": multi}) + "\n", encoding="utf-8")
    with (folder / "points.jsonl").open("w", encoding="utf-8") as file:
        number = 0
        for block in documents:
            points = [
                {"id": row, "vector": _numbers(tokens), "payload": {"docid": docid}}
                for row, (docid, tokens) in enumerate(block, start=number)
            ]
            number += len(block)
            if points:
                file.write(json.dumps({"points": points}, ensure_ascii=False) + "\n")


_VESPA_SCHEMA = """schema passage {{
  document passage {{
    field docid type string {{ indexing: summary | attribute }}
    field vectors type tensor<bfloat16>(token{{}}, v[{dimension}]) {{ indexing: attribute }}
  }}
  rank-profile max_sim {{
    inputs {{ query(tokens) tensor<float>(query_token{{}}, v[{dimension}]) }}
    first-phase {{
      expression: sum(reduce(sum(query(tokens) * attribute(vectors), v), max, token), query_token)
    }}
  }}
}}
"""


def _write_vespa(folder: Path, documents: Iterator[Documents], dimension: int) -> None:
    """passage.sd: a schema with MaxSim as its ranking; feed.jsonl: vespa feed feed.jsonl."""
    (folder / "passage.sd").write_text(_VESPA_SCHEMA.format(dimension=dimension), encoding="utf-8")
    with (folder / "feed.jsonl").open("w", encoding="utf-8") as file:
        for docid, tokens in (document for block in documents for document in block):
            cells = {str(token): vector for token, vector in enumerate(_numbers(tokens))}
            row = {"put": f"id:passage:passage::{docid}", "fields": {"docid": docid, "vectors": {"blocks": cells}}}
            file.write(json.dumps(row, ensure_ascii=False) + "\n")


def _numbers(vectors: np.ndarray) -> list[list[float]]:
    return [[round(value, _DIGITS) for value in vector] for vector in vectors.tolist()]


WRITERS: dict[str, Callable[[Path, Iterator[Documents], int], None]] = {
    "lancedb": _write_lancedb,
    "qdrant": _write_qdrant,
    "vespa": _write_vespa,
}
