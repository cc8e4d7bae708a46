"""The training loop of all stages: AdamW, linear warm-up and decay, clipping, checkpoints, exact resume."""

import logging
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from tqdm import tqdm

from ruri_kedro.errors import TrainingError
from ruri_kedro.training.checkpoints import Checkpoints
from ruri_kedro.training.plan import Batch

log = logging.getLogger(__name__)

OnStep = Callable[[int, Mapping[str, float]], None]


@dataclass(frozen=True)
class FitSettings:
    """Parameters of the optimisation (Ruri, Tables 14 and 15)."""

    learning_rate: float
    weight_decay: float
    warmup_ratio: float  # share of all steps
    max_grad_norm: float
    checkpoint_steps: int
    seed: int


def fit(
    model: torch.nn.Module,
    batches: Sequence[Batch],
    backward: Callable[[Batch], float],
    settings: FitSettings,
    checkpoints: Checkpoints,
    on_step: OnStep,
    label: str,
) -> None:
    """Train `model` in place over `batches` in their order.

    `backward` puts the gradient of one batch into the parameters and returns its loss. If there is a checkpoint of
    the same identity, training continues behind it and ends with the same weights as without interruption.
    `on_step(step, metrics)` is called after each step, 1-based. Raises TrainingError when the loss is not finite;
    the last good checkpoint stays.
    """
    torch.manual_seed(settings.seed)
    optimizer = torch.optim.AdamW(_parameter_groups(model, settings.weight_decay), lr=settings.learning_rate)
    done = checkpoints.restore(model, optimizer)
    if done:
        log.info("%s continues after step %d of %d (%s)", label, done, len(batches), checkpoints.folder)
    model.train()
    parameters = [p for p in model.parameters() if p.requires_grad]
    with tqdm(total=len(batches), initial=done, desc=label, unit="step", mininterval=1.0) as bar:
        for step in range(done + 1, len(batches) + 1):
            began = time.perf_counter()
            batch = batches[step - 1]
            rate = settings.learning_rate * schedule(step, len(batches), settings.warmup_ratio)
            for group in optimizer.param_groups:
                group["lr"] = rate
            loss = backward(batch)
            norm = float(torch.nn.utils.clip_grad_norm_(parameters, settings.max_grad_norm))
            if not (math.isfinite(loss) and math.isfinite(norm)):
                raise TrainingError(_not_finite(label, step, loss, norm, batch, checkpoints))
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
            seconds = time.perf_counter() - began
            on_step(step, {"loss": loss, "learning_rate": rate, "grad_norm": norm,
                           "examples_per_second": len(batch.rows) / seconds})  # fmt: skip
            bar.set_postfix(loss=f"{loss:.4f}", refresh=False)
            bar.update()
            if step % settings.checkpoint_steps == 0 or step == len(batches):
                checkpoints.save(step, model, optimizer)
    model.eval()


def schedule(step: int, steps: int, warmup_ratio: float) -> float:
    """Factor of the learning rate at a 1-based step: linear warm-up to 1, then linear decay towards 0."""
    warmup = math.ceil(steps * warmup_ratio)
    if step <= warmup:
        return step / warmup
    return (steps - step + 1) / (steps - warmup + 1)


def _parameter_groups(model: torch.nn.Module, weight_decay: float) -> list[dict]:
    """Weight decay for matrices only; biases and norms have none, as in the Hugging Face trainers."""
    trained = [p for p in model.parameters() if p.requires_grad]
    return [
        {"params": [p for p in trained if p.ndim >= 2], "weight_decay": weight_decay},
        {"params": [p for p in trained if p.ndim < 2], "weight_decay": 0.0},
    ]


def _not_finite(label: str, step: int, loss: float, norm: float, batch: Batch, checkpoints: Checkpoints) -> str:
    kept = checkpoints.latest()
    return (
        f"{label}: loss {loss} and gradient norm {norm} at step {step} (rows {batch.rows[:8].tolist()} ...). "
        f"Lower the learning rate or raise the warm-up. Last good checkpoint: {kept or 'none yet'}."
    )
