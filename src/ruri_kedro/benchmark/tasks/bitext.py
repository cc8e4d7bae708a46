"""Translations, found among all texts of the other language by their vectors."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa

from ruri_kedro.benchmark.tasks.columns import columns_table
from ruri_kedro.benchmark.tasks.rows import Place
from ruri_kedro.benchmark.tasks.specs import distinct_texts, sides_of, text_pairs
from ruri_kedro.benchmark.tasks.types import Fitting, TaskType, Text, Value, Vectors, of_items
from ruri_kedro.recipe.parse import parameters

ROLE = "bitext"  # of the texts: the key of their prompt in `task_prompts`


@parameters
class Bitext(Place):
    """Pairs of texts of which one is the translation of the other."""

    type: Literal["bitext"]
    fields: Mapping[Literal["text1", "text2"], str] | None = None


@dataclass(frozen=True)
class BitextTask:
    """Find the translation of each text of texts1 in texts2; that of texts1[i] is texts2[i]."""

    name: str
    texts1: tuple[str, ...]
    texts2: tuple[str, ...]


def read(name: str, spec: Mapping[str, Any], root: Path) -> BitextTask:
    """The pairs of a file."""
    return BitextTask(name, *sides_of([row for _, row in text_pairs(spec, root, {})]))


def tables(task: BitextTask) -> dict[str, pa.Table]:
    """What is stored."""
    return {"pairs": columns_table(task, "texts1", "texts2")}


def texts(task: BitextTask) -> Iterator[Text]:
    """The texts of both languages."""
    return distinct_texts(task.texts1 + task.texts2)


def score(task: BitextTask, vectors: Vectors, fitting: Fitting) -> Iterator[Value]:
    """For each text whether its translation is the nearest, and F1 of all."""
    from ruri_kedro.benchmark.metrics import bitext_scores

    f1, found = bitext_scores(vectors(task.texts1, ROLE), vectors(task.texts2, ROLE))
    yield from of_items("accuracy", found)
    yield "f1", "", f1


TYPE = TaskType(
    name="bitext",
    rows=Bitext,
    task=BitextTask,
    read=read,
    tables=tables,
    texts=texts,
    score=score,
    role=ROLE,
    mteb_type="BitextMining",
    main_metric="accuracy",
    other_metrics=("f1",),
    hub_task="translation",
)
