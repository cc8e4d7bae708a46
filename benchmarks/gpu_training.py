"""The parts of gpu.py that are whole trainings: by two processes on a card, and stopped and continued."""

import os
import statistics
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np
import torch
from figures import tell
from gpu_measure import PRECISION, Work, memory
from peers import ALL, TEMPERATURE, training_set, write_copy
from sentence_transformers import SentenceTransformer

from ruri_kedro.models.base import load_encoder
from ruri_kedro.training.checkpoints import Checkpoints
from ruri_kedro.training.data import TrainingSet
from ruri_kedro.training.fit import FitSettings, fit
from ruri_kedro.training.objectives import Budget, LossSettings, embedding_backward
from ruri_kedro.training.plan import Batch
from ruri_kedro.training.processes import train_in_processes
from ruri_kedro.training.run import weights_digest
from ruri_kedro.training.settings import WatchSettings
from ruri_kedro.training.watch import Watch

WATCH = WatchSettings(20, 10, 10.0, 0.5, 3, 0.99, 20)  # of conf/base


def processes(part: str, work: Work) -> None:
    """A training by one process, and by two on the same card."""
    data, batches = _batches(work, work.model)
    losses = []
    for count in (1, 2):
        steps: list[Mapping[str, float]] = []
        with tempfile.TemporaryDirectory() as folder:
            train_in_processes(
                load_encoder(work.model),
                load_encoder,
                train,
                {"data": data, "batches": batches, "folder": Path(folder), "chunk": work.chunk // 8},
                count,
                "cuda:0" if work.device == "cuda" else "cpu",
                lambda _, metrics, steps=steps: steps.append(metrics),
                part,
            )
        speed = statistics.median(step["examples_per_second"] for step in steps[1:])
        memory = {"gib": round(max(step["memory_gb"] for step in steps), 3)}  # of the first process
        way = f"{count} by gloo, since nccl does not take a card twice"
        tell(part, way=way, batch=work.batch, speed=round(speed, 1), unit="pairs/s", **memory)
        losses.append([step["loss"] for step in steps])
    one, two = map(np.asarray, losses)
    tell(part, steps=len(one), losses_apart=float(f"{np.max(np.abs(one - two) / one):.3g}"))


def train(
    model: SentenceTransformer,
    *,
    device: str,
    on_step: Callable,
    data: TrainingSet,
    batches: Sequence[Batch],
    folder: Path,
    chunk: int,
) -> None:
    """A training with a checkpoint half-way, by our loop."""
    model.to(device)
    backward = embedding_backward(model, data, Budget(chunk, ALL, PRECISION), LossSettings(TEMPERATURE))
    half = len(batches) // 2
    settings = FitSettings(1e-4, 0.01, warmup_ratio=0.1, max_grad_norm=1.0, checkpoint_steps=half, seed=0)
    watch = Watch(WATCH, data.example_ids, len(batches))
    fit(model, batches, backward, settings, Checkpoints(folder, {}, 1), watch, on_step, "gpu.py")
    model.to("cpu")


def _batches(work: Work, model: Path) -> tuple[TrainingSet, list[Batch]]:
    """A batch of other pairs for each step, as far as there are pairs."""
    data = training_set(load_encoder(model), work.pairs[: work.steps * work.batch])
    starts = [step * work.batch % max(len(data) - work.batch, 1) for step in range(work.steps)]
    return data, [Batch(0, np.arange(start, start + work.batch)) for start in starts]


class Stopped(Exception):
    """A training that was stopped on purpose."""


def resume(part: str, work: Work) -> None:
    """A training that is stopped and continued has the weights of one that is not, with dropout 0.1.

    `repeatable` says whether a second training in one go has them; without it, kernels that add in any order hide
    what `exact` is to show.
    """
    os.environ["CUBLAS_WORKSPACE_CONFIG"] = ":4096:8"  # cuBLAS reads it as it starts
    with tempfile.TemporaryDirectory() as workspace:
        model = Path(workspace) / "model"
        write_copy(model, work.model, dropout=0.1)
        data, batches = _batches(work, model)
        for way, deterministic in (("kernels as they come", False), ("deterministic kernels", True)):
            torch.use_deterministic_algorithms(deterministic)
            folder = Path(workspace) / way.replace(" ", "-")
            whole, again = (_weights(work, model, data, batches, folder / name)[0] for name in ("whole", "again"))
            _weights(work, model, data, batches, folder / "stopped", stop=len(batches) // 2 + 1)
            resumed, first = _weights(work, model, data, batches, folder / "stopped")
            same = {"repeatable": whole == again, "exact": whole == resumed}
            tell(part, way=way, steps=len(batches), continued_with_step=first, **same, **memory(work))
        torch.use_deterministic_algorithms(False)


def _weights(
    work: Work, folder: Path, data: TrainingSet, batches: list[Batch], checkpoints: Path, stop: int | None = None
) -> tuple[str, int]:
    """The digest of the weights after a training, and its first step; it is stopped after the step `stop`."""
    seen: list[int] = []

    def on_step(step: int, _: Mapping[str, float]) -> None:
        seen.append(step)
        if step == stop:
            raise Stopped

    model = load_encoder(folder)
    given = {"data": data, "batches": batches, "folder": checkpoints, "chunk": work.chunk}
    with suppress(Stopped):
        train(model, device=work.device, on_step=on_step, **given)
    return weights_digest(model), seen[0]
