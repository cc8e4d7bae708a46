"""A dry run: what the trainings of a pipeline would cost. Imports that take long stand inside the functions."""

import tempfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from kedro.framework.hooks import hook_impl
from kedro.io import CatalogProtocol
from kedro.pipeline import Pipeline

from ruri_kedro.errors import RecipeError, RuriError
from ruri_kedro.hooks.inputs import remedies
from ruri_kedro.hooks.refusal import fail
from ruri_kedro.recipe.addresses import resolve
from ruri_kedro.recipe.stages import BASE, BASE_KIND, STAGES, Stage, kind_of_model, takes_part

if TYPE_CHECKING:
    from ruri_kedro.training.dry_run import Cost


class DryRunHooks:
    """With the parameter `dry_run` says what the trainings of a run would cost, and ends it before it is tracked."""

    @hook_impl(tryfirst=True)
    def before_pipeline_run(self, run_params: dict[str, Any], pipeline: Pipeline, catalog: CatalogProtocol) -> None:
        """Print the costs and end the command with success. What they need and is not stored yet is named."""
        if not ("params:dry_run" in catalog and catalog.load("params:dry_run")):
            return
        names = {node.short_name for node in pipeline.nodes}
        stages = [stage for stage in STAGES.values() if stage.node in names]
        if "params:sources" in catalog:
            stages = _with_sources(stages, catalog.load("params:sources"))
        stages = _estimated(stages)
        needed = {name for stage in stages for name in ("passages", _examples(stage, catalog))}
        missing = sorted(name for name in needed if not catalog.exists(name))
        if missing:
            wet = {name: value for name, value in (run_params.get("runtime_params") or {}).items() if name != "dry_run"}
            lines = remedies(missing, catalog, {**run_params, "runtime_params": wet})
            click.echo("\n".join(["Not everything can be estimated, data are missing.", *lines]))
        ready = [stage for stage in stages if not {"passages", _examples(stage, catalog)} & set(missing)]
        if ready:
            from ruri_kedro.training.dry_run import cost_table

            costs, errors = _costs(ready, pipeline, catalog)
            if costs:
                click.echo(cost_table(costs, Path(catalog.load("params:run")["checkpoints"])))
            if errors:
                fail(RecipeError("\n".join(map(str, errors))))
        click.echo("Dry run: nothing was trained or stored." if stages else "Dry run: this run trains nothing.")
        raise click.exceptions.Exit(0)


def _with_sources(stages: list[Stage], sources: Mapping[str, Mapping]) -> list[Stage]:
    """The stages that train; of the others it is said what they do."""
    for stage in stages:
        if not takes_part(stage.name, sources):
            click.echo(f"{stage.name}: no source takes part in it. It costs nothing, the model is handed on unchanged.")
    return [stage for stage in stages if takes_part(stage.name, sources)]


def _estimated(stages: list[Stage]) -> list[Stage]:
    """The stages whose steps go by examples; of the others it is said what they do."""
    for stage in stages:
        if stage.train:
            click.echo(f"{stage.name}: its texts are packed into blocks of tokens, so its cost is not estimated.")
    return [stage for stage in stages if not stage.train]


def _examples(stage: Stage, catalog: CatalogProtocol) -> str:
    """The data set of examples that is there for a training; if none is, the one to be made.

    Before the teacher has dropped any there are more examples: the cost is then the most that it can be.
    """
    names = (stage.examples, stage.mined_examples)
    return next((name for name in names if catalog.exists(name)), names[-1])


def _costs(stages: list[Stage], pipeline: Pipeline, catalog: CatalogProtocol) -> tuple[list["Cost"], list[RuriError]]:
    """Cost of each training, by steps of it on the devices of the run, and why others could not start."""
    maker = next((node for node in pipeline.nodes if node.outputs == [BASE]), None)
    with tempfile.TemporaryDirectory() as folder:
        base = Path(folder) / "base"
        if maker is None:
            starts = [stage.start for stage in reversed(STAGES.values()) if kind_of_model(stage.start) == BASE_KIND]
            base = catalog.load(next((name for name in starts if catalog.exists(name)), BASE))
        else:
            maker.func(*(catalog.load(name) for name in maker.inputs)).save_pretrained(str(base))
        costs: list[Cost] = []
        errors: list[RuriError] = []
        for stage in stages:
            try:
                costs.append(_cost(stage, base, catalog))
            except RuriError as error:
                errors.append(error)
    return costs, errors


def _cost(row: Stage, base: Path, catalog: CatalogProtocol) -> "Cost":
    from ruri_kedro.corpora.source import own_prompts
    from ruri_kedro.models.kinds import kind_in
    from ruri_kedro.training.dry_run import training_cost
    from ruri_kedro.training.stages import stage_of, training_of

    run, settings, prompts = (catalog.load(name) for name in ("params:run", f"params:{row.block}", "params:prompts"))
    passages, kind = catalog.load("passages"), kind_in(base, row.kind)
    sources = catalog.load("params:sources") if "params:sources" in catalog else {}

    def probe(examples: Any, stage: Any, on_step: Any) -> None:
        given = {
            "prompts": prompts,
            "source_prompts": own_prompts(sources),
            "teacher": _any_scores(examples) if row.teacher else None,
            "training_head": catalog.load("params:base_model")["training_head"],
        }
        model = resolve(kind.start)(base, prompts, settings["max_length"], run["seed"])
        train, trains_with = training_of(row, kind)
        own = {argument: given[argument] for argument in trains_with}
        train(model, examples=examples, passages=passages, stage=stage, on_step=on_step, **own)

    # What the training itself would look at, and some of its steps.
    examples, stage = catalog.load(_examples(row, catalog)), stage_of(row.name, settings, run)
    homogeneous = not kind.mixes_sources and settings["homogeneous"]
    cost = training_cost(examples, passages, row.objectives, stage, homogeneous, probe)
    if _examples(row, catalog) == row.examples:
        return cost
    most = "the teacher has not yet dropped weak positives: this is the most that it can be"
    return replace(cost, notes=(*cost.notes, most))


def _any_scores(examples: Any) -> dict[tuple[str, str], float]:
    """Scores in place of a teacher's: which they are does not change the cost."""
    return {
        (row["query_id"], docid): float(rank)
        for row in examples.iter_rows()
        for rank, docid in enumerate((row["positive"], *row["negatives"]))
    }
