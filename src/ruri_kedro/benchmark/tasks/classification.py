"""Labels of texts, predicted from their vectors by a classifier that was fitted on a train part."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa

from ruri_kedro.benchmark.tasks.columns import columns_table
from ruri_kedro.benchmark.tasks.rows import Place, check_text
from ruri_kedro.benchmark.tasks.specs import distinct_texts, labelled_rows
from ruri_kedro.benchmark.tasks.types import Fitting, TaskType, Text, Value, Vectors, of_items
from ruri_kedro.errors import DataError
from ruri_kedro.recipe.parse import parameters

ROLE = "classification"  # of the texts: the key of their prompt in `task_prompts`


@parameters
class Classification(Place):
    """Texts with labels, to learn from and to be tested on."""

    type: Literal["classification"]
    train: str
    fields: Mapping[Literal["text", "label"], str | tuple[str, ...]] | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        check_text(self.fields)


@dataclass(frozen=True)
class ClassificationTask:
    """Predict the label of a text from its vector, with a classifier fitted on the train part."""

    name: str
    train_texts: tuple[str, ...]
    train_labels: tuple[str, ...]
    test_texts: tuple[str, ...]
    test_labels: tuple[str, ...]


def read(name: str, spec: Mapping[str, Any], root: Path) -> ClassificationTask:
    """Both parts; DataError where the train part has one label only."""
    train = labelled_rows(spec, root, "train")
    if len(set(train[1])) < 2:
        raise DataError(f"task '{name}': all labels of {spec['train']} are '{train[1][0]}'; two are needed.")
    return ClassificationTask(name, *train, *labelled_rows(spec, root, "path"))


def tables(task: ClassificationTask) -> dict[str, pa.Table]:
    """What is stored."""
    return {part: columns_table(task, f"{part}_texts", f"{part}_labels") for part in ("train", "test")}


def texts(task: ClassificationTask) -> Iterator[Text]:
    """The texts of the test part."""
    return distinct_texts(task.test_texts)


def score(task: ClassificationTask, vectors: Vectors, fitting: Fitting) -> Iterator[Value]:
    """For each text whether a logistic regression has its label, and macro F1 of all."""
    from ruri_kedro.benchmark.metrics import classification_scores

    train = vectors(task.train_texts, ROLE), task.train_labels
    test = vectors(task.test_texts, ROLE), task.test_labels
    macro_f1, right = classification_scores(*train, *test, seed=fitting.seed, max_iter=fitting.max_iter)
    yield from of_items("accuracy", right)
    yield "macro_f1", "", macro_f1


TYPE = TaskType(
    name="classification",
    rows=Classification,
    task=ClassificationTask,
    read=read,
    tables=tables,
    texts=texts,
    score=score,
    role=ROLE,
    mteb_type="Classification",
    main_metric="macro_f1",
    other_metrics=("accuracy",),
    tested_metric="accuracy",
    hub_task="text-classification",
)
