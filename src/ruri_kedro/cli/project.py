"""The Kedro project that a command is run in."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ruri_kedro.cli.mlflow_store import connect
from ruri_kedro.errors import DataError, RecipeError
from ruri_kedro.recipe.overrides import fault_in

if TYPE_CHECKING:
    from ruri_kedro.benchmark.collection import Collection


def project_context(
    env: str | None,
    params: Mapping[str, Any] | None = None,
    conf: str | None = None,
    anywhere: bool = False,
    size: str | None = None,
    recipe: bool = True,
) -> Any:
    """The Kedro context of the project: its parameters and its catalog.

    `params` are those of the command line, `conf` another folder of configuration, `size` one of a recipe that has
    several: RecipeError where it has not. Only the hooks of this package take part: those of plugins import libraries
    that take seconds. Without `recipe` nobody looks at the parameters. Outside of a project this raises DataError, or
    with `anywhere` takes the configuration that the package brings.
    """
    project = project_folder(anywhere)  # Kedro's modules speak when they are imported: a refusal comes before
    from kedro.framework.context import KedroContext
    from kedro.framework.hooks.manager import _create_hook_manager, _register_hooks
    from kedro.framework.project import PACKAGE_NAME, settings

    from ruri_kedro.hooks.checks import CheckHooks

    # The configuration: that of the project, of an environment, and of the command line.
    env = env or os.environ.get("KEDRO_ENV")
    source = Path(conf) if conf else (project or shipped()) / settings.CONF_SOURCE
    if size:
        if fault := fault_in(source, env, {"size": size}):
            raise RecipeError(fault.replace("--params size", f"--size {size}", 1))
        params = {**(params or {}), "size": size}
    loader = settings.CONFIG_LOADER_CLASS(
        conf_source=str(source), env=env, runtime_params=params and dict(params), **settings.CONFIG_LOADER_ARGS
    )
    # The context, with the hooks of this package.
    manager = _create_hook_manager()
    _register_hooks(manager, [hook for hook in settings.HOOKS if recipe or not isinstance(hook, CheckHooks)])
    context = KedroContext(
        package_name=PACKAGE_NAME,
        project_path=project or Path.cwd(),
        config_loader=loader,
        env=env,
        runtime_params=params and dict(params),
        hook_manager=manager,
    )
    # Kedro would import every pipeline to see whether a node wants parameters of a type of its own: none does.
    context._pipelines_to_validate = []
    manager.hook.after_context_created(context=context)
    return context


def project_folder(anywhere: bool = False) -> Path | None:
    """The project that the working folder is in. Outside of one: DataError, or with `anywhere` None."""
    from kedro.utils import find_kedro_project

    project = find_kedro_project(Path.cwd())
    if project is None and not anywhere:
        raise DataError(
            f"{Path.cwd()} is not in a project: no pyproject.toml with [tool.kedro] stands here or above. "
            "Change to the folder of one, or make one: ruri-kedro new FOLDER"
        )
    return project


def registry_context(env: str | None, size: str | None = None) -> Any:
    """The context of the project with MLflow connected to its store; without a project, to MLFLOW_TRACKING_URI's."""
    context = project_context(env, anywhere=bool(os.environ.get("MLFLOW_TRACKING_URI")), size=size)
    connect(context)
    return context


def shipped() -> Path:
    """The folder of the files that a new project is made of, `conf` among them.

    In an installed package it stands within it; in a clone it is the root of the repository, so that there is
    one copy of each file.
    """
    installed = Path(__file__).resolve().parents[1] / "project_files"
    return installed if (installed / "conf").is_dir() else Path(__file__).resolve().parents[3]


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


def named_collection(context: Any, params: Mapping[str, Any], reference: str | None) -> "Collection":
    """The collection of this name (`benchmark.collection`); says so where its documents have no docids of their own."""
    from ruri_kedro.benchmark.collection import find_collection

    def folders() -> tuple[Path | None, Path]:
        catalog = context.catalog
        test_sets = catalog.load("test_sets") if catalog.exists("test_sets") else None
        return test_sets, catalog.get("passages").table.root if "passages" in catalog else Path()

    found = find_collection(reference, params, folders)
    if found.remark:
        click.echo(found.remark)
    return found
