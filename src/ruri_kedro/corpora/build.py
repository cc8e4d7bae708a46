"""From sources to the tables passages and pairs. Both read the same drafts, so their ids agree."""

from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

from ruri_kedro.corpora.duplicates import DuplicateRules, families, find_duplicates
from ruri_kedro.corpora.kinds import KINDS, OPTIONAL_FIELDS, Draft, Text
from ruri_kedro.corpora.shapes import SHAPES
from ruri_kedro.corpora.source import Source
from ruri_kedro.errors import DataError
from ruri_kedro.tables.code import code_digest
from ruri_kedro.tables.raw import raw_files
from ruri_kedro.tables.store import Part, Table, blocks, file_digest, key_of
from ruri_kedro.text.hashing import digest_all, stable_id, unit_interval

TRAIN, VALIDATION = "train", "validation"

Left = Collection[str]  # docids of positives and passages that are left out


def duplicate_parts(sources: Mapping[str, Source], root: Path, settings: Mapping[str, Any]) -> dict[str, Part]:
    """The duplicates table, one part for all sources: which positives and passages of collections are left out.

    Anchors and given negatives are not compared: an edit or a contradiction is near its anchor on purpose.
    """
    rules = DuplicateRules.of(settings)
    family = families(sources)

    def rows() -> Iterator[dict]:
        return find_duplicates({name: _positives(source, root) for name, source in sources.items()}, family, rules)

    definitions = [_definition(source, root) for source in sources.values()] if rules.threshold is not None else []
    key = key_of(sources=definitions, family=family, settings=dict(settings), code=code_digest("text", "corpora"))
    return {"all": Part(key, lambda: blocks(rows()))}


def passage_parts(sources: Mapping[str, Source], root: Path, duplicates: Table | None = None) -> dict[str, Part]:
    """The passages table, a part per source: every text of its pairs, each once."""
    return {name: _part(source, root, "passages", _passage_rows, duplicates) for name, source in sources.items()}


def pair_parts(sources: Mapping[str, Source], root: Path, duplicates: Table | None = None) -> dict[str, Part]:
    """The pairs table, a part per source that has pairs.

    A pair whose positive is left out as a near duplicate is left out too. To give its anchor the text that was kept
    would make a pair nobody has judged: texts from one template differ in the very name or year that is asked for.
    """
    return {
        name: _part(source, root, "pairs", _pair_rows, duplicates)
        for name, source in sources.items()
        if source.kind != "collection"
    }


def _part(
    source: Source,
    root: Path,
    table: str,
    rows: Callable[[Source, Path, Left], Iterator[dict]],
    duplicates: Table | None,
) -> Part:
    left = _left_out(duplicates, source.name)
    key = key_of(
        table=table,
        source=_definition(source, root),
        left_out=digest_all(sorted(left)),
        code=code_digest("text", "corpora"),
    )
    return Part(key, lambda: blocks(rows(source, root, left)))


def _definition(source: Source, root: Path) -> dict[str, Any]:
    """What the rows of a source depend on: its parameters and its files."""
    settings = {name: value for name, value in vars(source).items() if name not in ("stages", "collection", "licence")}
    return settings | {"files": file_digests(source, root)}


def _left_out(duplicates: Table | None, source: str) -> frozenset[str]:
    rows = duplicates.iter_rows(columns=["docid", "source"]) if duplicates else ()
    return frozenset(row["docid"] for row in rows if row["source"] == source)


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


def _positives(source: Source, root: Path) -> Iterator[tuple[str, str]]:
    """(docid, full text) of the positives, or of the passages of a collection, as often as they come."""
    for _, draft in drafts(source, root):
        yield draft.positive.docid(source.name), draft.positive.full


def _kept(source: Source, root: Path, left: Left) -> Iterator[tuple[str, Draft]]:
    """The drafts whose positive is not left out."""
    for split, draft in drafts(source, root):
        if not left or draft.positive.docid(source.name) not in left:
            yield split, draft


def _passage_rows(source: Source, root: Path, left: Left) -> Iterator[dict]:
    seen: set[str] = set()
    for _, draft in _kept(source, root, left):
        for text in (draft.anchor, draft.positive, *draft.negatives):
            if text is not None and (docid := text.docid(source.name)) not in seen:
                seen.add(docid)
                yield _passage(docid, source.name, text)


def _passage(docid: str, source: str, text: Text) -> dict:
    return {"docid": docid, "source": source, "title": text.title, "section": text.section, "text": text.text}


def _pair_rows(source: Source, root: Path, left: Left) -> Iterator[dict]:
    """Pairs, each (anchor, positive) once; a pair of two equal texts teaches nothing and is left out."""
    seen: set[str] = set()
    count = 0
    for split, draft in _kept(source, root, left):
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
            f"source '{source.name}' ({source.path}): no pair can be made of its rows as kind {source.kind}; "
            f"{len(left)} positives are left out as near duplicates (parameter deduplication)."
        )
