"""The plan of a training, and what each source has of it: its steps, and its examples that are in no batch.

A source from which nothing would be learnt is an error before anything is trained, unless the recipe allows it.
"""

import logging
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ruri_kedro.errors import RecipeError, TrainingError
from ruri_kedro.recipe.objectives import NEEDS, Group, group_name
from ruri_kedro.tables import Table
from ruri_kedro.training.measures import metric_of
from ruri_kedro.training.plan import Plan, plan_batches

log = logging.getLogger(__name__)

STEPS_FILE = "steps.json"  # beside the checkpoints of a stage: what `Shares.report` gives
DEVELOPMENT_FILE = "development.json"  # beside it: what `Development.report` gives

OnStep = Callable[[int, Mapping[str, float]], None]


class Planned(Protocol):
    """What a plan is made of, as a TrainingSet has it. rows: examples."""

    identities: np.ndarray  # int (rows, c)
    groups: np.ndarray  # int64 (rows,)
    group_names: list[str]
    objectives: list[str]


@dataclass(frozen=True)
class BatchSettings:
    """How the examples of a stage become batches."""

    batch_size: int
    epochs: int
    homogeneous: bool
    seed: int
    max_examples: int | None = None  # in place of epochs
    draw_one: bool = False  # of the examples of an anchor, and of their negatives
    batch_by: Mapping[str, str | None] = field(default_factory=dict)  # a source: what its examples of a batch share

    def plan(self, data: Planned, topics: np.ndarray | None = None) -> Plan:
        """The batches of all epochs. Texts may repeat in those of an objective without negatives from the batch.

        topics: int64 (rows,), as `batch_by` tells them apart.
        """
        distinct = [NEEDS[objective].in_batch for objective in data.objectives]
        return plan_batches(
            data.groups, data.identities, self.batch_size, self.epochs, self.homogeneous, self.seed, distinct,
            self.max_examples, self.draw_one, topics,
        )  # fmt: skip

    @property
    def length(self) -> str:
        """How long the training is, in words."""
        return f"{self.max_examples:,} examples" if self.max_examples else f"{self.epochs} epochs"


@dataclass(frozen=True)
class Share:
    """What the examples of one source and objective have of a training, over all of its steps."""

    source: str  # with the objective, as in reports
    objective: str
    examples: int
    steps: int  # that have one of them at least
    smallest_batch: int  # rows
    rows: int  # of these steps together
    in_no_batch: int  # counted in each epoch


