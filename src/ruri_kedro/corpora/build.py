"""From sources to the tables passages and pairs. Both read the same drafts, so their ids agree."""

import logging
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from itertools import islice, repeat
from pathlib import Path
from typing import Any

import pyarrow as pa

from ruri_kedro.corpora.duplicates import DuplicateRules, families, find_duplicates
from ruri_kedro.corpora.kinds import KINDS, Draft, Text
from ruri_kedro.corpora.reading import TRAIN, VALIDATION, Segment, Shard, file_digests, shard_drafts, shards_of
from ruri_kedro.corpora.removed import Removed
from ruri_kedro.corpora.source import Source
from ruri_kedro.engines.engine import Engine
from ruri_kedro.errors import DataError, RecipeError
from ruri_kedro.recipe.parse import parse
from ruri_kedro.tables import SCHEMAS, Part, ShardedPart, Table
from ruri_kedro.tables.code import behaviour_digest
from ruri_kedro.tables.seen import Seen
from ruri_kedro.tables.store import blocks, key_of, read_shards, to_table
from ruri_kedro.text.hashing import digest_all, stable_id

logger = logging.getLogger(__name__)

Left = Collection[str]  # docids of positives and passages that are left out


def duplicate_parts(sources: Mapping[str, Source], root: Path, settings: Mapping[str, Any]) -> dict[str, Part]:
    """The duplicates table, one part for all sources: which positives and passages of collections are left out.

    Anchors and given negatives are not compared: an edit or a contradiction is near its anchor on purpose.
    """
    rules = parse(DuplicateRules, settings, "deduplication")
    family = families(sources)

    definitions = [_definition(source, root) for source in sources.values()] if rules.threshold is not None else []
    decisive = {name: value for name, value in settings.items() if name not in ("memory_mb", "scratch")}
    key = key_of(sources=definitions, family=family, settings=decisive, code=behaviour_digest(duplicate_parts))

    def rows() -> Iterator[dict]:
        texts = {
            name: map(partial(_positives, source, root), shards_of(source, root)) for name, source in sources.items()
        }
        return find_duplicates(texts, family, rules, key)

    return {"all": Part(key, lambda: blocks(rows()))}


def passage_parts(
    sources: Mapping[str, Source], root: Path, duplicates: Table | None = None, engine: Engine = map
) -> dict[str, ShardedPart]:
    """The passages table, a part per source: every text of its pairs, each once."""
    return {name: _part(source, root, PASSAGES, duplicates, engine) for name, source in sources.items()}


def pair_parts(
    sources: Mapping[str, Source], root: Path, duplicates: Table | None = None, engine: Engine = map
) -> dict[str, ShardedPart]:
    """The pairs table, a part per source that has pairs.

    A pair whose positive is left out as a near duplicate is left out too. To give its anchor the text that was kept
    would make a pair nobody has judged: texts from one template differ in the very name or year that is asked for.
    """
    return {
        name: _part(source, root, PAIRS, duplicates, engine)
        for name, source in sources.items()
        if source.kind != "collection"
    }


def _part(source: Source, root: Path, made: "Made", duplicates: Table | None, engine: Engine) -> ShardedPart:
    left = _left_out(duplicates, source.name)
    key = key_of(
        table=made.table,
        source=_definition(source, root),
        left_out=digest_all(sorted(left)),
        trained_on=made.needed and bool(source.stages),  # then some pairs must be left for training
        code=behaviour_digest(_part, made.rows),
    )

    def shards(done: Sequence[Path]) -> Iterator[pa.Table]:
        seen, counts = Seen(), Counter()
        for batch in read_shards(done, [made.id, *(["split"] if made.needed else [])]):
            counts.update(_splits(made, [batch]))
            seen.add(batch.column(made.id).to_pylist())
        missing = islice(shards_of(source, root), len(done), None)
        for rows in engine(partial(_shard_table, source, root, left, made), missing):
            new = rows.filter(pa.array(seen.add(rows.column(made.id).to_pylist())))
            counts.update(_splits(made, new.to_batches()))
            yield new
        if made.needed or source.kind == "collection":
            _check_left(source, root, left, made, counts)

    return ShardedPart(key, shards)


def _check_held_out(source: Source, held: int, count: int) -> None:
    """Say which share of the pairs is held out. Raises RecipeError if there is none on a side that should have some."""
    place = f"sources.{source.name}.held_out={source.held_out:g}"
    said = f"{held:,} of {count:,} pairs ({held / count:.1%}) are held out for validation"
    if 0 < held < count:
        logger.info("%s: %s.", place, said)
    elif held == 0 and source.held_out * count < 1:
        logger.warning("%s: %s: the share asks for less than one pair.", place, said)
    else:
        raise RecipeError(
            f"{place}: {said}. Pairs of one title, or of one question or text where there is no title, stay together, "
            f"and of {source.inputs[0]} there are too few for this share. Give another share, name a file of "
            "validation rows in `validation`, or set held_out to 0."
        )


