"""What is left of a sweep before anything of it is spent: cells, steps, hours, disk."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ruri_kedro.corpora.source import own_prompts
from ruri_kedro.experiments.cell_runs import CellRun
from ruri_kedro.experiments.steps import Step, StepStore
from ruri_kedro.recipe.stages import Stage, stage_of_model
from ruri_kedro.tables.checksums import facts_of
from ruri_kedro.text.layout import aligned, duration
from ruri_kedro.training.logs import quiet

_FORWARD = 3  # times as fast as a step of training, which goes backward, too
_STATES = 3  # tensors of a checkpoint for each weight: the weight and two moments of AdamW


@dataclass(frozen=True)
class Size:
    """What one training of a cell takes, and the scoring of its model."""

    steps: int
    seconds: float
    development_seconds: float
    test_seconds: float
    model_gb: float
    memory_gb: float

    @property
    def scoring_seconds(self) -> float:
        """Of the development data while training, and of the tests behind it."""
        return self.development_seconds + self.test_seconds


class TrialStore(StepStore):
    """Steps in a folder of their own, with those that another store has done."""

    def __init__(self, folder: Path, kept: StepStore) -> None:
        """`folder` takes the steps that `kept` has not."""
        super().__init__(folder, kept._recipe_data, kept._entries)
        self._kept = kept

    def is_done(self, step: Step) -> bool:
        """Whether the step is done in either."""
        return self._kept.is_done(step) or super().is_done(step)

    def load(self, step: Step | None, name: str) -> Any:
        """An output, from where it is."""
        return self._kept.load(step, name) if step is None or self._kept.is_done(step) else super().load(step, name)


def size_text(runs: Sequence[CellRun], bases: int, store: StepStore, trial: TrialStore) -> str:
    """What is done and what is left, as lines of text. Steps before the trainings are made in `trial`, not kept.

    Trainings that differ in seed and learning rate only take as long, so one of them is tried.
    """
    left = [run for run in runs if not store.is_done(run.steps[-1])]
    cells, seeds = len({run.cell.title for run in runs}), len({run.seed for run in runs})
    said = [f"{cells} cells, {seeds} seeds: {len(runs)} runs, and {bases} untrained models to compare with."]
    said.append(f"Done: {len(runs) - len(left)} runs. Left: {len(left)}.")
    sizes: dict[tuple, Size] = {}
    counts: dict[tuple, int] = {}
    titles: dict[tuple, str] = {}
    for run in left:
        key = alike(run)
        if key not in sizes:
            sizes[key], titles[key] = size_of(run, trial), run.cell.title
        counts[key] = counts.get(key, 0) + 1
    if sizes:
        said.append(_table(sizes, counts, titles))
        said.append(_sums(sizes, counts))
    return "\n".join(said)


def _table(sizes: Mapping[tuple, Size], counts: Mapping[tuple, int], titles: Mapping[tuple, str]) -> str:
    head = ("as the cell", "runs", "steps each", "training each", "scoring each", "memory")
    body = [
        (titles[key], str(counts[key]), f"{size.steps:,}", duration(size.seconds), duration(size.scoring_seconds),
         f"{size.memory_gb:.1f} GiB")
        for key, size in sizes.items()
    ]  # fmt: skip
    return aligned([head, *body], left=1).rstrip()


def _sums(sizes: Mapping[tuple, Size], counts: Mapping[tuple, int]) -> str:
    steps = sum(counts[key] * size.steps for key, size in sizes.items())
    seconds = sum(counts[key] * (size.seconds + size.scoring_seconds) for key, size in sizes.items())
    disk = sum(counts[key] * size.model_gb for key, size in sizes.items())
    return (
        f"Together: {steps:,} steps, about {duration(seconds)} one after the other, about {disk:.1f} GiB of models. "
        "What comes before the trainings, and tests of the chosen cells only, are not in it."
    )


def _training(run: CellRun) -> tuple[Stage, Step]:
    stage = stage_of_model(run.cell.model)
    return stage, next(step for step in run.steps if step.node.name == stage.node)


def alike(run: CellRun) -> tuple:
    """What the time of a training depends on: its data and model, and its parameters without rate and seed."""
    stage, step = _training(run)
    settings = {name: value for name, value in step.params[f"params:{stage.block}"].items() if name != "learning_rate"}
    made = (_base_of(step, stage), _made_of(step, stage.mined_examples), step.inputs["passages"])
    return tuple(maker.folder for maker, _ in made), str(sorted(settings.items()))


def size_of(run: CellRun, trial: TrialStore) -> Size:
    """What the training of a run and its scoring take. Steps before the training are made in `trial`."""
    from ruri_kedro.training.stage_cost import stage_cost

    stage, step = _training(run)
    examples, base, passages = _made_of(step, stage.mined_examples), _base_of(step, stage), step.inputs["passages"]
    development = step.inputs["development_sets"]
    tests = _made_of(run.steps[-1], "test_sets")
    needed = [maker for maker, _ in (examples, base, passages, development, tests)]
    with quiet("ruri_kedro", logging.ERROR):
        for wanted in run.steps:
            if wanted in _behind(needed) and not trial.is_done(wanted):
                trial.run(wanted, None)
        params = {name.removeprefix("params:"): value for name, value in step.params.items()}
        settings = params[stage.block]
        cost = stage_cost(
            stage, trial.load(*base), trial.load(*examples), trial.load(*passages), settings, params["run"],
            params["prompts"], own_prompts(params["sources"]), params["base_model.training_head"],
        )  # fmt: skip
    rows = cost.steps * settings["batch_size"]
    measured = settings["development"]
    pairs = facts_of(trial.load(*development) / measured["task"])["rows"]["pairs"]
    names = [name for name in run.cell.params["tasks"] if name not in run.cell.skipped]
    scored = (
        2 * min(measured["items"] or pairs, pairs) * (measured["evaluations"] + 1),
        2 * sum(sum(facts_of(trial.load(*tests) / name)["rows"].values()) for name in names),
    )
    development, test = (texts * (cost.seconds / max(rows, 1)) / 2 / _FORWARD for texts in scored)
    return Size(cost.steps, cost.seconds, development, test, cost.checkpoint_gb / _STATES, cost.memory_gb)


def _made_of(step: Step, dataset: str) -> tuple[Step, str]:
    """The step behind `step` that makes a data set, and its name."""
    for found in _behind([step]):
        if dataset in found.node.outputs:
            return found, dataset
    raise LookupError(dataset)


def _base_of(step: Step, stage: Stage) -> tuple[Step, str]:
    return _made_of(step, stage.start)


def _behind(steps: Sequence[Step]) -> list[Step]:
    """Steps and all that they read from."""
    found: dict[str, Step] = {}
    waiting = list(steps)
    while waiting:
        step = waiting.pop()
        if step.folder not in found:
            found[step.folder] = step
            waiting += [maker for maker, _ in step.inputs.values() if maker]
    return list(found.values())
