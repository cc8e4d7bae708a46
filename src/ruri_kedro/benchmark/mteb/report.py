"""mteb's results as the paper's table: a mean per category and the mean over all data sets (Ruri, Table 10)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

from mteb.results import TaskResult

from ruri_kedro.errors import DataError
from ruri_kedro.tables.files import read_json
from ruri_kedro.text.layout import markdown_table

# mteb's types of task in the order of the paper's columns (Ruri, Table 10), and what the columns are called.
CATEGORIES = {
    "Retrieval": "Retrieval",
    "STS": "STS",
    "Classification": "Class.",
    "MultilabelClassification": "Multilabel",
    "Reranking": "Reranking",
    "Clustering": "Clustering",
    "PairClassification": "Pair.",
}
# The same of benchmarks that have an order of their own: ruMTEB, arXiv 2408.12503, with 7 categories and 23 tasks.
_ORDERS = {
    "MTEB(rus, v1)": (
        "Classification", "Clustering", "MultilabelClassification", "PairClassification", "Reranking", "Retrieval",
        "STS",
    ),
}  # fmt: skip


def columns_of(benchmark: str) -> dict[str, str]:
    """What the columns of a benchmark's table are called, by mteb's types of task, in their order."""
    return {category: CATEGORIES[category] for category in _ORDERS.get(benchmark, CATEGORIES)}


@dataclass(frozen=True)
class TaskScore:
    """One task's scores, between 0 and 1: mteb's main one, and that of the benchmark's own authors."""

    task: str
    category: str  # mteb's type
    metric: str
    score: float
    official_metric: str
    official: float


@dataclass(frozen=True)
class ModelScores:
    """What a model has of a benchmark."""

    model: str
    scores: tuple[TaskScore, ...]
    missing: Mapping[str, str]  # tasks without a result, with their categories

    def categories(self, official: bool = False) -> dict[str, float]:
        """Mean over the data sets of each category; only categories of which all data sets are there."""
        groups: dict[str, list[float]] = {}
        for row in self.scores:
            if row.category not in self.missing.values():
                groups.setdefault(row.category, []).append(row.official if official else row.score)
        return {category: fmean(values) for category, values in groups.items()}

    def average(self, official: bool = False) -> float | None:
        """Micro average: the mean over all data sets, each with the same weight; None where one is missing."""
        if self.missing or not self.scores:
            return None
        return fmean(row.official if official else row.score for row in self.scores)


def read_scores(out: Path, tasks: Sequence[Any], official: Mapping[str, str]) -> list[ModelScores]:
    """Scores of every model that has results of these tasks below `out`, by name.

    `official` names the metric of the benchmark's authors by type of task, where it is not mteb's main score.
    """
    folders = sorted(path.parent for path in Path(out).glob("results/*/*/model_meta.json"))
    models = [_model_scores(folder, tasks, official) for folder in folders]
    return [model for model in models if model.scores]


def task_score(result: TaskResult, task: Any, official: Mapping[str, str]) -> TaskScore:
    """A result's mean over the benchmark's splits and languages, as mteb's leaderboard takes it.

    The official score is of the split `test` alone, where there is one. Raises DataError for a metric that the result
    does not have.
    """
    kind, metric = task.metadata.type, task.metadata.main_score
    own = official.get(kind, metric)
    rows = {split: [row for row in result.scores[split] if row["hf_subset"] in task.hf_subsets]
            for split in task.eval_splits}  # fmt: skip
    everything = [row for split in rows.values() for row in split]
    for row in everything:
        if own not in row:
            raise DataError(f"task '{result.task_name}': mteb gives no '{own}'. Correct benchmarks.official.")
    return TaskScore(
        task=result.task_name,
        category=kind,
        metric=metric,
        score=fmean(row["main_score"] for row in everything),
        official_metric=own,
        official=fmean(row[own] for row in rows.get("test", everything)),
    )


def markdown(benchmark: str, models: Sequence[ModelScores], official: bool) -> str:
    """The tables: categories and average by mteb's main scores, by the official ones if wanted, and every task."""
    columns = columns_of(benchmark)
    parts = [f"# {benchmark}\n", "mteb's main scores, in percent.\n", _categories_table(models, columns)]
    if official:
        parts += [
            "\nThe authors' metrics on the test split, in percent.\n",
            _categories_table(models, columns, official=True),
        ]
    parts += ["\n## Tasks\n", _tasks_table(models, official)]
    parts += [f"\n{model.model}: no result yet of {', '.join(model.missing)}.\n" for model in models if model.missing]
    return "\n".join(parts)


def as_json(benchmark: str, models: Sequence[ModelScores]) -> dict:
    """The same figures, between 0 and 1."""
    return {"benchmark": benchmark, "models": [_json(model) for model in models]}


def _json(model: ModelScores) -> dict:
    kinds = {"mteb": False, "official": True}
    return {
        "model": model.model,
        "average": {name: model.average(official) for name, official in kinds.items()},
        "categories": {name: model.categories(official) for name, official in kinds.items()},
        "tasks": {row.task: {key: value for key, value in vars(row).items() if key != "task"} for row in model.scores},
        "missing": list(model.missing),
    }


def _model_scores(folder: Path, tasks: Sequence[Any], official: Mapping[str, str]) -> ModelScores:
    scores: list[TaskScore] = []
    missing: dict[str, str] = {}
    for task in tasks:
        path = folder / f"{task.metadata.name}.json"
        result = TaskResult.from_disk(path) if path.exists() else None
        if result is not None and covers(result, task):
            scores.append(task_score(result, task, official))
        else:
            missing[task.metadata.name] = task.metadata.type
    name = read_json(folder / "model_meta.json")["name"]
    return ModelScores(f"{name} ({folder.name[:8]})", tuple(scores), missing)


def covers(result: TaskResult, task: Any) -> bool:
    """Whether a result is of the task's data, splits and languages: two benchmarks may share a task's name."""
    if result.dataset_revision != task.metadata.dataset["revision"]:
        return False
    return all(
        set(task.hf_subsets) <= {row["hf_subset"] for row in result.scores.get(split, [])} for split in task.eval_splits
    )


def _categories_table(models: Sequence[ModelScores], named: Mapping[str, str], official: bool = False) -> str:
    """A row per model; columns that have a name stand first, in the order of `named`."""
    present = {row.category for model in models for row in model.scores}
    columns = [category for category in named if category in present]
    columns += sorted(present - named.keys())
    rows = []
    for model in models:
        means = model.categories(official)
        cells = [_percent(means.get(category)) for category in columns]
        rows.append([model.model, *cells, _percent(model.average(official))])
    return markdown_table(["Model", *(named.get(column, column) for column in columns), "Avg."], rows) + "\n"


def _tasks_table(models: Sequence[ModelScores], official: bool) -> str:
    cells: dict[tuple[str, str, str], dict[str, float]] = {}
    for model in models:
        for row in model.scores:
            cells.setdefault((row.task, row.category, row.metric), {})[model.model] = row.score
            if official and row.official_metric != row.metric:
                cells.setdefault((row.task, row.category, row.official_metric), {})[model.model] = row.official
    names = [model.model for model in models]
    rows = [[*key, *(_percent(found.get(name)) for name in names)] for key, found in cells.items()]
    return markdown_table(["Task", "Category", "Metric", *names], rows) + "\n"


def _percent(score: float | None) -> str:
    return "-" if score is None else f"{100 * score:.2f}"
