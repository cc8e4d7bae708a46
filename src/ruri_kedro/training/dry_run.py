"""What a training will cost, from some real steps of it on a sample of its examples, with weights that are thrown away.

Steps and tokens are counted or projected from the sample; a source that repeats texts fills somewhat fewer batches.
"""

import logging
import math
import shutil
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import mean, median
from typing import Any

from ruri_kedro.errors import TrainingError
from ruri_kedro.tables import Part, Table, write_table
from ruri_kedro.tables.objectives import Group, group_name
from ruri_kedro.training.data import group_counts
from ruri_kedro.training.logs import quiet
from ruri_kedro.training.measures import source_metric
from ruri_kedro.training.run import KEPT_CHECKPOINTS, Stage

_FULL_BATCHES = 3  # of the largest source; the first step is slower and is not counted
_ROWS = 256  # of each other source

Probe = Callable[[Table, Stage, Callable[[int, Mapping[str, float]], None]], Any]


@dataclass(frozen=True)
class Cost:
    """What one training costs."""

    name: str
    examples: int
    steps: int
    tokens: int  # of the texts, without padding
    padding_share: float
    seconds: float
    memory_gb: float  # the most on one device; without a GPU, of the process
    checkpoint_gb: float  # of one checkpoint
    free_gb: float  # where the checkpoints go

    @property
    def disk_gb(self) -> float:
        """The most that checkpoints take at a time: those kept and the one being written."""
        return self.checkpoint_gb * (KEPT_CHECKPOINTS + 1)


def training_cost(examples: Table, stage: Stage, homogeneous: bool, probe: Probe) -> Cost:
    """Cost of the training of `stage` on `examples`; probe(examples, stage, on_step) does such a training.

    homogeneous: whether a batch has rows of one source only. Raises TrainingError if there are no training rows, and
    whatever the training itself would raise at its start.
    """
    counts = group_counts(examples)
    if not counts:
        raise TrainingError(f"{examples.root}: no training rows. Run negative_mining again and read its log.")
    batch = stage.settings["batch_size"]
    seen: list[Mapping[str, float]] = []
    with tempfile.TemporaryDirectory() as folder:
        wanted = sample_sizes(counts, batch, homogeneous)
        sample = write_table(Path(folder) / "examples", examples.schema, _sample(examples, wanted))
        settings = {**stage.settings, "epochs": 1, "checkpoint_steps": 10**9}
        probed = replace(stage, settings=settings, checkpoints=Path(folder) / "checkpoints", held_out=None)
        # What a training says of its batches is true of the sample only.
        with quiet("ruri_kedro.training.run", logging.ERROR):
            probe(sample, probed, lambda step, metrics: seen.append(metrics))
        saved = sum(path.stat().st_size for path in probed.checkpoints.rglob("step-*/*"))
    if not seen:
        raise TrainingError(
            f"{stage.name}: the first examples repeat their texts too often to fill a batch of {batch}."
        )
    epochs = stage.settings["epochs"]
    batches = counts if homogeneous else {("all", "sources"): sum(counts.values())}
    rows = {group: epochs * _used(count, batch) for group, count in batches.items()}
    tokens, seconds, padding = _projected(rows, seen)
    return Cost(
        name=stage.name,
        examples=sum(counts.values()),
        steps=epochs * steps_of(counts, batch, homogeneous),
        tokens=round(tokens),
        padding_share=padding,
        seconds=seconds,
        memory_gb=max(metrics["memory_gb"] for metrics in seen),
        checkpoint_gb=saved / 2**30,
        free_gb=_free(stage.checkpoints) / 2**30,
    )


def sample_sizes(counts: Mapping[Group, int], batch: int, homogeneous: bool) -> dict[Group, int]:
    """Rows to try of each group: full batches of the largest and some of the others, or shares of mixed batches."""
    if not homogeneous:
        share = min(_FULL_BATCHES * batch / sum(counts.values()), 1)
        return {group: math.ceil(count * share) for group, count in counts.items()}
    largest = max(counts, key=counts.__getitem__)
    return {
        group: min(count, _FULL_BATCHES * batch if group == largest else min(_ROWS, batch))
        for group, count in counts.items()
    }


