"""The rows of a source in shards, each of which becomes drafts by itself."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ruri_kedro.corpora.kinds import KINDS, OPTIONAL_FIELDS, Draft
from ruri_kedro.corpora.shapes import BY_FOLDER, BY_LINE
from ruri_kedro.corpora.source import Source
from ruri_kedro.tables.raw import filled_lines, raw_files
from ruri_kedro.tables.store import file_digest
from ruri_kedro.text.hashing import unit_interval

TRAIN, VALIDATION = "train", "validation"
SHARD_CHARS = 16_000_000  # of raw lines


@dataclass(frozen=True)
class Segment:
    """(number, line) of some lines of a file that the source's `path` names; no lines: of all its files."""

    path: str
    file: Path | None = None
    lines: list[tuple[int, str]] | None = None


Shard = list[Segment]


def raw_shards(source: Source, root: Path) -> Iterator[Shard]:
    """The raw lines of a source in order, cut at about SHARD_CHARS characters.

    A source whose rows can only be understood together (a folder of judged queries, the hypotheses of a premise) is
    one shard, which its drafts read themselves.
    """
    if source.shape in BY_FOLDER or not KINDS[source.kind].by_row:
        yield [Segment(path) for path in _paths(source)]
        return
    shard: Shard = []
    held = 0
    for path in _paths(source):
        for file in raw_files(source.folder(root), path):
            lines: list[tuple[int, str]] = []
            shard.append(Segment(path, file, lines))
            for number, line in filled_lines(file):
                if held >= SHARD_CHARS:
                    yield shard
                    lines = []
                    shard, held = [Segment(path, file, lines)], 0
                lines.append((number, line))
                held += len(line)
    yield shard


def drafts(source: Source, root: Path) -> Iterator[tuple[str, Draft]]:
    """(split, draft) of every pair and passage of a source."""
    for shard in raw_shards(source, root):
        yield from shard_drafts(source, root, shard)


def shard_drafts(source: Source, root: Path, shard: Shard) -> Iterator[tuple[str, Draft]]:
    """(split, draft) of every pair and passage of a shard of a source."""
    for segment in shard:
        for draft in KINDS[source.kind].drafts(_rows(source, root, segment), source.labels):
            is_held_out = segment.path == source.validation or (
                source.held_out > 0 and unit_interval("held out", draft.group) < source.held_out
            )
            yield (VALIDATION if is_held_out else TRAIN), draft


def file_digests(source: Source, root: Path) -> list[str]:
    """Digest of every file that a source is read from."""
    return [file_digest(file) for path in _paths(source) for file in raw_files(source.folder(root), path)]


def _paths(source: Source) -> list[str]:
    return [source.path, source.validation] if source.validation else [source.path]


def _rows(source: Source, root: Path, segment: Segment) -> Iterator[dict]:
    """Rows under the names the kind uses, those that `where` selects."""
    kind = KINDS[source.kind]
    wanted = {name: source.fields.get(name, name) for name in kind.fields}
    checked = {
        wanted[name]: type_
        for name, type_ in kind.fields.items()
        if name in source.fields or name not in OPTIONAL_FIELDS
    }
    checked |= {name: type(value) for name, value in source.where.items()}
    for row in _shaped(source, root, segment, checked):
        if all(row[name] == value for name, value in source.where.items()):
            yield {name: row.get(field, "") for name, field in wanted.items()}


def _shaped(source: Source, root: Path, segment: Segment, checked: dict) -> Iterator[dict]:
    folder = source.folder(root)
    if source.shape in BY_FOLDER:
        yield from BY_FOLDER[source.shape](folder, segment.path, checked)
    elif segment.lines is not None:
        yield from BY_LINE[source.shape](segment.file, segment.lines, checked)
    else:
        for file in raw_files(folder, segment.path):
            yield from BY_LINE[source.shape](file, filled_lines(file), checked)
