"""From sources to the tables passages and pairs. Both read the same drafts, so their ids agree."""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from ruri_kedro.corpora.kinds import KINDS, OPTIONAL_FIELDS, Draft, Text
from ruri_kedro.corpora.shapes import SHAPES
from ruri_kedro.corpora.source import Source
from ruri_kedro.errors import DataError
from ruri_kedro.tables.code import code_digest
from ruri_kedro.tables.raw import raw_files
from ruri_kedro.tables.store import Part, blocks, file_digest, key_of
from ruri_kedro.text.hashing import stable_id, unit_interval

TRAIN, VALIDATION = "train", "validation"


def passage_parts(sources: Mapping[str, Source], root: Path) -> dict[str, Part]:
    """The passages table, a part per source: every text of its pairs, each once."""
    return {name: _part(source, root, "passages", _passage_rows) for name, source in sources.items()}


def pair_parts(sources: Mapping[str, Source], root: Path) -> dict[str, Part]:
    """The pairs table, a part per source that has pairs."""
    return {
        name: _part(source, root, "pairs", _pair_rows)
        for name, source in sources.items()
        if source.kind != "collection"
    }


def _part(source: Source, root: Path, table: str, rows: Callable[[Source, Path], Iterator[dict]]) -> Part:
    definition = {
        name: value for name, value in vars(source).items() if name not in ("stages", "collection", "licence")
    }
    key = key_of(table=table, source=definition, files=file_digests(source, root), code=code_digest("text", "corpora"))
    return Part(key, lambda: blocks(rows(source, root)))


def _paths(source: Source) -> list[str]:
    return [source.path, source.validation] if source.validation else [source.path]


def file_digests(source: Source, root: Path) -> list[str]:
    """Digest of every file that a source is read from."""
    return [file_digest(file) for path in _paths(source) for file in raw_files(source.folder(root), path)]


def drafts(source: Source, root: Path) -> Iterator[tuple[str, Draft]]:
    """(split, draft) of every pair and passage of a source."""
    for path in _paths(source):
        for draft in KINDS[source.kind].drafts(_rows(source, source.folder(root), path), source.labels):
            is_held_out = path == source.validation or (
                source.held_out > 0 and unit_interval("held out", draft.group) < source.held_out
            )
            yield (VALIDATION if is_held_out else TRAIN), draft


def _rows(source: Source, root: Path, path: str) -> Iterator[dict]:
    """Rows under the names the kind uses, those that `where` selects."""
    kind = KINDS[source.kind]
    wanted = {name: source.fields.get(name, name) for name in kind.fields}
    checked = {
        wanted[name]: type_
        for name, type_ in kind.fields.items()
        if name in source.fields or name not in OPTIONAL_FIELDS
    }
    checked |= {name: type(value) for name, value in source.where.items()}
    for row in SHAPES[source.shape](root, path, checked):
        if all(row[name] == value for name, value in source.where.items()):
            yield {name: row.get(field, "") for name, field in wanted.items()}


def _passage_rows(source: Source, root: Path) -> Iterator[dict]:
    seen: set[str] = set()
    for _, draft in drafts(source, root):
        for text in (draft.anchor, draft.positive, *draft.negatives):
            if text is not None and (docid := text.docid(source.name)) not in seen:
                seen.add(docid)
                yield _passage(docid, source.name, text)


def _passage(docid: str, source: str, text: Text) -> dict:
    return {"docid": docid, "source": source, "title": text.title, "section": text.section, "text": text.text}


def _pair_rows(source: Source, root: Path) -> Iterator[dict]:
    """Pairs, each (anchor, positive) once; a pair of two equal texts teaches nothing and is left out."""
    seen: set[str] = set()
    count = 0
    for split, draft in drafts(source, root):
        anchor, positive = draft.anchor.docid(source.name), draft.positive.docid(source.name)
        pair_id = stable_id(source.name, anchor, positive)
        if pair_id in seen or draft.anchor.full == draft.positive.full:
            continue
        seen.add(pair_id)
        count += 1
        yield {
            "pair_id": pair_id,
            "query_id": stable_id(draft.anchor.full),
            "source": source.name,
            "split": split,
            "anchor": anchor,
            "positive": positive,
            "given_negatives": [text.docid(source.name) for text in draft.negatives],
            "answers": list(draft.answers),
            "origin": source.origin,
        }
    if not count:
        raise DataError(
            f"source '{source.name}' ({source.path}): no pair can be made of its rows as kind {source.kind}."
        )
