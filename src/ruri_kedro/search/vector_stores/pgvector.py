"""PostgreSQL with pgvector: a table with an HNSW index, and the words of its texts for full-text search."""

from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

from ruri_kedro.errors import DataError
from ruri_kedro.search.bm25.sudachi import term_splitter
from ruri_kedro.search.vector_stores.documents import Batch, Layout

_ROWS = "rows-{:05d}.copy"
_LONGEST_INDEXED = 2_000  # components of a `vector` that HNSW takes; a `halfvec` may have twice as many
_ESCAPES = str.maketrans({"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r"})
_MODE = "c"  # Sudachi's longest words

# PostgreSQL brings no Japanese dictionary: the words are split by Sudachi, also those of a query.
_TABLE = """CREATE EXTENSION IF NOT EXISTS vector;
CREATE TABLE IF NOT EXISTS {name} (
  docid text PRIMARY KEY,
  text text,
  words text,
  vector {type}({dimension}) NOT NULL,
  terms tsvector GENERATED ALWAYS AS (to_tsvector('simple', coalesce(words, ''))) STORED
);
"""
# Vectors have length 1, so that the inner product is the cosine.
_INDEXES = """CREATE INDEX IF NOT EXISTS {name}_vector ON {name} USING hnsw (vector {type}_ip_ops);
CREATE INDEX IF NOT EXISTS {name}_terms ON {name} USING gin (terms);
ANALYZE {name};
"""
_INCOMING = "CREATE TEMPORARY TABLE incoming (docid text, text text, words text, vector {type}({dimension}));\n"
_MERGE = """INSERT INTO {name} (docid, text, words, vector) SELECT docid, text, words, vector FROM incoming
  ON CONFLICT (docid) DO UPDATE SET text = excluded.text, words = excluded.words, vector = excluded.vector;
DROP TABLE incoming;
"""


class PgVector:
    """load.sql: psql --file load.sql, in this folder; it runs schema.sql, copies rows-*.copy and runs indexes.sql."""

    address = "postgresql://[USER@]HOST[:5432]/DATABASE; the password by PGPASSWORD or ~/.pgpass"
    multi_vectors = False

    def __init__(self, address: str, layout: Layout, folder: Path) -> None:
        import psycopg2

        self._layout, self._folder, self._error = layout, folder, psycopg2.Error
        try:
            self._connection = psycopg2.connect(address)
        except psycopg2.Error as error:
            raise DataError(f"PostgreSQL cannot be reached: {_first_line(error)}") from error

    @staticmethod
    def write(folder: Path, batches: Iterable[Batch], layout: Layout) -> None:
        """Write the schema, the rows in COPY's text format, a file for each batch, and the script that loads them."""
        script = ["\\set ON_ERROR_STOP on", "\\i schema.sql"]
        for number, batch in enumerate(batches):
            name = _ROWS.format(number)
            with (folder / name).open("w", encoding="utf-8", newline="\n") as file:
                file.writelines(_lines(batch))
            copied = [_sql(_INCOMING, layout), f"\\copy incoming FROM '{name}'", _sql(_MERGE, layout)]
            script += ["BEGIN;", *copied, "COMMIT;"]
        (folder / "schema.sql").write_text(_sql(_TABLE, layout), encoding="utf-8")
        (folder / "indexes.sql").write_text(_sql(_INDEXES, layout), encoding="utf-8")
        (folder / "load.sql").write_text("\n".join([*script, "\\i indexes.sql"]) + "\n", encoding="utf-8")

    def load(self) -> None:
        """What load.sql does: each file of rows is one transaction, in which a docid that is there is replaced."""
        self._run((self._folder / "schema.sql").read_text("utf-8"))
        for path in sorted(self._folder.glob("rows-*.copy")):
            try:
                with self._connection, self._connection.cursor() as cursor, path.open("rb") as rows:
                    cursor.execute(_sql(_INCOMING, self._layout))
                    cursor.copy_expert("COPY incoming FROM STDIN", rows)
                    cursor.execute(_sql(_MERGE, self._layout))
            except self._error as error:
                raise DataError(f"{path}: {_first_line(error)}. Put it right and run the same again.") from error
        self._run((self._folder / "indexes.sql").read_text("utf-8"))

    def search(self, vectors: list[np.ndarray], k: int, exact: bool) -> list[list[str]]:
        """Docids of the nearest, by a scan or by the HNSW index."""
        kind = _type(self._layout)
        query = f"SELECT docid FROM {self._layout.name} ORDER BY vector <#> %s::{kind} LIMIT %s"
        with self._connection, self._connection.cursor() as cursor:
            cursor.execute(f"SET LOCAL enable_{'indexscan' if exact else 'seqscan'} = off")
            found = []
            for vector in vectors:
                cursor.execute(query, (str(vector.tolist()), k))
                found.append([row[0] for row in cursor.fetchall()])
        return found

    def _run(self, statements: str) -> None:
        try:
            with self._connection, self._connection.cursor() as cursor:
                cursor.execute(statements)
        except self._error as error:
            raise DataError(f"PostgreSQL: {_first_line(error)}. pgvector is to be installed beside it.") from error


def _sql(template: str, layout: Layout) -> str:
    return template.format(name=layout.name, dimension=layout.dimension, type=_type(layout))


def _type(layout: Layout) -> str:
    return "vector" if layout.dimension <= _LONGEST_INDEXED else "halfvec"


def _lines(batch: Batch) -> Iterator[str]:
    """A batch in COPY's text format, a line a document."""
    words = term_splitter(_MODE)
    for docid, text, vector in batch.rows():
        cells = [docid, text, None if text is None else words(text)]
        yield "\t".join([*(_cell(docid, cell) for cell in cells), "[" + ",".join(map(repr, vector)) + "]"]) + "\n"


def _cell(docid: str, value: str | None) -> str:
    """A value in COPY's text format, always on one line."""
    if value is None:
        return "\\N"
    if "\0" in value:
        raise DataError(f"docid {docid!r}: PostgreSQL holds no character NUL. Take it out of the text.")
    return value.translate(_ESCAPES)


def _first_line(error: Exception) -> str:
    return str(error).strip().split("\n")[0] or type(error).__name__
