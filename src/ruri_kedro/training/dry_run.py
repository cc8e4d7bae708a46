"""What a training will cost: its plan, and some real steps of it with weights that are thrown away.

The plan is that of the training itself, made of all of its examples; tokens and time are projected from the steps. What
is done before a training is an `Estimate` each, in the same table of the whole run.
"""

import logging
import shutil
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import mean, median
from time import perf_counter
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ruri_kedro.models.pair_scores import ScorePairs
from ruri_kedro.tables import Part, Table, write_table
from ruri_kedro.tables.lookup import passage_texts
from ruri_kedro.text.layout import aligned, duration
from ruri_kedro.training import processes
from ruri_kedro.training.fit import check_averaging
from ruri_kedro.training.logs import quiet
from ruri_kedro.training.measures import source_metric
from ruri_kedro.training.plan import Plan
from ruri_kedro.training.planning import Shares
from ruri_kedro.training.reading import check_examples, read_for_plan, read_topics
from ruri_kedro.training.run import Stage
from ruri_kedro.training.settings import PretrainingSettings
from ruri_kedro.training.teacher import pairs_to_score

_FULL_BATCHES = 3  # of the largest source; the first step is slower and is not counted
_ROWS = 256  # of each other source
_ALL = "all sources"  # in mixed batches
_SCORED = 64  # pairs that the teacher scores
_DEVICES = 8  # of a large machine

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
    kept_checkpoints: int = 2  # beside the one that is being written
    notes: tuple[str, ...] = ()  # what the table does not show
    devices: int = 1  # that the steps were done on

    @property
    def disk_gb(self) -> float:
        """The most that checkpoints take at a time: those kept and the one being written."""
        return self.checkpoint_gb * (self.kept_checkpoints + 1)


@dataclass(frozen=True)
class Estimate:
    """What a step costs that is no training."""

    name: str
    amount: str  # what it is done with, as "1,200 passages"
    seconds: float
    disk_gb: float = 0.0
    shared: bool = False  # whether several devices or machines do it together


def training_cost(
    examples: Table, passages: Table, objectives: Sequence[str], stage: Stage, homogeneous: bool, probe: Probe
) -> Cost:
    """Cost of the training of `stage` on `examples`; probe(examples, stage, on_step) does such a training.

    objectives: that the training can have; homogeneous: whether a batch has rows of one source only. Raises whatever
    the training itself would raise at its start, also where it would learn nothing from a source.
    """
    # The batches are those of the training.
    check_examples(examples, stage.name, objectives, stage.allow_untrained)
    rows, settings = read_for_plan(examples, passages), stage.batches(homogeneous)
    plan = settings.plan(rows, read_topics(examples, passages, settings.batch_by))
    shares = Shares.of(plan, rows, settings)
    shares.check(stage.name, stage.allow_untrained)
    check_averaging(stage.settings.averaging, stage.settings.checkpoint_steps, len(plan), stage.name)
    # Some of them are done with weights that are thrown away.
    seen, saved = _probed(examples, sampled(plan), stage, probe)
    used = {share.source: share.rows for share in shares.each} if homogeneous else {_ALL: len(plan.rows)}
    tokens, seconds, padding = _projected({name: count for name, count in used.items() if count}, seen)
    return Cost(
        name=stage.name,
        examples=len(rows.groups),
        steps=len(plan),
        tokens=round(tokens),
        padding_share=padding,
        seconds=seconds,
        memory_gb=max(metrics["memory_gb"] for metrics in seen),
        checkpoint_gb=saved / 2**30,
        free_gb=_free(stage.checkpoints) / 2**30,
        kept_checkpoints=stage.kept_checkpoints,
        notes=tuple(shares.notes()),
        devices=processes.wanted(stage.device, stage.devices) or 1,
    )


