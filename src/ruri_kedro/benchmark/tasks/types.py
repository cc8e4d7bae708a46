"""What a type of task is, and the table of the types: every module of this package that defines a TYPE.

A new type is a new file here. What reads, stores, searches or scores tasks finds the functions of a type in its row.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules
from typing import TYPE_CHECKING, Any

from ruri_kedro.benchmark.runs import Run

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

Value = tuple[str, str, float]  # metric, query_id ('' for a metric of the whole task), score
Text = tuple[str, str, str]  # role, item_id, text
Vectors = Callable[[Sequence[str], str], "np.ndarray"]  # (texts, role of their prompt) -> float32 (n, d), of length 1


@dataclass(frozen=True)
class Fitting:
    """How classifiers and clusters are fitted on vectors."""

    seed: int = 0
    max_iter: int = 1000


@dataclass(frozen=True)
class Search:
    """What is done with a type that has queries, documents and judgments."""

    collection: bool  # whether all documents are searched; else each query has candidates of its own, to be ordered
    suffix: str  # behind a task's name: the order of candidates, where that is a task of its own
    part: Callable[[Any, int | None], Any]  # (task, n) -> the task with the queries of which candidates are ordered
    candidates: Callable[[Any, Callable[[], Run]], Run]  # (part, BM25's run when it is asked for) -> what is ordered
    score: Callable[[Any, Run, Sequence[str] | None], Iterator[Value]]  # (part, order, metrics; None: the type's own)


@dataclass(frozen=True)
class TaskType:
    """A type of task. Either `score` or `search` says how it is scored."""

    name: str  # value of the parameter `type`; the category in evidence and gates
    rows: type | Mapping[str, type]  # class of its row of parameters, or the classes by `shape`
    task: type  # class of its tasks, with a field `name`; stored tasks are known by the name of the class
    read: Callable[[str, Mapping[str, Any], Path], Any]  # (name, row of parameters, raw folder) -> task
    tables: Callable[[Any], dict[str, "pa.Table"]]  # task -> tables by part
    texts: Callable[[Any], Iterator[Text]]  # task -> the texts of the test part, which training must not have seen
    main_metric: str  # stands for the task in reports and gates
    hub_task: str  # what the hub calls the type, in model cards
    other_metrics: tuple[str, ...] = ()
    tested_metric: str | None = None  # has scores by text, and so is tested where the main one is of the whole task
    restore: Callable[[str, Mapping[str, "pa.Table"]], Any] | None = None  # (name, tables) -> task; None: by columns
    score: Callable[[Any, Vectors, Fitting], Iterable[Value]] | None = None
    role: str | None = None  # of its texts, the key of their prompt in `task_prompts`; None: queries and documents
    mteb_type: str | None = None  # mteb's name of the type, the key of the prompt in the sets of `mteb.prompts`
    search: Search | None = None

    def restored(self, name: str, stored: Mapping[str, "pa.Table"]) -> Any:
        """The task of its tables: by `restore`, or with a field for each column."""
        from ruri_kedro.benchmark.tasks.columns import columns_of  # with it comes pyarrow

        return self.restore(name, stored) if self.restore else self.task(name, **columns_of(stored))

    # Keys follow no table, so they are given the functions of a row (`tables.code.behaviour_digest`).

    @property
    def restoring(self) -> tuple[Callable, ...]:
        """What a stored task is read with."""
        from ruri_kedro.benchmark.tasks.columns import columns_of

        return (self.restore,) if self.restore else (self.task, columns_of)

    @property
    def reading(self) -> tuple[Callable, ...]:
        """What makes a stored task."""
        return self.read, self.tables

    @property
    def collecting(self) -> tuple[Callable, ...]:
        """What takes the test texts of a stored task."""
        return *self.restoring, self.texts

    @property
    def searching(self) -> tuple[Callable, ...]:
        """What a run over a stored task is made with; nothing for types that are not searched."""
        return (*self.restoring, self.search.part, self.search.candidates) if self.search else ()

    @property
    def scoring(self) -> tuple[Callable, ...]:
        """What the scores of a stored task are made with."""
        return (*self.searching, self.search.score) if self.search else (*self.restoring, self.score)


def of_items(metric: str, scores: Iterable[float]) -> Iterator[Value]:
    """A metric that has a score for each text or pair of the test part, in their order; its value is their mean."""
    yield from ((metric, str(number), float(score)) for number, score in enumerate(scores))


def of_whole_task(scores: Mapping[str, float]) -> Iterator[Value]:
    """Metrics that have one score, for all texts together."""
    yield from ((metric, "", score) for metric, score in scores.items())


@cache
def task_types() -> dict[str, TaskType]:
    """The types by name, in order of name."""
    package = import_module(__package__)
    modules = (import_module(f"{__package__}.{module.name}") for module in iter_modules(package.__path__))
    found = [module.TYPE for module in modules if hasattr(module, "TYPE")]
    return {kind.name: kind for kind in sorted(found, key=lambda kind: kind.name)}


def type_of(task: Any) -> TaskType:
    """The type of a task."""
    return type_stored_as(type(task).__name__)


def type_stored_as(name: str) -> TaskType:
    """The type whose tasks have a class of this name; LookupError for none."""
    for kind in task_types().values():
        if kind.task.__name__ == name:
            return kind
    raise LookupError(f"'{name}' is not the class of a type of task.")


def is_searched(name: str) -> bool:
    """Whether tasks of a type have queries and documents."""
    kind = task_types().get(name)
    return kind is not None and kind.search is not None


def prompted_types() -> dict[str, TaskType]:
    """The types whose texts are not queries and documents, by role."""
    return {kind.role: kind for kind in task_types().values() if kind.role}


def main_metrics() -> list[str]:
    """The metrics that stand for tasks: of a task's metrics the first of these is its main one.

    A metric that stands for one type and is beside another's main one comes last.
    """
    kinds = task_types().values()
    beside = {metric for kind in kinds for metric in kind.other_metrics}
    return sorted(dict.fromkeys(kind.main_metric for kind in kinds), key=beside.__contains__)


def tested_metrics() -> dict[str, str]:
    """By main metric that is one of the whole task the metric that is tested beside it."""
    return {kind.main_metric: kind.tested_metric for kind in task_types().values() if kind.tested_metric}


def by_type(aspect: str) -> Callable[[Callable], Callable]:
    """Marks a function that looks up this of each task's type: `reading`, `collecting`, `searching` or `scoring`.

    Digests of code follow no table: that of a marked function has those of every type (`work_by_type`).
    """

    def mark(work: Callable) -> Callable:
        work.by_type = aspect
        return work

    return mark


def work_by_type(work: Callable) -> tuple[Callable, ...]:
    """The functions of all types that a function looks up."""
    aspect = getattr(work, "by_type", None)
    return tuple(each for kind in task_types().values() for each in getattr(kind, aspect)) if aspect else ()
