"""A dry run: what searches, teacher and trainings would cost. Imports that take long stand inside the functions."""

import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from kedro.framework.hooks import hook_impl
from kedro.io import CatalogProtocol
from kedro.pipeline import Node, Pipeline

from ruri_kedro.errors import RecipeError, RuriError
from ruri_kedro.hooks.inputs import remedies
from ruri_kedro.hooks.refusal import fail
from ruri_kedro.hooks.unmined_examples import READ, unmined_examples
from ruri_kedro.recipe.addresses import resolve
from ruri_kedro.recipe.stages import BASE, BASE_KIND, STAGES, Stage, kind_of_model, takes_part

if TYPE_CHECKING:
    from ruri_kedro.training.dry_run import Cost, Estimate


class DryRunHooks:
    """With the parameter `dry_run` says what a run would cost, and ends it before it is tracked."""

    @hook_impl(tryfirst=True)
    def before_pipeline_run(self, run_params: dict[str, Any], pipeline: Pipeline, catalog: CatalogProtocol) -> None:
        """Print the costs and end the command with success. What they need and is not stored yet is named."""
        if not ("params:dry_run" in catalog and catalog.load("params:dry_run")):
            return
        names = {node.short_name for node in pipeline.nodes}
        if sweep := next((node for node in pipeline.nodes if node.short_name == "run_sweep"), None):
            self._size(sweep, catalog)
        stages = [stage for stage in STAGES.values() if stage.node in names]
        if "params:sources" in catalog:
            stages = _with_sources(stages, catalog.load("params:sources"))
        stages = _estimated(stages)
        # What is missing, and what is made in its place where only the searches have not been done.
        needed = {stage.name: _needed(stage, names, catalog) for stage in stages}
        missing = sorted({name for wanted in needed.values() for name in wanted if not catalog.exists(name)})
        if missing:
            lines = remedies(missing, catalog, run_params)
            click.echo("\n".join(["Not everything can be estimated, data are missing.", *lines]))
        ready = [stage for stage in stages if not needed[stage.name] & set(missing)]
        if ready:
            _say_costs(ready, pipeline, catalog)
        click.echo("Dry run: nothing was trained or stored." if stages else "Dry run: this run trains nothing.")
        raise click.exceptions.Exit(0)

    def _size(self, sweep: Node, catalog: CatalogProtocol) -> None:
        """Print what is left of a sweep, and end the command with success."""
        from ruri_kedro.pipelines.sweep.nodes import size_sweep

        try:
            click.echo(size_sweep(*(catalog.load(name) for name in sweep.inputs)))
        except RuriError as error:
            fail(error)
        click.echo("Dry run: nothing was trained or stored.")
        raise click.exceptions.Exit(0)


def _say_costs(stages: list[Stage], pipeline: Pipeline, catalog: CatalogProtocol) -> None:
    """Print what the searches, the teacher and the trainings cost; end the command where a training could not start."""
    from ruri_kedro.training.dry_run import cost_table, estimate_table, total_time

    with tempfile.TemporaryDirectory() as folder:
        base = _base_model(pipeline, catalog, Path(folder) / "base")
        examples = {stage.name: _read_examples(stage, catalog, Path(folder) / stage.name) for stage in stages}
        estimates = [*_searches(stages, base, pipeline, catalog), *_teachers(stages, examples, base, pipeline, catalog)]
        costs: list[Cost] = []
        errors: list[RuriError] = []
        for stage in stages:
            try:
                costs.append(_cost(stage, *examples[stage.name], base, catalog))
            except RuriError as error:
                errors.append(error)
    if estimates:
        click.echo(estimate_table(estimates))
    if costs:
        click.echo(cost_table(costs, Path(catalog.load("params:run")["checkpoints"])))
        click.echo(total_time(estimates, costs))
    if errors:
        fail(RecipeError("\n".join(map(str, errors))))


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


def _examples(stage: Stage, catalog: CatalogProtocol) -> str | None:
    """The data set of a training's examples that is there; None if there is none.

    Before the teacher has dropped any there are more examples: the cost is then the most that it can be.
    """
    return next((name for name in (stage.examples, stage.mined_examples) if catalog.exists(name)), None)


def _needed(stage: Stage, names: set[str], catalog: CatalogProtocol) -> set[str]:
    """The data sets that the cost of a stage is told from.

    Examples that a node of this run would choose are made with random negatives, if the tables for that are there.
    """
    if found := _examples(stage, catalog):
        return {"passages", found}
    is_chosen_here = f"choose_{stage.mined_examples}" in names
    return set(READ) if is_chosen_here and all(map(catalog.exists, READ)) else {"passages", stage.mined_examples}


