"""The Kedro project that a command is run in."""

from pathlib import Path
from typing import Any

from ruri_kedro.errors import DataError, RecipeError
from ruri_kedro.overrides import fault_in

# The catalog's table of what each stage was trained on.
EXAMPLES = {
    "pretraining": "pretraining_examples",
    "reranking_stage1": "reranking_stage1_examples",
    "reranking_stage2": "reranking_stage2_examples",
    "finetuning": "distilled_examples",
}


def project_context(env: str | None, size: str | None = None) -> Any:
    """The Kedro context of the project; with it the hooks settle where MLflow keeps its runs.

    `size` is one of a recipe that has several; RecipeError where it has not.
    """
    from kedro.framework.session import KedroSession
    from kedro.utils import find_kedro_project

    project = find_kedro_project(Path.cwd()) or Path.cwd()
    given = {"size": size} if size else {}
    if fault := given and fault_in(project / "conf", env, given):
        raise RecipeError(fault.replace("--params size", f"--size {size}", 1))
    with KedroSession.create(project_path=project, env=env, runtime_params=given) as session:
        return session.load_context()


def reporting_folder(context: Any) -> Path:
    """Where a recipe's comparisons are written: data/08_reporting/<recipe>, of a recipe with sizes below it <size>."""
    from kedro.config import MissingConfigException

    try:
        recipe = context.config_loader["globals"]["recipe"]
    except (MissingConfigException, KeyError):
        recipe = context.params["recipe"]
    return context.project_path / "data/08_reporting" / recipe / (context.params.get("size") or "")


def stored_test_sets(context: Any) -> Path:
    """The folder of the recipe's tasks; raises DataError, with the command that reads them, where it is not there."""
    if not context.catalog.exists("test_sets"):
        own = f" --env {context.env}" if context.env else ""
        raise DataError(f"no tasks are read yet. Run: kedro run{own} --pipelines data_engineering --nodes read_tasks")
    return context.catalog.load("test_sets")
