"""Texts by docid: the one way from ids back to what a model reads."""

from collections.abc import Collection, Iterable, Iterator
from collections.abc import Set as AbstractSet
from pathlib import Path

import pyarrow as pa

from ruri_kedro.tables.ids import Ids, among
from ruri_kedro.tables.store import Table, read_shards
from ruri_kedro.text.prompts import passage_text

_COLUMNS = ["docid", "title", "section", "text"]


def passage_texts(
    passages: Table, docids: Collection[str] | None = None, parts: Iterable[str] | None = None
) -> dict[str, str]:
    """Full text (title, section, text) by docid, of the given docids or of all in the given parts."""
    if docids is None:
        return dict(iter_texts(passages, parts))
    wanted = docids if isinstance(docids, AbstractSet) else set(docids)
    names = passages.parts() if parts is None else parts
    return dict(_texts_of(batch for name in names for batch in passages.select(name, "docid", wanted, _COLUMNS)))


def passage_titles(passages: Table, docids: AbstractSet[str], parts: Iterable[str]) -> dict[str, str]:
    """Title by docid, of the given docids in the given parts; of a passage without one it is empty."""
    batches = (batch for name in parts for batch in passages.select(name, "docid", docids, ["docid", "title"]))
    return {docid: title for batch in batches for docid, title in zip(*map(pa.Array.to_pylist, batch), strict=True)}


def iter_texts(passages: Table, parts: Iterable[str] | None = None) -> Iterator[tuple[str, str]]:
    """(docid, full text) of the given parts, one batch in memory at a time."""
    return _texts_of(passages.batches(parts, _COLUMNS))


def texts_among(passages: Table, docids: Ids) -> Iterator[tuple[str, str]]:
    """(docid, full text) of the given docids, of which there may be very many; one batch in memory at a time."""
    for batch in passages.batches(columns=_COLUMNS):
        yield from _texts_of([batch.filter(pa.array(among(batch.column("docid").to_pylist(), docids)))])


def shard_texts(shard: Path) -> Iterator[tuple[str, str]]:
    """(docid, full text) of a file of passages, one batch in memory at a time."""
    return _texts_of(read_shards([shard], _COLUMNS))


def _texts_of(batches: Iterable[pa.RecordBatch]) -> Iterator[tuple[str, str]]:
    """(docid, full text) of record batches of passages."""
    for batch in batches:
        columns = [batch.column(name).to_pylist() for name in _COLUMNS]
        for docid, title, section, text in zip(*columns, strict=True):
            yield docid, passage_text(title, section, text)
