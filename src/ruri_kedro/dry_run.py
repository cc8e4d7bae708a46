"""A dry run: what the trainings of a pipeline would cost. Torch is imported inside the functions."""

import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from kedro.framework.hooks import hook_impl
from kedro.io import CatalogProtocol
from kedro.pipeline import Pipeline

from ruri_kedro.errors import RecipeError, RuriError
from ruri_kedro.hooks import fail, remedies
from ruri_kedro.pipelines.shared import stage_of
from ruri_kedro.tables.objectives import RERANKING, TAUGHT, UNTAUGHT

if TYPE_CHECKING:
    from ruri_kedro.training.dry_run import Cost


@dataclass(frozen=True)
class Training:
    """A node that trains. Of several data sets the first that is stored is used."""

    node: str
    stage: str
    settings: str
    examples: tuple[str, ...]
    reranks: bool = False


TRAININGS = (
    Training("pretrain", "pretraining", "params:pretraining", ("pretraining_examples",)),
    Training(
        "train_reranker_stage1", "reranking_stage1", "params:reranking.stage1", ("reranking_stage1_examples",), True
    ),
    Training(
        "train_reranker_stage2", "reranking_stage2", "params:reranking.stage2", ("reranking_stage2_examples",), True
    ),
    # Before the teacher has dropped any there are more examples: the cost is then the most that it can be.
    Training("finetune", "finetuning", "params:finetuning", ("distilled_examples", "finetuning_examples")),
)


class DryRunHooks:
    """With the parameter `dry_run` says what the trainings of a run would cost, and ends it before it is tracked."""

    @hook_impl(tryfirst=True)
    def before_pipeline_run(self, run_params: dict[str, Any], pipeline: Pipeline, catalog: CatalogProtocol) -> None:
        """Print the costs and end the command with success. What they need and is not stored yet is named."""
        if not ("params:dry_run" in catalog and catalog.load("params:dry_run")):
            return
        names = {node.name for node in pipeline.nodes}
        trainings = [training for training in TRAININGS if training.node in names]
        needed = {name for training in trainings for name in ("passages", _examples(training, catalog))}
        missing = sorted(name for name in needed if not catalog.exists(name))
        if missing:
            wet = {name: value for name, value in (run_params.get("runtime_params") or {}).items() if name != "dry_run"}
            lines = remedies(missing, catalog, {**run_params, "runtime_params": wet})
            click.echo("\n".join(["Not everything can be estimated, data are missing.", *lines]))
        ready = [training for training in trainings if not {"passages", _examples(training, catalog)} & set(missing)]
        if ready:
            from ruri_kedro.training.dry_run import cost_table

            costs, errors = _costs(ready, pipeline, catalog)
            if costs:
                click.echo(cost_table(costs, Path(catalog.load("params:run")["checkpoints"])))
            if errors:
                fail(RecipeError("\n".join(map(str, errors))))
        click.echo("Dry run: nothing was trained or stored." if trainings else "Dry run: this run trains nothing.")
        raise click.exceptions.Exit(0)


def _examples(training: Training, catalog: CatalogProtocol) -> str:
    """The data set of examples that is there for a training; if none is, the one to be made."""
    return next((name for name in training.examples if catalog.exists(name)), training.examples[-1])


def _costs(
    trainings: list[Training], pipeline: Pipeline, catalog: CatalogProtocol
) -> tuple[list["Cost"], list[RuriError]]:
    """Cost of each training, by steps of it on the devices of the run, and why others could not start."""
    from ruri_kedro.encoders.base import load_encoder

    maker = next((node for node in pipeline.nodes if node.outputs == ["base_model"]), None)
    with tempfile.TemporaryDirectory() as folder:
        base = Path(folder) / "base"
        if maker is None:
            name = "pretrained_model" if catalog.exists("pretrained_model") else "base_model"
            model = load_encoder(catalog.load(name))
        else:
            model = maker.func(*(catalog.load(name) for name in maker.inputs))
        model.save_pretrained(str(base))
        costs: list[Cost] = []
        errors: list[RuriError] = []
        for training in trainings:
            try:
                costs.append(_cost(training, base, catalog))
            except RuriError as error:
                errors.append(error)
    return costs, errors


def _cost(training: Training, base: Path, catalog: CatalogProtocol) -> "Cost":
    from ruri_kedro.encoders.base import build_cross_encoder, load_encoder
    from ruri_kedro.training.dry_run import training_cost
    from ruri_kedro.training.run import train_embedder, train_reranker

    run, settings, prompts = (catalog.load(name) for name in ("params:run", training.settings, "params:prompts"))
    passages = catalog.load("passages")

    def probe(examples: Any, stage: Any, on_step: Any) -> None:
        if training.reranks:
            reranker = build_cross_encoder(base, settings["max_length"], run["seed"])
            train_reranker(reranker, examples, passages, stage, on_step)
        else:
            teacher = _any_scores(examples) if stage.name == "finetuning" else None
            train_embedder(load_encoder(base, prompts), examples, passages, prompts, stage, on_step, teacher)

    examples, stage = catalog.load(_examples(training, catalog)), stage_of(training.stage, settings, run)
    if training.reranks:
        return training_cost(examples, passages, RERANKING, stage, False, probe)
    objectives = UNTAUGHT + TAUGHT if training.stage == "finetuning" else UNTAUGHT
    cost = training_cost(examples, passages, objectives, stage, settings["homogeneous"], probe)
    if _examples(training, catalog) == training.examples[0]:
        return cost
    most = "the teacher has not yet dropped weak positives: this is the most that it can be"
    return replace(cost, notes=(*cost.notes, most))


def _any_scores(examples: Any) -> dict[tuple[str, str], float]:
    """Scores in place of a teacher's: what it thinks has no cost."""
    return {
        (row["query_id"], docid): float(rank)
        for row in examples.iter_rows()
        for rank, docid in enumerate((row["positive"], *row["negatives"]))
    }
