"""A table of Parquet parts as a Kedro data set."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from kedro.io.core import AbstractDataset, DatasetError
from kedro_datasets._typing import TablePreview

from ruri_kedro.datasets.marker import mark, marked_parts, unmark
from ruri_kedro.errors import DataError
from ruri_kedro.tables import SCHEMAS, AnyPart, Table
from ruri_kedro.tables.files import sole_writer
from ruri_kedro.tables.store import write_parts


class TableDataset(AbstractDataset[Mapping[str, AnyPart | None], Table]):
    """A folder with one part per source, all of one schema.

    Takes the parts by name and writes those that are not there yet; gives a lazy handle, no rows.

    >>> TableDataset(filepath="data/03_primary/sample/pairs", schema="pairs")
    """

    def __init__(self, *, filepath: str, schema: str, metadata: dict[str, Any] | None = None) -> None:
        """`schema` is a name in `ruri_kedro.tables.SCHEMAS`; raises DatasetError for any other."""
        if schema not in SCHEMAS:
            raise DatasetError(f"There is no schema '{schema}'. There are: {', '.join(SCHEMAS)}.")
        self._filepath = Path(filepath)
        self._schema = schema
        self.metadata = metadata

    @property
    def table(self) -> Table:
        """The handle, whether or not anything is on disk."""
        return Table(self._filepath, SCHEMAS[self._schema])

    def load(self) -> Table:
        """A handle on the table; raises DatasetError unless all of its parts were written to the end."""
        if not self._exists():
            raise DataError(f"{self._filepath}: no complete table here. Run the pipeline that makes it.")
        return self.table

    def save(self, data: Mapping[str, AnyPart | None]) -> None:
        """Write the parts that are missing or out of date, remove those that `data` does not name, leave the Nones."""
        self._filepath.mkdir(parents=True, exist_ok=True)
        with sole_writer(self._filepath):
            unmark(self._filepath)
            table = write_parts(self._filepath, SCHEMAS[self._schema], data)
            mark(self._filepath, table.parts())

    def fingerprint(self) -> tuple[str, int]:
        """Digest and number of the rows, for the record of a run."""
        return self.table.digest(), self.table.rows()

    def stats(self) -> dict[str, int]:
        """Rows, columns and bytes, as Kedro-Viz shows them."""
        shards = (shard for part in self.table.parts() for shard in self.table.shards(part))
        size = sum(shard.stat().st_size for shard in shards)
        return {"rows": self.table.rows(), "columns": len(self.table.schema), "file_size": size}

    def preview(self, nrows: int = 20) -> TablePreview:
        """The first rows, as Kedro-Viz shows them."""
        columns = SCHEMAS[self._schema].names
        first = next(self.table.batches(size=nrows), None) if self._exists() else None
        rows = [] if first is None else first.to_pylist()
        data = [[_short(row[column]) for column in columns] for row in rows]
        return TablePreview({"index": list(range(len(data))), "columns": columns, "data": data})

    def _exists(self) -> bool:
        return marked_parts(self._filepath) is not None

    def _describe(self) -> dict[str, Any]:
        return {"filepath": self._filepath.as_posix(), "schema": self._schema}


def _short(value: Any, limit: int = 200) -> Any:
    """Lists and long texts cut to what a table cell can show."""
    text = ", ".join(map(str, value)) if isinstance(value, list) else value
    return f"{text[:limit]}…" if isinstance(text, str) and len(text) > limit else text
