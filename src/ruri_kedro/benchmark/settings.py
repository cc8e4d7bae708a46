"""The parameters `evaluation`, `task_prompts` and `mteb`. Neither torch nor mteb is imported here."""

from collections.abc import Mapping
from typing import Literal

from ruri_kedro.benchmark.tasks.types import prompted_types
from ruri_kedro.errors import RecipeError
from ruri_kedro.models.settings import Device
from ruri_kedro.recipe.parse import Count, Size, parameters

ROLES = ("query", "document", *prompted_types())  # of the texts of tasks


@parameters
class EvaluationSettings:
    """How the recipe's own tests are encoded and searched; parameters `evaluation`."""

    max_length: Count  # tokens
    max_length_of: Mapping[Literal[ROLES], Count]  # in its place, of texts by their role
    chunk_tokens: Count  # padded tokens of one forward pass
    depth: Count  # candidates reranked, and depth of every run
    rerank_queries: Count  # queries of a task whose candidates are reranked
    multi_vector: Literal["exact", "index"]  # how late interaction searches
    exact_documents: Size  # exact, larger collections: it orders BM25's candidates
    indexes: str  # folder of the indexes


@parameters
class PublishedTable:
    """A paper's table of models, in whose layout those of the recipe are reported; parameters `published`.

    average: whether the mean over the groups of columns stands behind them, of their first figures, their second ones
    and so on.
    """

    title: str | None
    columns: Mapping[str, tuple[str, ...]]  # by heading, <task>/<metric>
    average: bool
    models: Mapping[str, tuple[float, ...]]  # figures from 0 to 1, in the order of the columns; none: no such table

    def __post_init__(self) -> None:
        count = sum(map(len, self.columns.values()))
        faults = [
            f"models.{name}: {len(figures)} figures are given for {count} columns."
            for name, figures in self.models.items()
            if len(figures) != count
        ]
        if self.models and self.title is None:
            faults.append("title: null, but there are models. Name the paper and the table.")
        if self.average and len({len(group) for group in self.columns.values()}) != 1:
            faults.append("average: true, but the groups of columns are not equally long. Set it to false.")
        if faults:
            raise RecipeError("\n".join(faults))


# What stands before texts that are neither query nor passage, by their role; parameters `task_prompts`.
TaskPrompts = parameters(type("TaskPrompts", (), {"__annotations__": dict.fromkeys(prompted_types(), str)}))


@parameters
class MtebTaskRow:
    """What is different for a task of mteb. Its names are mteb's, so what is not given stands in the block above it."""

    max_length: Count | None = None
    chunk_tokens: Count | None = None


@parameters
class MtebSettings:
    """How models are tested with mteb; parameters `mteb`. Names of benchmarks, tasks and types of task are mteb's."""

    device: Device
    max_length: Count  # tokens
    chunk_tokens: Count  # padded tokens of one forward pass
    exact_documents: Size  # late interaction does not compare every query with every document of larger collections
    tasks: Mapping[str, MtebTaskRow]
    official: Mapping[str, Mapping[str, str]]  # by benchmark and type of task: the authors' metric
    prompts: Mapping[str, Mapping[str, str]]  # sets, by name
