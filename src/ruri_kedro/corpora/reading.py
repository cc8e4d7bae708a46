"""The rows of a source in shards, each of which becomes drafts by itself."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from ruri_kedro.corpora.chunks import cut_to_answer
from ruri_kedro.corpora.kinds import KINDS, Draft
from ruri_kedro.corpora.removed import Removed
from ruri_kedro.corpora.rows import Fields, read_source, source_files
from ruri_kedro.corpora.source import Input, Source
from ruri_kedro.tables.store import file_digest
from ruri_kedro.text.filters import refusal
from ruri_kedro.text.hashing import unit_interval

TRAIN, VALIDATION = "train", "validation"
SHARD_CHARS = 16_000_000  # of the texts of rows


@dataclass(frozen=True)
class Segment:
    """Some rows of an input under the names of the source's kind; no rows: all of them, which are still to be read."""

    place: Input
    rows: list[Fields] | None = None


Shard = list[Segment]


def shards_of(source: Source, root: Path) -> Iterator[Shard]:
    """The rows of a source in order, cut at about SHARD_CHARS characters.

    The rows are cut as `read_source` gives them, selected and put together. A source whose rows can only be understood
    together (the hypotheses of a premise) is one shard, which its drafts read themselves.
    """
    if not KINDS[source.kind].by_row:
        yield [Segment(place) for place in source.inputs]
        return
    shard: Shard = []
    held = 0
    for place in source.inputs:
        rows: list[Fields] = []
        shard.append(Segment(place, rows))
        for row in _first_rows(source, root, place):
            if held >= SHARD_CHARS:
                yield shard
                rows = []
                shard, held = [Segment(place, rows)], 0
            rows.append(row)
            held += sum(map(_chars, row.values()))
    yield shard


def drafts(source: Source, root: Path) -> Iterator[tuple[str, Draft]]:
    """(split, draft) of every pair and passage of a source that its filter keeps; a pair has an anchor with a text."""
    return shard_drafts(source, root, [Segment(place) for place in source.inputs])


def shard_drafts(
    source: Source, root: Path, shard: Shard, removed: Removed | None = None
) -> Iterator[tuple[str, Draft]]:
    """`drafts` of a shard of a source; what its rules remove is counted in `removed`."""
    removed = removed or Removed()
    for segment in shard:
        rows = _first_rows(source, root, segment.place, removed) if segment.rows is None else segment.rows
        for draft, rule in _judged_drafts(source, map(removed.read, rows)):
            if rule is not None:
                removed.add(rule)
                continue
            is_held_out = segment.place.is_validation or (
                source.held_out > 0 and unit_interval("held out", draft.group) < source.held_out
            )
            yield (VALIDATION if is_held_out else TRAIN), draft


def _first_rows(source: Source, root: Path, place: Input, removed: Removed | None = None) -> Iterator[Fields]:
    """The rows of an input, of training at most `max_rows`: the first of which the filter keeps something."""
    rows = read_source(source, root, place, removed)
    if source.max_rows is None or place.is_validation:
        return rows
    return islice((row for row in rows if _gives_a_draft(source, row, removed)), source.max_rows)


def _gives_a_draft(source: Source, row: Fields, removed: Removed | None) -> bool:
    """Whether a row counts; rows that are only understood together all do."""
    if not KINDS[source.kind].by_row:
        return True
    rules = [rule for _, rule in _judged_drafts(source, [row])]
    if removed is not None and rules and all(rules):
        removed.add(rules[0])
    return not all(rules)


def _judged_drafts(source: Source, rows: Iterable[Fields]) -> Iterator[tuple[Draft, str | None]]:
    """The drafts of rows, long passages cut, each with the rule by which it is left out, if it is."""
    for draft in KINDS[source.kind].drafts(rows, source.labels):
        cut = draft if source.chunk_chars is None else cut_to_answer(draft, source.chunk_chars)
        yield (draft, "chunk_chars") if cut is None else (cut, _refusal(source, cut))


def _refusal(source: Source, draft: Draft) -> str | None:
    """The rule by which a draft is left out, if it is."""
    judged = draft.positive or draft.anchor
    if source.filter and (rule := refusal(judged.text, source.filter)):
        return f"filter.{rule}"
    return "an empty anchor" if draft.anchor and not draft.anchor.full else None


def file_digests(source: Source, root: Path) -> list[str]:
    """Digest of every local file that a source is read from."""
    return [file_digest(file) for file in source_files(source, root)]


def _chars(value: Any) -> int:
    """Characters of a text or of a list of texts; a number counts as one."""
    if isinstance(value, str):
        return len(value)
    return sum(map(len, value)) if isinstance(value, list) else 1
