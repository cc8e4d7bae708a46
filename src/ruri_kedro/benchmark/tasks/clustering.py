"""Groups of texts, found by clustering their vectors."""

import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa

from ruri_kedro.benchmark.tasks.columns import columns_table
from ruri_kedro.benchmark.tasks.rows import Place, check_text
from ruri_kedro.benchmark.tasks.specs import distinct_texts, labelled_rows
from ruri_kedro.benchmark.tasks.types import Fitting, TaskType, Text, Value, Vectors, of_whole_task
from ruri_kedro.errors import RecipeError
from ruri_kedro.recipe.parse import Count, parameters

ROLE = "clustering"  # of the texts: the key of their prompt in `task_prompts`


@parameters
class Clustering(Place):
    """Texts with the labels of their groups; `sample`: so many of them, drawn with `seed`."""

    type: Literal["clustering"]
    fields: Mapping[Literal["text", "label"], str | tuple[str, ...]] | None = None
    sample: Count | None = None
    seed: int | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        check_text(self.fields)
        if self.sample is not None and self.seed is None:
            raise RecipeError("sample: a `seed` is missing, with which the texts are drawn.")


@dataclass(frozen=True)
class ClusteringTask:
    """Group texts by their vectors; the groups are compared with the labels."""

    name: str
    texts: tuple[str, ...]
    labels: tuple[str, ...]


def read(name: str, spec: Mapping[str, Any], root: Path) -> ClusteringTask:
    """The texts of a file, or `sample` of them."""
    found, labels = labelled_rows(spec, root, "path")
    if "sample" in spec:
        count = min(spec["sample"], len(found))
        chosen = sorted(random.Random(spec["seed"]).sample(range(len(found)), count))
        found, labels = tuple(found[i] for i in chosen), tuple(labels[i] for i in chosen)
    return ClusteringTask(name, found, labels)


def tables(task: ClusteringTask) -> dict[str, pa.Table]:
    """What is stored."""
    return {"texts": columns_table(task, "texts", "labels")}


def texts(task: ClusteringTask) -> Iterator[Text]:
    """All texts."""
    return distinct_texts(task.texts)


def score(task: ClusteringTask, vectors: Vectors, fitting: Fitting) -> Iterator[Value]:
    """V-measure of k-means."""
    from ruri_kedro.benchmark.metrics import clustering_scores

    return of_whole_task(clustering_scores(vectors(task.texts, ROLE), task.labels, fitting.seed))


TYPE = TaskType(
    name="clustering",
    rows=Clustering,
    task=ClusteringTask,
    read=read,
    tables=tables,
    texts=texts,
    score=score,
    role=ROLE,
    mteb_type="Clustering",
    main_metric="v_measure",
    hub_task="feature-extraction",
)
