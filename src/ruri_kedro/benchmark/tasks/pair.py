"""Pairs that belong together, told from the others by their cosines."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa

from ruri_kedro.benchmark.tasks.columns import columns_table
from ruri_kedro.benchmark.tasks.rows import Place
from ruri_kedro.benchmark.tasks.specs import LABEL, distinct_texts, sides_of, text_pairs
from ruri_kedro.benchmark.tasks.types import Fitting, TaskType, Text, Value, Vectors, of_whole_task
from ruri_kedro.errors import RecipeError
from ruri_kedro.recipe.parse import parameters
from ruri_kedro.tables.raw import label_text

ROLE = "pair"  # of the texts: the key of their prompt in `task_prompts`


@parameters
class Pair(Place):
    """Pairs of texts with labels, of which the `positive` ones say that the texts belong together."""

    type: Literal["pair"]
    positive: tuple[str | int | bool, ...]
    fields: Mapping[Literal["text1", "text2", "label"], str] | None = None


@dataclass(frozen=True)
class PairTask:
    """Tell pairs of texts that belong together (label 1) from those that do not (0)."""

    name: str
    texts1: tuple[str, ...]
    texts2: tuple[str, ...]
    labels: tuple[int, ...]


def read(name: str, spec: Mapping[str, Any], root: Path) -> PairTask:
    """The pairs of a file; RecipeError where `positive` is none of the labels, or all."""
    rows = [row for _, row in text_pairs(spec, root, {"label": LABEL})]
    labels = [label_text(row["label"]) for row in rows]
    positive, found = set(map(label_text, spec["positive"])), set(labels)
    if not positive or positive - found or positive == found:
        raise RecipeError(
            f"task '{name}', key 'positive': {spec['positive']}; name some, not all, of the labels in {spec['path']}: "
            f"{', '.join(sorted(found))}."
        )
    return PairTask(name, *sides_of(rows), tuple(int(label in positive) for label in labels))


def tables(task: PairTask) -> dict[str, pa.Table]:
    """What is stored."""
    return {"pairs": columns_table(task, "texts1", "texts2", "labels")}


def texts(task: PairTask) -> Iterator[Text]:
    """The texts of both sides."""
    return distinct_texts(task.texts1 + task.texts2)


def score(task: PairTask, vectors: Vectors, fitting: Fitting) -> Iterator[Value]:
    """Average precision of the order by cosine, and F1 at the best threshold."""
    from ruri_kedro.benchmark.metrics import cosines, pair_scores

    found = cosines(vectors(task.texts1, ROLE), vectors(task.texts2, ROLE))
    return of_whole_task(pair_scores(found, task.labels))


TYPE = TaskType(
    name="pair",
    rows=Pair,
    task=PairTask,
    read=read,
    tables=tables,
    texts=texts,
    score=score,
    role=ROLE,
    mteb_type="PairClassification",
    main_metric="ap",
    other_metrics=("f1",),
    hub_task="binary-classification",
)
