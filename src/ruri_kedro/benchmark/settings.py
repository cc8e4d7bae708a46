"""The parameters `evaluation`, `task_prompts` and `mteb`. Neither torch nor mteb is imported here."""

from collections.abc import Mapping
from typing import Literal

from ruri_kedro.benchmark.tasks.types import prompted_types
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
    exact_documents: Size  # larger collections: late interaction orders BM25's candidates


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
    exact_documents: Size  # larger collections: late interaction orders BM25's candidates
    tasks: Mapping[str, MtebTaskRow]
    official: Mapping[str, Mapping[str, str]]  # by benchmark and type of task: the authors' metric
    prompts: Mapping[str, Mapping[str, str]]  # sets, by name
