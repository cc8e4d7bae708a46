"""`kedro run`, which refuses what cannot work before it imports what a run needs: that takes seconds."""

from collections.abc import Iterable, Mapping, Sequence
from difflib import get_close_matches
from importlib import import_module
from typing import Any

import click
from kedro.framework.cli.project import run as kedro_run
from kedro.framework.project import pipelines
from kedro.pipeline import Pipeline

from ruri_kedro.cli import mlflow_store
from ruri_kedro.cli.log_form import log_option
from ruri_kedro.cli.project import project_context
from ruri_kedro.errors import RecipeError, RuriError
from ruri_kedro.hooks.inputs import MissingInputHooks, data_inputs, maker_of
from ruri_kedro.recipe.blocks import check_blocks
from ruri_kedro.recipe.stages import STAGES, takes_part
from ruri_kedro.startup import without_collector

# The options by which a run is cut down, and how each is said on the command line.
_SELECTIONS = {
    "tags": "--tags",
    "node_names": "--nodes",
    "from_nodes": "--from-nodes",
    "to_nodes": "--to-nodes",
    "from_inputs": "--from-inputs",
    "to_outputs": "--to-outputs",
    "namespaces": "--namespaces",
}


_NODES = ("node_names", "from_nodes", "to_nodes")


class CheckedRun(click.Command):
    """Kedro's own command, with a look at what it is given and at what is there first."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run it; what a user can mend is one line, everything else an error with its traceback."""
        context = None
        try:
            with without_collector():
                context = check_run(ctx.params)
                import_module("kedro_mlflow.framework.hooks.mlflow_hook")  # which the run imports at its start
            return super().invoke(ctx)
        except RuriError as error:
            raise click.ClickException(str(error)) from error
        except (click.ClickException, click.exceptions.Exit):
            raise
        except Exception as error:
            file = mlflow_store.store_file(context) if context is not None else None
            message = mlflow_store.explained(error, file or "a file of the run")
            if message is None:
                raise
            raise click.ClickException(message) from error


run = CheckedRun(
    name="run",
    callback=kedro_run.callback,
    params=[*kedro_run.params, log_option],
    help=kedro_run.help,
    context_settings=kedro_run.context_settings,
)


def check_run(options: dict[str, Any]) -> Any:
    """Raise RecipeError, DataError or RegistryError for a run that cannot start; gives the Kedro context.

    `options` are those of `kedro run`; nodes in them get the name of their pipeline in front. The hooks look again
    when the run is there: it may be started in other ways.
    """
    context = project_context(options["env"], options["params"], options["conf_source"])
    names = [options["pipeline"]] if options["pipeline"] else list(options["pipelines"] or ["__default__"])
    if not any(options[key] for key in _SELECTIONS) and (idle := _idle_makers(names, context)):
        names += idle
        options.update(pipeline=None, pipelines=names)
    whole = _chosen(names)
    options.update({key: _with_pipeline(options[key] or (), whole) for key in _NODES})
    chosen = _cut(whole, options)
    run_params = {
        **options,
        "env": context.env,
        "project_path": str(context.project_path),
        "pipeline_names": [name for name in names if name != "__default__"],
        "runtime_params": options["params"],
    }
    MissingInputHooks().before_pipeline_run(run_params, chosen, context.catalog)
    if file := mlflow_store.store_file(context):
        mlflow_store.check_writable(file)
    if any(node.short_name == "judge_challenger" for node in chosen.nodes):
        _check_challenger(context)
    return context


def _check_challenger(context: Any) -> None:
    """Raise RegistryError where there is no version to judge."""
    mlflow_store.connect(context)
    from ruri_kedro.registry.versions.registered import find_version

    promotion = context.params["promotion"]
    find_version(promotion["model"], promotion.get("version"))


def _chosen(names: Iterable[str]) -> Pipeline:
    """The pipelines of these names as one."""
    pipelines.set_requested(None)
    for name in names:
        if name not in pipelines:
            raise RecipeError(f"--pipelines {name}: there is no such pipeline.{_hint(name, pipelines)}")
    return sum((pipelines[name] for name in names), start=Pipeline([]))


def _idle_makers(names: Sequence[str], context: Any) -> list[str]:
    """The pipelines in which no source takes part and that make a model which those of these names miss.

    They train nothing and hand their model on, so nobody should have to ask for them.
    """
    idle, chosen = None, list(names)
    while missing := [name for name in data_inputs(_chosen(chosen)) if not context.catalog.exists(name)]:
        idle = _idle_pipelines(context.params) if idle is None else idle  # read where something is missing only
        makers = {maker_of(name) for name in missing} & idle - {*chosen}
        if not makers:
            break
        chosen += sorted(makers)
    return chosen[len(names) :]


def _idle_pipelines(params: Mapping[str, Any]) -> set[str]:
    """The pipelines in which no source takes part. Raises RecipeError for sources that are none."""
    check_blocks(params, "sources")
    busy = {stage.pipeline_name for stage in STAGES.values() if takes_part(stage.name, params["sources"])}
    return {stage.pipeline_name for stage in STAGES.values()} - busy


def _with_pipeline(names: Iterable[str], whole: Pipeline) -> list[str]:
    """Names of nodes as Kedro has them: `finetuning.finetune`, also for `finetune`, if only one pipeline has that."""
    full: dict[str, list[str]] = {}
    for node in whole.nodes:
        full.setdefault(node.short_name, []).append(node.name)
    return [full[name][0] if len(full.get(name, ())) == 1 else name for name in names]


def _cut(whole: Pipeline, options: Mapping[str, Any]) -> Pipeline:
    """The part of a pipeline that the options choose."""
    nodes, datasets = {node.name for node in whole.nodes}, whole.datasets()
    short = {node.short_name for node in whole.nodes}
    there = {
        "tags": {tag for node in whole.nodes for tag in node.tags},
        "namespaces": {prefix for node in whole.nodes for prefix in node.namespace_prefixes},
        "node_names": nodes,
        "from_nodes": nodes,
        "to_nodes": nodes,
        "from_inputs": datasets,
        "to_outputs": datasets,
    }
    for key, option in _SELECTIONS.items():
        known = there[key] | short if key in _NODES else there[key]
        for name in options[key] or ():
            if name not in there[key]:
                raise RecipeError(f"{option} {name}: the run has nothing of this name.{_hint(name, known)}")
    wanted = {key: options[key] or None for key in _SELECTIONS}
    try:
        return whole.filter(node_namespaces=wanted.pop("namespaces"), **wanted)
    except ValueError as error:  # such as a selection that leaves nothing
        raise RecipeError(str(error)) from error


def _hint(name: str, there: Iterable[str]) -> str:
    """The nearest name, or all where none is near."""
    known = sorted(other for other in there if other != "__default__")
    near = get_close_matches(name, known, n=1)
    return f" Did you mean {near[0]}?" if near else f" There are: {', '.join(known) or 'none'}."
