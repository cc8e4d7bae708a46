"""Tasks of mteb evaluated one after the other; what is there for the same model, data and settings is kept."""

import json
import logging
import re
import warnings
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mteb
from mteb.models.model_meta import ModelMeta
from mteb.results import TaskResult

from ruri_kedro.benchmark.mteb.model import BenchmarkEncoder
from ruri_kedro.benchmark.mteb.queries import has_queries, record_queries, save_queries
from ruri_kedro.benchmark.mteb.report import as_json, covers, markdown, read_scores
from ruri_kedro.benchmark.mteb.searcher import BenchmarkSearcher
from ruri_kedro.benchmark.mteb.tasks import benchmark_tasks, fresh
from ruri_kedro.errors import RecipeError
from ruri_kedro.tables.files import read_json, replace_file, sole_user, write_json

# A benchmark is what it is, whether or not there is a newer version of one of its tasks.
logging.getLogger("mteb.abstasks.abstask").addFilter(lambda record: "is superseded by" not in record.getMessage())

logger = logging.getLogger(__name__)

Evaluated = BenchmarkEncoder | BenchmarkSearcher

_LOADER_ROWS = 1024  # texts that mteb's data loader hands over at once; forward passes are cut by tokens


@dataclass(frozen=True)
class Results:
    """A model's results below `out`, where `mteb.ResultCache(out)` finds them: results/<model>/<revision>/<task>.json.

    Beside them keys/<model>/<revision>.json has what they were made with, and scores/<model>/<revision> is a table of
    SCORES with those of each query.
    """

    out: Path
    meta: ModelMeta

    @property
    def folder(self) -> Path:
        """Folder of the results."""
        return self.out / "results" / self.meta.model_name_as_path() / str(self.meta.revision)

    @property
    def _queries(self) -> Path:
        return self.out / "scores" / self.meta.model_name_as_path() / str(self.meta.revision)

    @property
    def _keys_file(self) -> Path:
        return self.out / "keys" / self.meta.model_name_as_path() / f"{self.meta.revision}.json"

    def open(self, settings: dict) -> None:
        """Raises RecipeError where the folder has results of the same model with other prompts or lengths."""
        kept = self._kept() if self.folder.exists() else {"tasks": {}}
        if kept["tasks"] and kept["settings"] != settings:
            changed = [key for key, value in settings.items() if kept["settings"].get(key) != value]
            raise RecipeError(
                f"{self.folder}: the results here were made with other {' and '.join(changed)}. Give another --out, so "
                "that no table mixes them, or remove the folder."
            )
        write_json(self._keys_file, {**kept, "settings": settings})

    def has(self, task: Any, key: str) -> bool:
        """Whether there is a result of the task with this key."""
        path = self._path(task)
        if self._kept()["tasks"].get(_entry(task)) != key or not path.exists():
            return False
        if not has_queries(self._queries, task, key):
            return False
        result = _result(path)
        return result is not None and covers(result, task)

    def save(self, result: TaskResult, queries: list[dict], task: Any, key: str) -> None:
        """Write the scores by query, the result in mteb's form, then its key.

        The task's results in other languages stay in its file. Several processes may evaluate tasks of one model: they
        save one after the other.
        """
        with sole_user(self._keys_file):
            self._save(result, queries, task, key)

    def _save(self, result: TaskResult, queries: list[dict], task: Any, key: str) -> None:
        save_queries(self._queries, task, queries, key)
        path = self._path(task)
        old = _result(path)
        whole = result if old is None else _with_others(result, old)
        with replace_file(path) as aside:
            whole.to_disk(aside)
        write_json(self.folder / "model_meta.json", json.loads(json.dumps(self.meta.to_dict(), default=str)))
        kept = self._kept()
        kept["tasks"][_entry(task)] = key
        write_json(self._keys_file, kept)

    def _path(self, task: Any) -> Path:
        return self.folder / f"{task.metadata.name}.json"

    def _kept(self) -> dict:
        return read_json(self._keys_file) if self._keys_file.exists() else {"settings": {}, "tasks": {}}


def _result(path: Path) -> TaskResult | None:
    """A result in mteb's form; None where there is none, or where its file is damaged."""
    if not path.exists():
        return None
    try:
        return TaskResult.from_disk(path)
    except ValueError as error:  # not JSON, or not a result
        logger.warning("%s: not a result of mteb (%s). The task is evaluated again.", path, str(error).splitlines()[0])
        return None


def _entry(task: Any) -> str:
    return f"{task.metadata.name}: {', '.join(task.hf_subsets)}"


def _with_others(result: TaskResult, old: TaskResult) -> TaskResult:
    """The result with the rows of an older one that it has not itself, if those are of the same data."""
    if old.dataset_revision != result.dataset_revision:
        return result
    scores = {split: list(rows) for split, rows in result.scores.items()}
    own = {(split, row["hf_subset"]) for split, rows in scores.items() for row in rows}
    for split, rows in old.scores.items():
        others = [row for row in rows if (split, row["hf_subset"]) not in own]
        scores[split] = [*scores.get(split, []), *others]
    return result.model_copy(update={"scores": scores})


def missing_tasks(tasks: Iterable[Any], encoder: Evaluated, out: Path) -> list[Any]:
    """The tasks without a current result below `out`.

    Raises RecipeError where a task has no prompt, or the results there were made with other settings.
    """
    results = Results(out, encoder.mteb_model_meta)
    keys = {task.metadata.name: encoder.task_key(task) for task in tasks}
    results.open(encoder.described)
    return [task for task in tasks if not results.has(task, keys[task.metadata.name])]


def evaluate_tasks(
    tasks: Iterable[Any], encoder: Evaluated, out: Path, on_result: Callable[[TaskResult], None] | None = None
) -> None:
    """Evaluate the tasks by mteb, each to a file of its own that is written when the task is done.

    A task is the unit of work: mteb's own caching by split would let an interrupted task go on with another random
    state. `on_result` is called with each result.
    """
    results = Results(out, encoder.mteb_model_meta)
    for task in tasks:
        running = fresh(task)
        queries = record_queries(running, str(encoder.mteb_model_meta.name))
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="The task '.*' is superseded by")
            done = mteb.evaluate(
                encoder,
                running,
                cache=None,
                co2_tracker=False,
                public_only=False,
                show_progress_bar=False,
                encode_kwargs={"batch_size": _LOADER_ROWS, "show_progress_bar": False},
            )
        result = done.task_results[0]
        results.save(result, queries, task, encoder.task_key(task))
        if on_result is not None:
            on_result(result)


def write_report(benchmark: str, official: Mapping[str, str], out: Path) -> str:
    """Write <benchmark>.md and <benchmark>.json with every model that has results below `out`; give the former."""
    models = read_scores(out, benchmark_tasks(benchmark), official)
    text = markdown(benchmark, models, bool(official))
    stem = re.sub(r"[^\w.]+", "-", benchmark).strip("-")
    write_json(out / f"{stem}.json", as_json(benchmark, models))
    with replace_file(out / f"{stem}.md") as aside:
        aside.write_text(text, encoding="utf-8")
    return text
