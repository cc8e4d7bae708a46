"""From a row of the corpus to the stages that used it, and to the registered versions that were trained on it."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from ruri_kedro.errors import DataError, RegistryError
from ruri_kedro.tables import Table
from ruri_kedro.text.layout import aligned

_SPLITS = ("train", "validation")
# Columns that may hold the id, and what the row is to it.
_ROLES = {"example_id": "example", "pair_id": "pair", "query_id": "query", "anchor": "anchor", "positive": "positive",
          "given_negatives": "negative", "negatives": "negative"}  # fmt: skip


@dataclass(frozen=True)
class Use:
    """How often a part of a table uses a row, in one role."""

    table: str
    source: str  # the part
    role: str
    train: int
    validation: int


@dataclass(frozen=True)
class Trace:
    """Where an id stands."""

    ident: str
    passage: Mapping[str, str] | None  # its row of `passages`, if it is a docid
    uses: Sequence[Use]


@dataclass(frozen=True)
class Users:
    """Registered versions by what can be said of them."""

    stages: Mapping[str, Sequence[str]]  # version: the stages in which it was trained on the row
    unknown: Sequence[str]  # versions made of other tables than those that were looked at


def trace(ident: str, passages: Table, tables: Mapping[str, Table]) -> Trace:
    """Every use of an id in pairs and examples; `ident` is a docid, pair_id, query_id, example_id or a source.

    Reads each table once, a batch in memory at a time. Raises DataError where the id is nowhere.
    """
    uses = [
        use for name, table in tables.items() for source in table.parts() for use in _uses(name, table, source, ident)
    ]
    passage = _passage(ident, passages)
    if not uses and passage is None and ident not in passages.parts():
        raise DataError(
            f"'{ident}' is not a docid, pair_id, query_id, example_id or source in the tables of this recipe "
            f"({passages.root.parent}). Another recipe: --env."
        )
    return Trace(ident, passage, uses)


def users(found: Trace, tables: Mapping[str, Table], names: Sequence[str]) -> Users:
    """The versions of the registered models `names` that were trained on the row, by the digests of their tables.

    `tables` are the examples by stage that the trace was made of. A version knows the digest of every part that it
    was trained on: where it is that of the part here, the row was in it.
    """
    from ruri_kedro.registry.versions.registered import numbers

    used = {(use.table, use.source) for use in found.uses if use.train and use.table in tables}
    here = {(stage, source): tables[stage].manifest(source)["digest"] for stage, source in used}
    trained: dict[str, list[str]] = {}
    unknown = []
    for name in names:
        for number in numbers(name):
            recorded = _recorded_tables(name, number)
            same = {stage for (stage, source), digest in here.items() if _part(recorded, stage, source) == digest}
            if same:
                trained[f"{name} version {number}"] = [stage for stage in recorded if stage in same]
            elif any(_part(recorded, *place) not in (None, digest) for place, digest in here.items()) or not recorded:
                unknown.append(f"{name} version {number}")
    return Users(trained, unknown)


def trace_text(found: Trace, who: Users) -> str:
    """A trace for a terminal."""
    lines = list(_head(found))
    if found.uses:
        header = ("table", "source", "as", *_SPLITS)
        rows = [(use.table, use.source, use.role, f"{use.train:,}", f"{use.validation:,}") for use in found.uses]
        lines += ["", aligned([header, *rows], left=3).rstrip("\n")]
    lines.append("")
    lines += [f"{version} was trained on it: {', '.join(stages)}" for version, stages in who.stages.items()]
    if not who.stages:
        lines.append("No registered version is known to be trained on it.")
    if who.unknown:
        lines.append(f"Unknown, since they were trained on other tables than these: {', '.join(who.unknown)}")
    return "\n".join(lines) + "\n"


def _recorded_tables(name: str, number: int) -> Mapping:
    """The tables of examples that a version was trained on; none where its files are not there."""
    from ruri_kedro.registry.versions.registered import logged_evidence

    try:
        return ((logged_evidence(name, number).training) or {}).get("tables", {})
    except RegistryError:
        return {}


def _part(recorded: Mapping, stage: str, source: str) -> str | None:
    return recorded.get(stage, {}).get("parts", {}).get(source)


def _head(found: Trace) -> Iterator[str]:
    if found.passage is None:
        yield found.ident
        return
    row = found.passage
    place = " / ".join(text for text in (row["title"], row["section"]) if text)
    yield f"{found.ident}: a text of the source '{row['source']}'" + (f", {place}" if place else "")
    yield f"  {row['text'][:200]}{'…' if len(row['text']) > 200 else ''}"


def _passage(ident: str, passages: Table) -> dict[str, str] | None:
    for batch in passages.batches():
        rows = batch.filter(pc.equal(batch.column("docid"), ident))
        if rows.num_rows:
            return rows.to_pylist()[0]
    return None


def _uses(name: str, table: Table, source: str, ident: str) -> Iterator[Use]:
    """A use for each role of the id in a part, as the part itself if `ident` is its name."""
    columns = [column for column in _ROLES if column in table.schema.names]
    counts: Counter[tuple[str, str]] = Counter()
    for batch in table.batches([source], [*columns, "split"]):
        found = [(_ROLES[column], _holds(batch.column(column), ident)) for column in columns]
        if source == ident:
            found.append(("source", pa.array([True] * batch.num_rows)))
        for role, rows in found:
            for split in _SPLITS:
                matching = pc.and_(rows, pc.equal(batch.column("split"), split))
                counts[role, split] += pc.sum(matching).as_py() or 0
    for role in dict.fromkeys(role for role, _ in counts):
        train, validation = (counts[role, split] for split in _SPLITS)
        if train or validation:
            yield Use(name, source, role, train, validation)


def _holds(column: pa.Array, ident: str) -> pa.Array:
    """By row whether the column is, or its list holds, the id."""
    if not pa.types.is_list(column.type):
        return pc.equal(column, ident)
    owners = pc.filter(pc.list_parent_indices(column), pc.equal(pc.list_flatten(column), ident))
    return pc.is_in(pa.array(range(len(column)), type=owners.type), value_set=pc.unique(owners))
