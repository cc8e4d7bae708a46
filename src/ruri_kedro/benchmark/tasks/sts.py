"""Similarity of sentences: pairs of texts, ordered by their cosines, against scores by people."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa

from ruri_kedro.benchmark.tasks.columns import columns_table
from ruri_kedro.benchmark.tasks.rows import Place
from ruri_kedro.benchmark.tasks.specs import distinct_texts, sides_of, text_pairs
from ruri_kedro.benchmark.tasks.types import Fitting, TaskType, Text, Value, Vectors, of_items
from ruri_kedro.errors import DataError
from ruri_kedro.recipe.parse import parameters

ROLE = "sts"  # of the texts: the key of their prompt in `task_prompts`


@parameters
class Sts(Place):
    """Pairs of texts with scores."""

    type: Literal["sts"]
    fields: Mapping[Literal["text1", "text2", "score"], str] | None = None


@dataclass(frozen=True)
class StsTask:
    """Order pairs of texts by similarity; item i is texts1[i], texts2[i], scores[i]."""

    name: str
    texts1: tuple[str, ...]
    texts2: tuple[str, ...]
    scores: tuple[float, ...]


def read(name: str, spec: Mapping[str, Any], root: Path) -> StsTask:
    """The pairs of a file; DataError where all scores are equal."""
    rows = [row for _, row in text_pairs(spec, root, {"score": (int, float)})]
    scores = tuple(float(row["score"]) for row in rows)
    if len(set(scores)) < 2:
        raise DataError(
            f"task '{name}': all scores of {spec['path']} are {scores[0]}; there is no order to compare with."
        )
    return StsTask(name, *sides_of(rows), scores)


def tables(task: StsTask) -> dict[str, pa.Table]:
    """What is stored."""
    return {"pairs": columns_table(task, "texts1", "texts2", "scores")}


def texts(task: StsTask) -> Iterator[Text]:
    """The texts of both sides."""
    return distinct_texts(task.texts1 + task.texts2)


def score(task: StsTask, vectors: Vectors, fitting: Fitting) -> Iterator[Value]:
    """Spearman's correlation of cosines and scores: what each pair has of it, so that models can be tested."""
    from ruri_kedro.benchmark.metrics import cosines, spearman_parts

    found = cosines(vectors(task.texts1, ROLE), vectors(task.texts2, ROLE))
    return of_items("spearman", spearman_parts(found, task.scores))


TYPE = TaskType(
    name="sts",
    rows=Sts,
    task=StsTask,
    read=read,
    tables=tables,
    texts=texts,
    score=score,
    role=ROLE,
    mteb_type="STS",
    main_metric="spearman",
    hub_task="semantic-similarity",
)