@dataclass(frozen=True)
class Shares:
    """What every source and objective has of a training of so many steps."""

    steps: int
    batch_size: int
    homogeneous: bool
    each: tuple[Share, ...]
    is_short: bool = False  # whether the training sees fewer examples than a batch has

    @staticmethod
    def of(plan: Plan, data: Planned, settings: BatchSettings) -> "Shares":
        """Those of a plan of `data`."""
        count = len(data.group_names)
        examples = np.bincount(data.groups, minlength=count)
        left = np.bincount(data.groups[plan.dropped["row"]], minlength=count)
        groups, used, smallest = plan.batches[:, 0], plan.batches[:, 2], plan.batches[:, 2]
        if not settings.homogeneous:  # every source of a batch takes part in it
            in_file = plan.batches[np.argsort(plan.batches[:, 1])]
            batch_of = np.repeat(np.arange(len(plan)), in_file[:, 2])
            places, used = np.unique(batch_of * count + data.groups[plan.rows], return_counts=True)
            groups, smallest = places % count, in_file[places // count, 2]
        each = [
            Share(
                source=name,
                objective=objective,
                examples=int(examples[number]),
                steps=int((groups == number).sum()),
                smallest_batch=int(smallest[groups == number].min(initial=settings.batch_size)),
                rows=int(used[groups == number].sum()),
                in_no_batch=int(left[number]),
            )
            for number, (name, objective) in enumerate(zip(data.group_names, data.objectives, strict=True))
        ]
        is_short = settings.max_examples is not None and settings.max_examples < settings.batch_size
        return Shares(len(plan), settings.batch_size, settings.homogeneous, tuple(each), is_short)

    def report(self) -> dict[str, Any]:
        """As JSON: the steps of each objective, and of each source."""
        objectives = sorted({share.objective for share in self.each})
        return {
            "steps": self.steps,
            "objectives": {name: self._steps_of(name) for name in objectives},
            "sources": [asdict(share) for share in self.each],
        }

    def _steps_of(self, objective: str) -> int:
        if not self.homogeneous:  # batches that mix sources have one objective
            return self.steps
        return sum(share.steps for share in self.each if share.objective == objective)

    def metrics(self) -> dict[str, float]:
        """By source: its steps, and its examples that are in no batch."""
        steps = {metric_of("steps", share.source): float(share.steps) for share in self.each}
        return steps | {metric_of("in_no_batch", share.source): float(share.in_no_batch) for share in self.each}

    def steps_text(self) -> str:
        """The steps of each source in words."""
        return ", ".join(f"{share.source} {share.steps:,}" for share in self.each)

    def in_no_batch_text(self) -> str:
        """How many examples are in no batch, and of which sources."""
        left = [share for share in self.each if share.in_no_batch]
        total = sum(share.in_no_batch for share in left)
        named = ", ".join(f"{share.source} {share.in_no_batch:,}" for share in left)
        return f"{total:,} ({named})" if left else "none"

    def small_batches_text(self) -> str:
        """The sources whose batches are smaller than their examples allow, since these repeat their texts."""
        total = sum(share.examples for share in self.each)
        wanted = {share: min(self.batch_size, share.examples if self.homogeneous else total) for share in self.each}
        return ", ".join(
            f"{share.source} {share.smallest_batch} instead of {size}"
            for share, size in wanted.items()
            if share.steps and share.smallest_batch < size
        )

    def check(self, stage: str, allow_untrained: bool) -> None:
        """Raise an error that names the sources without a step; a warning where the recipe allows them."""
        faults = {share.source: self._fault(share) for share in self.each if not share.steps}
        refuse_untrained(faults, len(self.each) - len(faults), stage, allow_untrained)

    def _fault(self, share: Share) -> str:
        if self.is_short or not share.in_no_batch:
            return "none of its batches is among the first max_examples. Raise max_examples, or lower batch_size."
        if not self.homogeneous:
            return "all its examples are in last batches that are not full. Lower batch_size."
        return (
            "its texts repeat so often that no two examples fit into one batch, and one alone has no negatives. Give "
            "it negatives, or an objective without negatives from the batch."
        )

    def notes(self) -> list[str]:
        """What is worth knowing of the plan before the training, a line each."""
        idle = ", ".join(share.source for share in self.each if not share.steps)
        lines = [f"steps by source: {self.steps_text()}; examples in no batch: {self.in_no_batch_text()}"]
        if small := self.small_batches_text():
            lines.append(f"texts repeat, so there are batches smaller than batch_size: {small}")
        return [*lines, f"nothing is learnt from {idle}"] if idle else lines


def example_faults(examples: Table, stage: str) -> tuple[dict[str, str], int]:
    """The sources that cannot teach a stage anything, each with the reason, and how many can.

    Warns of single examples that teach nothing.
    """
    faults: dict[str, str] = {}
    found = _negatives_by_group(examples)
    sources = {source for source, _ in found}
    for part in set(examples.parts()) - sources:
        faults[part] = "it has no example for this stage. The log of negative_mining and the report on leaks say why."
    for (source, objective), counts in sorted(found.items()):
        name, total = group_name((source, objective)), sum(counts.values())
        if not total:
            faults[name] = "all its examples are held out (held_out), none is left to train on."
            continue
        needed = NEEDS[objective].negatives
        few = sum(count for negatives, count in counts.items() if negatives < needed)
        if few == total:
            faults[name] = (
                f"no example has {needed} negatives, as {objective} needs. Give it negatives "
                f"(sources.{source}.stages.{stage}) and run negative_mining again, or another objective."
            )
        elif few:
            log.warning(
                "%s: %d of %d examples of %s teach nothing: they have fewer than %d negatives, as %s needs. Give more, "
                "or another objective.", stage, few, total, name, needed, objective,
            )  # fmt: skip
    return faults, len(found) - len(faults.keys() & {group_name(group) for group in found})


def _negatives_by_group(examples: Table) -> dict[Group, Counter[int]]:
    """By source and objective how many training examples have so many negatives."""
    found: dict[Group, Counter[int]] = {}
    for batch in examples.batches(columns=["source", "objective", "split", "negatives"]):
        rows = pa.table(
            {name: batch[name] for name in ("source", "objective", "split")}
            | {"count": pc.list_value_length(batch["negatives"])}
        )
        for row in rows.group_by(rows.column_names).aggregate([([], "count_all")]).to_pylist():
            counts = found.setdefault((row["source"], row["objective"]), Counter())
            if row["split"] == "train":
                counts[row["count"]] += row["count_all"]
    return found


def refuse_untrained(faults: Mapping[str, str], learnt: int, stage: str, allowed: bool) -> None:
    """Raise an error that names the sources from which nothing is learnt; a warning where the recipe allows it.

    learnt: sources from which something is learnt; without any there is an error in any case.
    """
    if not faults:
        return
    lines = "\n".join(f"  {name}: {reason}" for name, reason in sorted(faults.items()))
    if not learnt:
        raise TrainingError(f"{stage} would learn nothing:\n{lines}")
    if not allowed:
        raise RecipeError(
            f"{stage} would learn nothing from {len(faults)} of its {learnt + len(faults)} sources:\n{lines}\n"
            "To train without them take them out of this stage, or set run.allow_untrained: true."
        )
    log.warning("%s: nothing is learnt from some sources (run.allow_untrained).\n%s", stage, lines)


def with_shares(on_step: OnStep, shares: Shares) -> OnStep:
    """`on_step`, with the steps and left examples of each source in the report of the last step."""

    def report(step: int, metrics: Mapping[str, float]) -> None:
        on_step(step, {**metrics, **shares.metrics()} if step == shares.steps else metrics)

    return report
