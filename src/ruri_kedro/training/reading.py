"""The training rows of a stage, from the tables to a training set on disk, some of them in memory at a time."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow.compute as pc
from tqdm import tqdm

from ruri_kedro.errors import RecipeError, TrainingError
from ruri_kedro.models.token_cache import TokenCache
from ruri_kedro.recipe.objectives import Group, group_name
from ruri_kedro.tables import Table
from ruri_kedro.tables.code import behaviour_digest
from ruri_kedro.tables.lookup import passage_texts, passage_titles
from ruri_kedro.tables.store import blocks, key_of
from ruri_kedro.training.data import NEGATIVES, TrainingSet, assemble, group_counts, identities
from ruri_kedro.training.held_out import held_out_rows
from ruri_kedro.training.planning import example_faults, refuse_untrained
from ruri_kedro.training.stored import Shape, stored_set
from ruri_kedro.training.teacher import scores_digest

BLOCK_ROWS = 2**17  # examples whose texts are in memory at a time: 1 GB with two passages of 400 characters each

Scores = Mapping[tuple[str, str], float]  # of a teacher, by (query_id, docid)


@dataclass(frozen=True)
class Reading:
    """How the texts of a stage are read."""

    objectives: tuple[str, ...]  # that can be trained
    prompts: tuple[str, str] = ("", "")  # before anchors and before passages
    own_prompts: Mapping[str, tuple[str, str]] = field(default_factory=dict)  # of sources that have their own
    lengths: tuple[int, int] | None = (
        None  # tokens of an anchor, of the rest; None where pairs are joined and cut later
    )
    special: bool = False  # with special tokens
    shuffled: bool = False  # every positive with its sentences in another order, not only those of marked rows


def read_examples(
    examples: Table,
    passages: Table,
    stage: str,
    reading: Reading,
    cache: TokenCache,
    folder: Path,
    teacher: Scores | None,
) -> TrainingSet:
    """The training rows of `examples` as arrays in `folder`; what is there of the same data is not made again.

    Raises TrainingError if there are no training rows and RecipeError for a source that cannot be trained here.
    """
    counts = trainable(examples, stage, reading.objectives)
    width = _width(examples)
    key = key_of(
        examples=examples.digest(), passages=passages.digest(), tokenizer=cache.digest, reading=asdict(reading),
        teacher=None if teacher is None else scores_digest(teacher), code=behaviour_digest(read_examples),
    )  # fmt: skip
    to_tokens = partial(cache.rows, max_length=None, special=reading.special)

    def made() -> Iterator[TrainingSet]:
        total = sum(counts.values())
        with tqdm(
            total=total, desc=f"{stage} examples", unit="row", disable=True if total <= BLOCK_ROWS else None
        ) as bar:
            for rows in blocks(_training_rows(examples, reading.shuffled), BLOCK_ROWS):
                yield _assembled(rows, passages, reading, to_tokens, teacher)
                bar.update(len(rows))

    return stored_set(folder, key, Shape(sorted(counts), width), cache, made)


@dataclass(frozen=True)
class PlanRows:
    """The part of a TrainingSet that a plan is made of, in memory."""

    identities: np.ndarray
    groups: np.ndarray
    group_names: list[str]
    objectives: list[str]


def read_for_plan(examples: Table, passages: Table) -> PlanRows:
    """What a plan is made of, without tokens; the rows are in the order in which a training reads them."""
    groups = sorted(group_counts(examples))
    width, number = _width(examples), {group: place for place, group in enumerate(groups)}
    same, of_row = [np.empty((0, width), np.int64)], [np.empty(0, np.int64)]
    for rows in blocks(_training_rows(examples, shuffled=False), BLOCK_ROWS):
        found = identities(rows, _texts_of(rows, passages))
        same.append(np.pad(found, ((0, 0), (0, width - found.shape[1])), constant_values=-1))
        of_row.append(np.array([number[row["source"], row["objective"]] for row in rows], np.int64))
    return PlanRows(
        identities=np.concatenate(same),
        groups=np.concatenate(of_row),
        group_names=[group_name(group) for group in groups],
        objectives=[objective for _, objective in groups],
    )


def read_topics(examples: Table, passages: Table, by: Mapping[str, str | None]) -> np.ndarray | None:
    """The topics of the training rows, int64 (rows,), in the order in which a training reads them; None without topics.

    by: `title` for a source of which rows whose positives have the same title are of one topic; every other row is of
    its own.
    """
    if not any(by.values()):
        return None
    numbers: dict[tuple[str, str, str], int] = {}
    topics: list[int] = []
    for rows in blocks(_training_rows(examples, shuffled=False), BLOCK_ROWS):
        titles = _looked_up(passage_titles, rows, {row["positive"] for row in rows}, passages)
        for row in rows:
            title = titles[row["positive"]] if by.get(row["source"]) else ""
            topic = row["source"], title, "" if title else row["example_id"]
            topics.append(numbers.setdefault(topic, len(numbers)))
    return np.array(topics, np.int64)


def read_held_out(
    examples: Table, passages: Table, reading: Reading, cache: TokenCache, count: int
) -> TrainingSet | None:
    """At most `count` held-out examples, in memory; None if there are none."""
    rows = held_out_rows(examples, count)
    if not rows:
        return None
    to_tokens = partial(cache.rows, max_length=None, special=reading.special)
    return _assembled(rows, passages, reading, to_tokens, None)


def _assembled(
    rows: list[dict], passages: Table, reading: Reading, to_tokens: Callable, teacher: Scores | None
) -> TrainingSet:
    texts = _texts_of(rows, passages)
    return assemble(rows, texts, reading.prompts, to_tokens, teacher, reading.lengths, reading.own_prompts)


def check_examples(examples: Table, stage: str, objectives: Sequence[str], allow_untrained: bool) -> None:
    """Raise for what the rows of `examples` tell before any text is read: wrong objectives, and sources that cannot
    teach anything, which a recipe may allow.
    """
    trainable(examples, stage, objectives)
    refuse_untrained(*example_faults(examples, stage), stage, allow_untrained)


def trainable(examples: Table, stage: str, allowed: Sequence[str]) -> dict[Group, int]:
    """Training rows by source and objective, all of them objectives that are allowed; raises as read_examples does."""
    counts = group_counts(examples)
    if not counts:
        raise TrainingError(f"{examples.root}: no training rows. Run negative_mining again and read its log.")
    for source, objective in sorted(counts):
        if objective not in allowed:
            raise RecipeError(
                f"sources.{source}.stages.{stage}.objective: '{objective}' cannot be trained here. Allowed: "
                f"{', '.join(allowed)}."
            )
    return counts


def _width(examples: Table) -> int:
    """Texts of the example that has most: anchor, positive and negatives."""
    batches = examples.batches(columns=["negatives"])
    return NEGATIVES + max(pc.max(pc.list_value_length(batch["negatives"])).as_py() or 0 for batch in batches)


def _training_rows(examples: Table, shuffled: bool) -> Iterator[dict]:
    for row in examples.iter_rows():
        if row["split"] == "train":
            yield {**row, "shuffled": True} if shuffled else row


def _texts_of(rows: list[dict], passages: Table) -> dict[str, str]:
    """Texts by docid of all that the rows name."""
    wanted = {docid for row in rows for docid in (row["anchor"], row["positive"], *row["negatives"])}
    return _looked_up(passage_texts, rows, wanted, passages)


def _looked_up(lookup: Callable, rows: list[dict], wanted: set[str], passages: Table) -> dict[str, str]:
    """What `lookup` says of the docids; those of the rows' own sources, which most are, are looked for first."""
    parts = passages.parts()
    own = sorted({row["source"] for row in rows}.intersection(parts))
    found = lookup(passages, wanted, own)
    if left := wanted - found.keys():
        found |= lookup(passages, left, [part for part in parts if part not in own])
    return found
