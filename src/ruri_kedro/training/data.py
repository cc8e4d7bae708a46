"""Examples as arrays: every text is tokenised once, a row of the training set is a row of integers."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ruri_kedro.errors import DataError
from ruri_kedro.models.tokens import TokenRows
from ruri_kedro.recipe.objectives import LABELLED, TAUGHT, Group, group_name
from ruri_kedro.tables import Table
from ruri_kedro.text.hashing import stable_id
from ruri_kedro.text.sentences import shuffle_sentences

ANCHOR, POSITIVE, NEGATIVES = 0, 1, 2


@dataclass(frozen=True)
class TrainingSet:
    """The examples of one stage. rows: examples, c: 2 + the most negatives a row has."""

    tokens: TokenRows
    texts: np.ndarray  # int64 (rows, c), row of `tokens` of anchor, positive, negatives; -1 for none
    identities: np.ndarray  # int (rows, c), the same number for the same text whatever its prompt; -1 for none
    groups: np.ndarray  # int64 (rows,), index into group_names
    group_names: list[str]  # rows of one source and one objective; task-homogeneous batches hold one group
    objectives: list[str]  # by group
    example_ids: Sequence[str]
    teacher: np.ndarray | None  # float32 (rows, c - 1), scores of positive and negatives; NaN for none
    labels: np.ndarray  # float32 (rows,), of the pair of anchor and positive; NaN for none

    def __len__(self) -> int:
        return len(self.texts)


def assemble(
    examples: Sequence[Mapping],
    texts: Mapping[str, str],
    prompts: tuple[str, str],
    tokenize: Callable[[list[str]], TokenRows],
    teacher: Mapping[tuple[str, str], float] | None = None,
    lengths: tuple[int, int] | None = None,
    own_prompts: Mapping[str, tuple[str, str]] | None = None,
) -> TrainingSet:
    """Arrays of the examples (rows of the examples table).

    texts: text by docid; prompts: put before anchors and before passages; tokenize: texts to token rows; teacher:
    score by (query_id, docid); lengths: tokens to which anchors and passages are cut; own_prompts: of sources that have
    their own. The positive of a row with `shuffled` is read with its sentences in another order. Anchors have token
    rows of their own, so that an anchor and a passage of the same text are encoded each for itself: dropout tells them
    apart (SimCSE, arXiv 2104.08821).
    Raises DataError for a docid without text, and for a pair without a teacher's score or a label that its objective
    needs.
    """
    strings = _Numbers()
    same = identities(examples, texts)
    rows = np.full(same.shape, -1, dtype=np.int64)
    for number, row in enumerate(examples):
        before = (own_prompts or {}).get(row["source"], prompts)
        for column, docid in enumerate(_docids(row)):
            text = texts[docid]
            if column == POSITIVE and row["shuffled"]:
                text = shuffle_sentences(text, row["example_id"])
            rows[number, column] = strings.of((column > ANCHOR, before[column > ANCHOR] + text))
    names, groups, objectives = _groups(examples)
    sides, read = zip(*strings.values(), strict=True) if examples else ((), ())
    tokens = tokenize(list(read))
    if lengths is not None:
        limits = np.array(lengths)[np.array(sides, np.int64)]
        tokens = replace(tokens, lengths=np.minimum(tokens.lengths, limits))
    return TrainingSet(
        tokens=tokens,
        texts=rows,
        identities=same,
        groups=groups,
        group_names=names,
        objectives=objectives,
        example_ids=[row["example_id"] for row in examples],
        teacher=None if teacher is None else _teacher_scores(examples, teacher, same.shape[1] - 1),
        labels=_labels(examples),
    )


def identities(examples: Sequence[Mapping], texts: Mapping[str, str]) -> np.ndarray:
    """The same number for the same text, (rows, c) of int64: anchor, positive, negatives; -1 for none.

    Raises DataError for a docid without text.
    """
    width = NEGATIVES + max((len(row["negatives"]) for row in examples), default=0)
    same = np.full((len(examples), width), -1, dtype=np.int64)
    for number, row in enumerate(examples):
        for column, docid in enumerate(_docids(row)):
            if docid not in texts:
                raise DataError(
                    f"example {row['example_id']} of source '{row['source']}' names passage {docid}, which is not in "
                    "the passages table. Run data_engineering and negative_mining again."
                )
            same[number, column] = identity(texts[docid])
    return same


def _docids(row: Mapping) -> list[str]:
    return [row["anchor"], row["positive"], *row["negatives"]]


def identity(text: str) -> int:
    """A number of 63 bits that no other text has: of 10^9 texts two would share one with a chance of 5%."""
    return int(stable_id(text)[:16], 16) >> 1


class _Numbers:
    """Numbers given to texts of a side (True: passages) in order of their first appearance."""

    def __init__(self) -> None:
        self._numbers: dict[tuple[bool, str], int] = {}

    def of(self, text: tuple[bool, str]) -> int:
        return self._numbers.setdefault(text, len(self._numbers))

    def values(self) -> list[tuple[bool, str]]:
        return list(self._numbers)


def group_counts(examples: Table) -> dict[Group, int]:
    """Training rows by source and objective."""
    counts: Counter[Group] = Counter()
    for batch in examples.batches(columns=["source", "objective", "split"]):
        rows = pa.Table.from_batches([batch])
        rows = rows.filter(pc.equal(rows["split"], "train")).group_by(["source", "objective"])
        for row in rows.aggregate([([], "count_all")]).to_pylist():
            counts[row["source"], row["objective"]] += row["count_all"]
    return dict(counts)


def _groups(examples: Sequence[Mapping]) -> tuple[list[str], np.ndarray, list[str]]:
    """Names of the groups, the group of each example, and the objective of each group."""
    pairs = sorted({(row["source"], row["objective"]) for row in examples})
    index = {pair: number for number, pair in enumerate(pairs)}
    groups = np.fromiter((index[row["source"], row["objective"]] for row in examples), np.int64, len(examples))
    return [group_name(pair) for pair in pairs], groups, [objective for _, objective in pairs]


def _labels(examples: Sequence[Mapping]) -> np.ndarray:
    labels = np.full(len(examples), np.nan, dtype=np.float32)
    for number, row in enumerate(examples):
        label = row.get("label")
        if label is None and row["objective"] in LABELLED:
            raise DataError(
                f"example {row['example_id']} of source '{row['source']}' ({row['objective']}) has no label. Give the "
                "source the kind labelled_pair and run data_engineering again, or another objective."
            )
        labels[number] = np.nan if label is None else label
    return labels


def _teacher_scores(examples: Sequence[Mapping], teacher: Mapping[tuple[str, str], float], width: int) -> np.ndarray:
    scores = np.full((len(examples), width), np.nan, dtype=np.float32)
    for number, row in enumerate(examples):
        for column, docid in enumerate([row["positive"], *row["negatives"]]):
            score = teacher.get((row["query_id"], docid))
            if score is None and row["objective"] in TAUGHT:
                raise DataError(
                    f"example {row['example_id']} of source '{row['source']}' ({row['objective']}): the teacher has no "
                    f"score of passage {docid}. Run the pipeline finetuning from score_with_teacher."
                )
            scores[number, column] = np.nan if score is None else score
    return scores
