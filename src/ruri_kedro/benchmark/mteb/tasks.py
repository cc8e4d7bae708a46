"""mteb's benchmarks: their tasks, each made anew, and whether the data of a task can be had without the hub."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import mteb
from mteb.abstasks.retrieval import AbsTaskRetrieval

from ruri_kedro.errors import DataError, RecipeError

_TIMEOUT = 10.0  # seconds for the hub to answer at all


def benchmark_tasks(benchmark: str, only: Sequence[str] = ()) -> list[Any]:
    """The tasks of one of mteb's benchmarks, with its splits, languages and data revisions; or those in `only`.

    Raises RecipeError for a benchmark that mteb has not, or a task that the benchmark has not.
    """
    try:
        tasks = {task.metadata.name: task for task in mteb.get_benchmark(benchmark).tasks}
    except KeyError as error:
        raise RecipeError(f"benchmark {error.args[0]} Names are as in mteb, for example 'MTEB(jpn, v1)'.") from error
    for name in only:
        if name not in tasks:
            raise RecipeError(f"benchmark '{benchmark}' has no task '{name}'. It has: {', '.join(tasks)}.")
    return [task for name, task in tasks.items() if not only or name in only]


def fresh(task: Any) -> Any:
    """The same task as if nothing had been evaluated yet.

    A task draws from random states of its own and of the process, which it seeds when it is made: one that is made
    just before it runs gives the same scores alone, after others, and after an interruption.
    """
    made = type(task)()
    made.hf_subsets = list(task.hf_subsets)
    return made.filter_eval_splits(list(task.eval_splits))


def check_data(tasks: Iterable[Any], online: bool, cache: Path | None = None) -> None:
    """Raises DataError, naming every task, where the hub cannot be reached and data of a task are not in the cache.

    `cache` is the cache of Hugging Face datasets (default: the one that the library uses).
    """
    if online:
        return
    reasons = {task.metadata.name: missing_data(task, cache) for task in tasks}
    missing = {name: reason for name, reason in reasons.items() if reason}
    if not missing:
        return
    ready = [name for name, reason in reasons.items() if not reason]
    lines = "\n".join(f"  {name}: {reason}" for name, reason in missing.items())
    raise DataError(
        f"the Hugging Face hub cannot be reached, and the data of {len(missing)} of {len(reasons)} tasks are not in "
        f"{_cache(cache)}:\n{lines}\nCan run: {', '.join(ready) or 'none'} (--task NAME runs only what is named). "
        "Or load the data where there is a connection, and set HF_DATASETS_CACHE to their folder."
    )


def missing_data(task: Any, cache: Path | None = None) -> str | None:
    """What of a task's data, at the revision that mteb pins, is not in the local cache; None if all is there.

    The library itself takes the newest copy of a data set when it is offline, whatever its revision: another
    revision that is newer counts as missing.
    """
    from datasets.naming import camelcase_to_snakecase

    path, revision = task.metadata.dataset["path"], task.metadata.dataset["revision"]
    owner, _, name = path.rpartition("/")
    folder = _cache(cache) / "___".join([*filter(None, [owner]), camelcase_to_snakecase(name)])
    held = _newest_revisions(folder)
    if not held:
        return f"{path} is not there"
    for choices in _configurations(task):
        found = {held[choice] for choice in choices if choice in held} if choices else set(held.values())
        if not found:
            return f"{path} has no '{' or '.join(choices)}' there"
        if revision not in found:
            return f"{path} is there at revision {min(found)}, not at {revision}"
    return None


def hub_reachable() -> bool:
    """Whether the Hugging Face hub answers; False at once where the environment says offline."""
    import httpx2
    from datasets import config
    from huggingface_hub import constants, get_session

    if config.HF_HUB_OFFLINE or constants.HF_HUB_OFFLINE:
        return False
    try:
        get_session().head(constants.ENDPOINT, timeout=_TIMEOUT)
    except (OSError, httpx2.HTTPError):
        return False
    return True


def _cache(cache: Path | None) -> Path:
    from datasets import config

    return Path(cache or config.HF_DATASETS_CACHE).expanduser()


def _newest_revisions(folder: Path) -> Mapping[str, str]:
    """Revision of the newest complete copy of each configuration, in `<configuration>/<version>/<revision>`."""
    copies = sorted(folder.glob("*/*/*/dataset_info.json"), key=lambda path: path.parent.stat().st_mtime)
    return {path.parts[-4]: path.parent.name for path in copies if not path.parent.name.endswith(".incomplete")}


def _configurations(task: Any) -> list[tuple[str, ...]]:
    """What a task reads: for each part the configurations of which one must be there, none named for any."""
    if isinstance(task, AbsTaskRetrieval):
        parts = [("corpus",), ("queries", "query"), ("qrels", "default")]
        parts += [("top_ranked",)] if task.metadata.type == "Reranking" else []
        if not task.metadata.is_multilingual:
            return parts
        return [tuple(f"{subset}-{name}" for name in part[:1]) for subset in task.hf_subsets for part in parts]
    if task.metadata.is_multilingual and not task.fast_loading:
        return [(subset,) for subset in task.hf_subsets]
    return [()]
