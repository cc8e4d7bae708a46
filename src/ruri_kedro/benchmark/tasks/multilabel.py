"""Sets of labels of texts, predicted from their vectors by neighbours in a train part."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa

from ruri_kedro.benchmark.tasks.columns import columns_table
from ruri_kedro.benchmark.tasks.rows import Place
from ruri_kedro.benchmark.tasks.specs import LABEL, clean, distinct_texts, raw_rows, with_fields
from ruri_kedro.benchmark.tasks.types import Fitting, TaskType, Text, Value, Vectors, of_items, of_whole_task
from ruri_kedro.errors import DataError
from ruri_kedro.recipe.parse import parameters
from ruri_kedro.tables.raw import label_text

ROLE = "multilabel"  # of the texts: the key of their prompt in `task_prompts`


@parameters
class Multilabel(Place):
    """Texts with lists of labels, to learn from and to be tested on."""

    type: Literal["multilabel"]
    train: str
    fields: Mapping[Literal["text", "labels"], str] | None = None


@dataclass(frozen=True)
class MultilabelTask:
    """Predict the labels of a text, of which it may have none, with a classifier fitted on the train part."""

    name: str
    train_texts: tuple[str, ...]
    train_labels: tuple[tuple[str, ...], ...]
    test_texts: tuple[str, ...]
    test_labels: tuple[tuple[str, ...], ...]


def read(name: str, spec: Mapping[str, Any], root: Path) -> MultilabelTask:
    """Both parts; DataError where no text of one has a label."""
    parts = {path: _part(spec, root, path) for path in (spec["train"], spec["path"])}
    for path, (_, labels) in parts.items():
        if not any(labels):
            raise DataError(f"task '{name}': no text of {path} has a label.")
    return MultilabelTask(name, *parts[spec["train"]], *parts[spec["path"]])


def _part(spec: Mapping[str, Any], root: Path, path: str) -> tuple[tuple[str, ...], tuple[tuple[str, ...], ...]]:
    names = with_fields(spec, ("text", "labels"))
    found, labels = [], []
    for where, row in raw_rows(root, path, {names["text"]: str, names["labels"]: list}):
        found.append(clean(where, names["text"], row[names["text"]]))
        labels.append(_labels(f"{where}, field '{names['labels']}'", row[names["labels"]]))
    return tuple(found), tuple(labels)


def _labels(where: str, values: list[Any]) -> tuple[str, ...]:
    if not all(isinstance(value, LABEL) for value in values):
        raise DataError(f"{where}: each label is a text, a whole number or a truth value. Correct the row.")
    return tuple(sorted(set(map(label_text, values))))


def tables(task: MultilabelTask) -> dict[str, pa.Table]:
    """What is stored."""
    return {part: columns_table(task, f"{part}_texts", f"{part}_labels") for part in ("train", "test")}


def texts(task: MultilabelTask) -> Iterator[Text]:
    """The texts of the test part."""
    return distinct_texts(task.test_texts)


def score(task: MultilabelTask, vectors: Vectors, fitting: Fitting) -> Iterator[Value]:
    """For each text whether the nearest neighbours have its labels; macro F1 and ranking precision of all."""
    from ruri_kedro.benchmark.metrics import multilabel_scores

    train = vectors(task.train_texts, ROLE), task.train_labels
    test = vectors(task.test_texts, ROLE), task.test_labels
    whole, right = multilabel_scores(*train, *test)
    yield from of_items("accuracy", right)
    yield from of_whole_task(whole)


TYPE = TaskType(
    name="multilabel",
    rows=Multilabel,
    task=MultilabelTask,
    read=read,
    tables=tables,
    texts=texts,
    score=score,
    role=ROLE,
    mteb_type="MultilabelClassification",
    main_metric="macro_f1",
    other_metrics=("accuracy", "lrap"),
    tested_metric="accuracy",
    hub_task="text-classification",
)