def _sample(examples: Table, wanted: Mapping[Group, int]) -> dict[str, Part]:
    """The first training rows of each group, as parts of a table."""

    def rows(part: str) -> Iterable[list[dict]]:
        left = {group: count for group, count in wanted.items() if group[0] == part}
        for row in examples.iter_rows([part]):
            group = (row["source"], row["objective"])
            if row["split"] == "train" and left.get(group, 0) > 0:
                left[group] -= 1
                yield [row]
            if not any(left.values()):
                return

    return {part: Part("sample", lambda part=part: rows(part)) for part in examples.parts()}


def _used(count: int, batch: int) -> int:
    """Rows of a group that are in full batches; a group smaller than a batch makes one of its own."""
    return count // batch * batch or count


def steps_of(counts: Mapping[Group, int], batch: int, homogeneous: bool) -> int:
    """Steps of an epoch, as many as the plan has where no text repeats."""
    groups = counts.values() if homogeneous else [sum(counts.values())]
    return sum(max(count // batch, 1) for count in groups)


def _projected(rows: Mapping[Group, int], seen: Sequence[Mapping[str, float]]) -> tuple[float, float, float]:
    """Tokens, seconds and padding share of a training on so many rows of each group, from the steps that were seen."""
    counted = seen[1:] or seen

    def steps(group: Group) -> Sequence[Mapping[str, float]]:
        name = source_metric(group_name(group))
        return [metrics for metrics in counted if name in metrics] or counted

    # Full batches tell the speed, a source's own rows how much there is to do.
    speed = median(metrics["tokens_per_second"] for metrics in steps(max(rows, key=rows.__getitem__)))
    tokens = padded = 0.0
    for group, count in rows.items():
        own = steps(group)
        found = count * mean(m["tokens_per_second"] / m["examples_per_second"] for m in own)
        tokens += found
        padded += found / (1 - mean(m["padding_share"] for m in own))
    return tokens, tokens / speed, 1 - tokens / padded


def _free(folder: Path) -> int:
    """Bytes that are free where `folder` is or will be."""
    while not folder.exists():
        folder = folder.parent
    return shutil.disk_usage(folder).free


def cost_table(costs: Sequence[Cost], folder: Path) -> str:
    """The costs as lines of text; `folder` is that of the checkpoints."""
    head = ("training", "examples", "steps", "tokens", "padding", "memory", "time", "checkpoints")
    body = [
        (
            cost.name, f"{cost.examples:,}", f"{cost.steps:,}", f"{cost.tokens:,}", f"{cost.padding_share:.0%}",
            f"{cost.memory_gb:.1f} GiB", duration(cost.seconds), f"{cost.disk_gb:.2f} GiB",
        )
        for cost in costs
    ]  # fmt: skip
    widths = [max(map(len, column)) for column in zip(head, *body, strict=True)]
    lines = ["  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)) for row in (head, *body)]
    free = min(cost.free_gb for cost in costs)
    lines.append(f"Time together: {duration(sum(cost.seconds for cost in costs))}. Memory is that of one device.")
    lines.append(f"Free for checkpoints in {folder}: {free:.1f} GiB; they go when the models are stored.")
    if max(cost.disk_gb for cost in costs) > free:
        lines.append("That is too little: set run.checkpoints to another disk.")
    return "\n".join(lines)


def duration(seconds: float) -> str:
    """Such as 3 h 20 min, 4 min 5 s or 12 s."""
    whole = round(seconds)
    if whole >= 3600:
        return f"{whole // 3600} h {whole % 3600 // 60} min"
    return f"{whole // 60} min {whole % 60} s" if whole >= 60 else f"{whole} s"