def _read_examples(stage: Stage, catalog: CatalogProtocol, folder: Path) -> tuple[Any, str | None]:
    """The examples of a stage, and what is to be said of them."""
    found = _examples(stage, catalog)
    if found == stage.examples:
        return catalog.load(found), None
    if found:
        return catalog.load(found), "the teacher has not yet dropped weak positives: this is the most that it can be"
    note = "negatives have not been searched yet: random ones stand in for them, with other lengths"
    return unmined_examples(stage, catalog.load, folder), note


def _base_model(pipeline: Pipeline, catalog: CatalogProtocol, folder: Path) -> Path:
    """The folder of a model of the base's kind: that of the catalog, or made as the run would make it."""
    maker = next((node for node in pipeline.nodes if node.outputs == [BASE]), None)
    if maker is None:
        starts = [stage.start for stage in reversed(STAGES.values()) if kind_of_model(stage.start) == BASE_KIND]
        return catalog.load(next((name for name in starts if catalog.exists(name)), BASE))
    maker.func(*(catalog.load(name) for name in maker.inputs)).save_pretrained(str(folder))
    return folder


def _searches(stages: list[Stage], base: Path, pipeline: Pipeline, catalog: CatalogProtocol) -> Iterator["Estimate"]:
    """What the searches of this run cost."""
    names = {node.name for node in pipeline.nodes}
    for mining in dict.fromkeys(stage.mining for stage in stages):
        if f"mining_{mining}.search" not in names or not catalog.exists("pairs"):
            continue
        from ruri_kedro.mining.dry_run import encoder_of, search_estimates

        rules, encoder = catalog.load(f"params:mining.{mining}"), None
        if "encoder" in rules:
            read = (catalog.load(f"params:{name}") for name in ("prompts", "encoding", "multi_vector"))
            encoder = partial(encoder_of, base, rules, *read)
        tables = (catalog.load(name) for name in ("passages", "pairs", "params:sources"))
        own = [stage.name for stage in stages if stage.mining == mining]
        shared = catalog.load("params:engine") == "ray"
        yield from search_estimates(*tables, rules, catalog.load("params:bm25"), encoder, own, shared)


def _teachers(
    stages: list[Stage], examples: Mapping[str, tuple[Any, Any]], base: Path, pipeline: Pipeline,
    catalog: CatalogProtocol,
) -> Iterator["Estimate"]:  # fmt: skip
    """What the scores of the teachers of this run cost."""
    names = {node.short_name for node in pipeline.nodes}
    for stage in (stage for stage in stages if stage.teacher and "score_with_teacher" in names):
        from ruri_kedro.models.base import device_kind
        from ruri_kedro.models.forward import score_pairs
        from ruri_kedro.models.kinds import KINDS
        from ruri_kedro.models.pair_scores import SCORERS
        from ruri_kedro.training.dry_run import teacher_estimate

        settings, run = catalog.load(f"params:{stage.block}"), catalog.load("params:run")
        row, length = settings["teacher"], settings["teacher_max_length"]
        read = {"chunk_tokens": settings["chunk_tokens"], "precision": settings["teacher_precision"]}
        if row["name"] is None:
            prompts = catalog.load("params:prompts")
            start = resolve(KINDS[kind_of_model(stage.teacher)].start)
            teacher = start(base, prompts, length, run["seed"]).to(device_kind(run["device"]))
            score = partial(score_pairs, teacher, max_length=length, **read)
        else:
            score = SCORERS[row["kind"]](row["name"], row["revision"], run["device"], length, **read)
        found = teacher_estimate(stage.name, examples[stage.name][0].iter_rows(), catalog.load("passages"), score)
        if found:
            yield found


def _cost(row: Stage, examples: Any, note: str | None, base: Path, catalog: CatalogProtocol) -> "Cost":
    from ruri_kedro.corpora.source import own_prompts
    from ruri_kedro.training.stage_cost import stage_cost

    run, settings, prompts = (catalog.load(name) for name in ("params:run", f"params:{row.block}", "params:prompts"))
    sources = catalog.load("params:sources") if "params:sources" in catalog else {}
    cost = stage_cost(
        row, base, examples, catalog.load("passages"), settings, run, prompts, own_prompts(sources),
        catalog.load("params:base_model")["training_head"],
    )  # fmt: skip
    return replace(cost, notes=(*cost.notes, note)) if note else cost