def _shard_table(source: Source, root: Path, left: Left, made: "Made", shard: Shard) -> pa.Table:
    """The rows of a table that a shard of a source gives, each once in the shard."""
    return to_table(made.rows(source, _kept(source, root, left, shard)), SCHEMAS[made.table])


def _splits(made: "Made", batches: Iterable[pa.RecordBatch]) -> Iterator[str]:
    """The split of each row; passages have none."""
    for batch in batches:
        yield from batch.column("split").to_pylist() if made.needed else repeat(TRAIN, batch.num_rows)


def _check_left(source: Source, root: Path, left: Left, made: "Made", counts: Counter[str]) -> None:
    """Raise DataError, which says what each rule has removed, where nothing is left of a source to train on."""
    at = f"source '{source.name}' ({source.inputs[0]})"
    if not counts.total():
        removed, what = Removed(), "pair" if made.needed else "passage"
        shard = [Segment(place) for place in source.inputs]
        for _ in made.rows(source, _kept(source, root, left, shard, removed), removed):
            pass
        raise DataError(f"{at}: no {what} can be made of its rows as kind {source.kind}. {removed}.")
    if made.needed and source.held_out:
        _check_held_out(source, counts[VALIDATION], counts.total())
    elif source.stages and not counts[TRAIN]:
        raise DataError(
            f"{at}: no pair is left to train on ({', '.join(source.stages)}): all {counts.total():,} are for "
            f"validation (sources.{source.name}.validation: {source.validation}). Correct `path`, or drop its stages."
        )


def _definition(source: Source, root: Path) -> dict[str, Any]:
    """What the rows of a source depend on: its parameters and its files."""
    without = ("stages", "collection", "licence", "prompts")
    settings = {name: value for name, value in asdict(source).items() if name not in without}
    return settings | {"files": file_digests(source, root)}


def _left_out(duplicates: Table | None, source: str) -> frozenset[str]:
    rows = duplicates.iter_rows(columns=["docid", "source"]) if duplicates else ()
    return frozenset(row["docid"] for row in rows if row["source"] == source)


def _positives(source: Source, root: Path, shard: Shard) -> Iterator[tuple[str, str]]:
    """(docid, full text) of a shard's positives, or of its passages of a collection, as often as they come."""
    for _, draft in shard_drafts(source, root, shard):
        if draft.positive:
            yield draft.positive.docid(source.name), draft.positive.full


def _kept(
    source: Source, root: Path, left: Left, shard: Shard, removed: Removed | None = None
) -> Iterator[tuple[str, Draft]]:
    """The drafts of a shard whose positive is not left out."""
    removed = removed or Removed()
    for split, draft in shard_drafts(source, root, shard, removed):
        if not left or draft.positive is None or draft.positive.docid(source.name) not in left:
            yield split, draft
        else:
            removed.add("deduplication (a near duplicate of an earlier text)")


def _passage_rows(source: Source, kept: Iterable[tuple[str, Draft]], removed: Removed | None = None) -> Iterator[dict]:
    seen: set[str] = set()
    for _, draft in kept:
        for text in (draft.anchor, draft.positive, *draft.negatives):
            if text is not None and (docid := text.docid(source.name)) not in seen:
                seen.add(docid)
                yield _passage(docid, source.name, text)


def _passage(docid: str, source: str, text: Text) -> dict:
    return {"docid": docid, "source": source, "title": text.title, "section": text.section, "text": text.text}


def _pair_rows(source: Source, kept: Iterable[tuple[str, Draft]], removed: Removed | None = None) -> Iterator[dict]:
    """Pairs, each (anchor, positive) once; a pair of two equal texts teaches nothing and is left out."""
    seen: set[str] = set()
    removed = removed or Removed()
    for split, draft in kept:
        # No positive yet: mining looks for one by the answers.
        anchor, positive = draft.anchor.docid(source.name), draft.positive.docid(source.name) if draft.positive else ""
        pair_id = stable_id(source.name, anchor, positive)
        is_twin = draft.positive is not None and draft.anchor.full == draft.positive.full
        if is_twin and not KINDS[source.kind].twins:
            removed.add("an anchor that equals its positive")
            continue
        if pair_id in seen:
            continue
        seen.add(pair_id)
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
            "label": draft.label,
        }


@dataclass(frozen=True)
class Made:
    """How the drafts of a shard become rows of a table, the column of their ids, and whether a source must have one."""

    table: str
    id: str
    rows: Callable[..., Iterator[dict]]  # of a source and its drafts; counts what it leaves out
    needed: bool


PASSAGES = Made("passages", "docid", _passage_rows, needed=False)
PAIRS = Made("pairs", "pair_id", _pair_rows, needed=True)