def teacher_estimate(name: str, examples: Iterable[Mapping], passages: Table, score: ScorePairs) -> Estimate | None:
    """What the teacher's scores of a stage cost; None where no example is learnt from it."""
    wanted = list(pairs_to_score(examples).items())
    if not wanted:
        return None
    some = wanted[:: max(1, len(wanted) // _SCORED)]
    texts = passage_texts(passages, {text for (_, docid), anchor in some for text in (docid, anchor)})
    pairs = [(texts[anchor], texts[docid]) for (_, docid), anchor in some]
    score(pairs[:8])
    started = perf_counter()
    score(pairs)
    each = (perf_counter() - started) / len(pairs)
    return Estimate(f"teacher's scores for {name}", f"{len(wanted):,} pairs", each * len(wanted))


def sampled(plan: Plan) -> np.ndarray:
    """Rows to try, in order: some batches of the group with the most rows in any, and the start of one of each other.

    Of mixed batches, which are of one group, only the first ones.
    """
    groups, sizes = plan.batches[:, 0], plan.batches[:, 2]
    largest = max(np.unique(groups), key=lambda group: sizes[groups == group].sum())
    wanted = []
    for group in np.unique(groups):
        count, rows = (_FULL_BATCHES, None) if group == largest else (1, _ROWS)
        wanted += [plan[number].rows[:rows] for number in np.flatnonzero(groups == group)[:count].tolist()]
    return np.unique(np.concatenate(wanted))


def _probed(examples: Table, rows: np.ndarray, stage: Stage, probe: Probe) -> tuple[list[Mapping[str, float]], int]:
    """What the steps of a training on these training rows reported, and the bytes of its checkpoint."""
    seen: list[Mapping[str, float]] = []
    with tempfile.TemporaryDirectory() as folder:
        sample = write_table(Path(folder) / "examples", examples.schema, _sample(examples, rows))
        settings = replace(stage.settings, epochs=1, checkpoint_steps=10**9, averaging=None)
        if isinstance(settings, PretrainingSettings):
            settings = replace(settings, max_examples=None, development=None)
        checkpoints = Path(folder) / "checkpoints"
        probed = replace(stage, settings=settings, checkpoints=checkpoints, held_out=None, allow_untrained=True)
        # What a training says of its batches is true of the sample only.
        with quiet("ruri_kedro.training", logging.ERROR):
            probe(sample, probed, lambda step, metrics: seen.append(metrics))
        saved = sum(path.stat().st_size for path in checkpoints.rglob("step-*/*"))
    return seen, saved


def _sample(examples: Table, rows: np.ndarray) -> dict[str, Part]:
    """Some training rows, by their places among all of them in ascending order, as parts of a table."""
    found: dict[str, list[pa.RecordBatch]] = {}
    first = 0
    for part in examples.parts():
        for batch in examples.batches([part]):
            train = batch.filter(pc.equal(batch["split"], "train"))
            here = rows[(rows >= first) & (rows < first + len(train))] - first
            first += len(train)
            if len(here):
                found.setdefault(part, []).append(train.take(pa.array(here)))
    return {part: Part("sample", lambda batches=batches: batches) for part, batches in found.items()}


def _projected(rows: Mapping[str, int], seen: Sequence[Mapping[str, float]]) -> tuple[float, float, float]:
    """Tokens, seconds and padding share of a training on so many rows of each group, from the steps that were seen."""
    counted = seen[1:] or seen

    def steps(group: str) -> Sequence[Mapping[str, float]]:
        name = source_metric(group)
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
    """The costs of trainings as lines of text; `folder` is that of the checkpoints."""
    head = ("training", "examples", "steps", "tokens", "padding", "memory", "time", "checkpoints")
    body = [
        (
            cost.name, f"{cost.examples:,}", f"{cost.steps:,}", f"{cost.tokens:,}", f"{cost.padding_share:.0%}",
            f"{cost.memory_gb:.1f} GiB", duration(cost.seconds), f"{cost.disk_gb:.2f} GiB",
        )
        for cost in costs
    ]  # fmt: skip
    lines = aligned([head, *body], left=0).splitlines()
    free = min(cost.free_gb for cost in costs)
    lines.append("Memory is that of one device.")
    lines += [f"{cost.name}: {note}" for cost in costs for note in cost.notes]
    lines.append(f"Free for checkpoints in {folder}: {free:.1f} GiB; they go when the models are stored.")
    if max(cost.disk_gb for cost in costs) > free:
        lines.append("That is too little: set run.checkpoints to another disk.")
    return "\n".join(lines)


def estimate_table(estimates: Sequence[Estimate]) -> str:
    """What is done before the trainings, as lines of text."""
    head = ("before the trainings", "of", "time", "disk")
    body = [
        (each.name, each.amount, duration(each.seconds), f"{each.disk_gb:.2f} GiB" if each.disk_gb > 0.005 else "")
        for each in estimates
    ]
    return aligned([head, *body], left=1)


def total_time(estimates: Sequence[Estimate], costs: Sequence[Cost]) -> str:
    """The time of all, on one device and on eight, as a sentence."""
    alone = sum(each.seconds for each in estimates if not each.shared)
    shared = sum(each.seconds for each in estimates if each.shared) + sum(cost.seconds * cost.devices for cost in costs)
    one, eight = (duration(alone + shared / devices) for devices in (1, _DEVICES))
    return f"Time together: {one} on one device, {eight} on {_DEVICES}, without what these take to exchange gradients."
