"""The training loop of all stages: AdamW, linear warm-up and decay, clipping, checkpoints, exact resume."""

import logging
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import partial

import torch
from tqdm import tqdm

from ruri_kedro.errors import RecipeError, TrainingError
from ruri_kedro.models.layers import train_mode
from ruri_kedro.recipe.stages import STAGES
from ruri_kedro.tables.files import write_json
from ruri_kedro.training import processes
from ruri_kedro.training.checkpoints import Checkpoints
from ruri_kedro.training.development import Development
from ruri_kedro.training.measures import Measures
from ruri_kedro.training.memory import reused_memory
from ruri_kedro.training.plan import Batch
from ruri_kedro.training.settings import Averaging
from ruri_kedro.training.watch import Alarm, Watch

log = logging.getLogger(__name__)

OnStep = Callable[[int, Mapping[str, float]], None]

_SHOWN_IDS = 8


@dataclass(frozen=True)
class FitSettings:
    """Parameters of the optimisation (Ruri, Tables 14 and 15)."""

    learning_rate: float
    weight_decay: float
    warmup_ratio: float  # share of all steps in which the learning rate rises
    max_grad_norm: float
    checkpoint_steps: int
    seed: int
    warmup_steps: int | None = None  # in place of the ratio
    averaging: Averaging | None = None  # of the last checkpoints; None: the weights of the last step

    def warmup(self, steps: int) -> int:
        """The steps of a training of so many in which the learning rate rises."""
        return warmup_steps(steps, self.warmup_ratio) if self.warmup_steps is None else self.warmup_steps


def fit(
    model: torch.nn.Module,
    batches: Sequence[Batch],
    backward: Callable[[Batch], Measures],
    settings: FitSettings,
    checkpoints: Checkpoints,
    watch: Watch,
    on_step: OnStep,
    label: str,
    development: Development | None = None,
) -> None:
    """Train `model` in place over `batches` in their order.

    `backward` puts the gradient of one batch into the parameters and returns what it saw. If there is a checkpoint of
    the same identity, training continues behind it and ends with the same weights as without interruption.
    `on_step(step, metrics)` is called after each step, 1-based, and with `development` before the first one, as step 0.
    Where that keeps the best weights, `model` ends with these. Of several processes each is given the same batches,
    and the first one alone writes checkpoints and shows progress. Raises TrainingError when `watch` gives an
    alarm or the device has no memory left; the last good checkpoint stays, and but for that of the last step none is
    written while anything is suspect.
    """
    # The state before the first step that is left to do: of the seed, or of the last checkpoint.
    warmup = _warmup(settings, len(batches), label)
    check_averaging(settings.averaging, settings.checkpoint_steps, len(batches), label)
    torch.manual_seed(settings.seed)
    processes.forget_peak_memory()
    optimizer = torch.optim.AdamW(_parameter_groups(model, settings.weight_decay), lr=settings.learning_rate)
    done = checkpoints.restore(model, optimizer, watch, development)
    if done:
        log.info("%s continues after step %d of %d (%s)", label, done, len(batches), checkpoints.folder)
    train_mode(model)
    parameters = [p for p in model.parameters() if p.requires_grad]
    due = False
    first = processes.rank() == 0
    bar = tqdm(
        total=len(batches), initial=done, desc=label, unit="step", mininterval=1.0, disable=None if first else True
    )
    with bar, reused_memory(), _memory_named(label):
        if development and not done and (found := development.see(0, model)):
            on_step(0, found)
        for step in range(done + 1, len(batches) + 1):
            began = time.perf_counter()
            batch = batches[step - 1]
            # The learning rate of this step.
            rate = settings.learning_rate * schedule(step, len(batches), warmup)
            for group in optimizer.param_groups:
                group["lr"] = rate
            # The gradient of the whole batch, cut to its longest norm; what looks wrong stops the training.
            seen = backward(batch)
            processes.sum_gradients(parameters)
            norm = float(torch.nn.utils.clip_grad_norm_(parameters, settings.max_grad_norm))
            if alarm := watch.see(step, batch, seen, norm):
                raise TrainingError(_stop(label, alarm, checkpoints))
            # The step, and what is told of it.
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
            metrics = seen.metrics(len(batch.rows), time.perf_counter() - began)
            metrics |= development.see(step, model) if development else {}
            memory = processes.peak_memory() / 2**30
            on_step(step, {"learning_rate": rate, "grad_norm": norm, "memory_gb": memory, **metrics})
            bar.set_postfix(loss=f"{seen.loss:.4f}", refresh=False)
            bar.update()
            # A checkpoint that is due waits while the watch suspects something.
            due = due or step % settings.checkpoint_steps == 0
            if step == len(batches) or (due and not watch.suspects):
                if first:
                    checkpoints.save(step, model, optimizer, watch, development)
                due = False
    _load_result(model, settings.averaging, checkpoints, development)
    if watch.suspects:
        log.warning("%s ended on steps that look bad, too few to stop it: look at its loss and similarity.", label)
    model.eval()


