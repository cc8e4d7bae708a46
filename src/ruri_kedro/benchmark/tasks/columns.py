"""Tasks as Parquet tables, and back: columns of a task, texts by id, judgments."""

from collections.abc import Iterable, Mapping
from typing import Any

import pyarrow as pa

from ruri_kedro.benchmark.runs import Qrels


def columns_table(task: Any, *names: str) -> pa.Table:
    """The fields of a task, each a column."""
    return pa.table({name: list(getattr(task, name)) for name in names})


def columns_of(tables: Mapping[str, pa.Table]) -> dict[str, tuple]:
    """The columns of all tables by name: the fields of a task. Lists become tuples."""
    columns = {name: table[name].to_pylist() for table in tables.values() for name in table.column_names}
    return {name: tuple(map(_frozen, values)) for name, values in columns.items()}


def rows_table(names: tuple[str, ...], rows: Iterable[tuple]) -> pa.Table:
    """Rows as a table with columns of these names."""
    columns = list(zip(*rows, strict=True)) or [()] * len(names)
    return pa.table(dict(zip(names, map(list, columns), strict=True)))


def texts_by_id(table: pa.Table) -> dict[str, str]:
    """id -> text."""
    return dict(zip(table["id"].to_pylist(), table["text"].to_pylist(), strict=True))


def judgments(table: pa.Table) -> Qrels:
    """qid -> docid -> relevance."""
    qrels: Qrels = {}
    for row in table.to_pylist():
        qrels.setdefault(row["qid"], {})[row["docid"]] = row["relevance"]
    return qrels


def _frozen(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value
