"""The tables: one pyarrow schema each, Parquet shards, written whole or not at all."""

from ruri_kedro.tables.schema import SCHEMAS
from ruri_kedro.tables.store import AnyPart, Part, ShardedPart, Table, write_table

__all__ = ["SCHEMAS", "AnyPart", "Part", "ShardedPart", "Table", "write_table"]