def _load_result(
    model: torch.nn.Module, averaging: Averaging | None, checkpoints: Checkpoints, development: Development | None
) -> None:
    """What a training hands on, in place of the weights of its last step: a mean of checkpoints, or the best ones."""
    if averaging is not None:
        means = processes.from_first(partial(checkpoints.mean, averaging.last, averaging.weights))
        model.load_state_dict(means, strict=False)
    if development and development.keeps_best:
        model.load_state_dict(processes.from_first(lambda: development.weights))


def _warmup(settings: FitSettings, steps: int, label: str) -> int:
    """The steps in which the learning rate rises; warns where these are more than there are."""
    warmup = settings.warmup(steps)
    if warmup > steps:
        log.warning(
            "%s: warmup_steps: %d, but there are %d steps: the learning rate does not reach its highest value.",
            label, warmup, steps,
        )  # fmt: skip
    return warmup


def check_averaging(averaging: Averaging | None, checkpoint_steps: int, steps: int, label: str) -> None:
    """Raises RecipeError where a training of so many steps has fewer checkpoints than are to be averaged."""
    count = math.ceil(steps / checkpoint_steps)
    if averaging is not None and count < averaging.last:
        block = STAGES[label].block if label in STAGES else label
        raise RecipeError(
            f"{block}.averaging.last: {averaging.last}, but there are {count} checkpoints in {steps} steps. "
            f"Lower it, or {block}.checkpoint_steps, {checkpoint_steps}."
        )


@contextmanager
def _memory_named(label: str) -> Iterator[None]:
    """Name the parameters that memory depends on where the device has none left."""
    try:
        yield
    except torch.OutOfMemoryError as error:
        block = STAGES[label].block if label in STAGES else label
        raise TrainingError(
            f"{label}: the device has no memory left ({str(error).splitlines()[0]}). Lower {block}.chunk_tokens or "
            f"{block}.keep_tokens and run the same again: it continues from its last checkpoint."
        ) from error


def warmup_steps(steps: int, warmup_ratio: float) -> int:
    """The steps in which the learning rate rises, by their share."""
    return math.ceil(steps * warmup_ratio)


def schedule(step: int, steps: int, warmup: int) -> float:
    """Factor of the learning rate at a 1-based step: linear warm-up to 1 in `warmup` steps, then decay towards 0."""
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


def _stop(label: str, alarm: Alarm, checkpoints: Checkpoints) -> str:
    """Write down what stopped the training; the message that says so."""
    ids = alarm.example_ids
    report = checkpoints.folder / "stopped.json"
    write_json(report, asdict(alarm))
    shown = ", ".join(ids[:_SHOWN_IDS]) + (" ..." if len(ids) > _SHOWN_IDS else "")
    return (
        f"{label} stopped: {alarm.reason}. Examples of step {alarm.step}: {shown} (all {len(ids)}: {report}). "
        f"{alarm.remedy} Last good checkpoint: {checkpoints.latest() or 'none yet'}."
    )
