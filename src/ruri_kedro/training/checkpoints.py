"""Checkpoints: weights, optimizer and random states as safetensors, everything else as JSON. Whole or not at all."""

import logging
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from ruri_kedro.errors import DamagedError, TrainingError
from ruri_kedro.models.merging import weighted_mean
from ruri_kedro.tables.checksums import checksums, fault_in, read_checked, write_checked
from ruri_kedro.tables.files import replace_dir, sole_user
from ruri_kedro.training.development import Development
from ruri_kedro.training.processes import from_first, rank
from ruri_kedro.training.watch import Watch

log = logging.getLogger(__name__)

_STATE = "state.json"
_MODEL, _OPTIMIZER, _RANDOM = "model.safetensors", "optimizer.safetensors", "random.safetensors"
_BEST = "best.safetensors"  # weights of the best evaluation so far


@contextmanager
def sole_training(folder: Path) -> Iterator[None]:
    """Keeps other runs from a stage's checkpoints as long as the block lasts; a killed process keeps nothing.

    Raises TrainingError where another run trains the stage. Of several processes the first one speaks for all.
    """
    if rank() != 0:
        yield
        return
    folder.mkdir(parents=True, exist_ok=True)
    busy = TrainingError(
        f"{folder}: another run is at this training. Wait for it, or give this one a folder of its own as "
        "run.checkpoints."
    )
    with sole_user(folder, busy):
        yield


@dataclass(frozen=True)
class Checkpoints:
    """The checkpoints of one stage below `folder`, the newest `keep` of them.

    `identity` is everything that must not change between a killed run and its continuation, as a flat JSON object.
    """

    folder: Path
    identity: dict[str, Any]
    keep: int

    def latest(self) -> Path | None:
        """The newest complete checkpoint, or None."""
        complete = self._complete()
        return complete[-1] if complete else None

    def _complete(self) -> list[Path]:
        return sorted(path.parent for path in self.folder.glob(f"step-*/{_STATE}"))

    def save(
        self,
        step: int,
        model: torch.nn.Module,
        optimizer: torch.optim.Optimizer,
        watch: Watch,
        development: Development | None = None,
    ) -> None:
        """Write the state after `step` steps, then remove the older ones beyond `keep`.

        A disk that is full costs no training: all but the newest checkpoint make room, and if that is not enough it
        stays, an error is logged, and training can go on to the next one.
        """
        for _ in range(2):
            try:
                self._write(step, model, optimizer, watch, development)
            except (OSError, SafetensorError) as error:
                reason = error
                self._remove_all_but(1)
            else:
                self._remove_all_but(self.keep)
                return
        log.error(
            "no checkpoint after step %d: %s. Training goes on; make room in %s. Last good one: %s.",
            step, reason, self.folder, self.latest() or "none yet",
        )  # fmt: skip

    def _write(
        self,
        step: int,
        model: torch.nn.Module,
        optimizer: torch.optim.Optimizer,
        watch: Watch,
        development: Development | None,
    ) -> None:
        with replace_dir(self.folder / f"step-{step:08d}") as aside:
            save_file(_distinct(model.state_dict()), aside / _MODEL)
            save_file(_flatten(optimizer, model), aside / _OPTIMIZER)
            save_file(_random_state(), aside / _RANDOM)
            state = {"step": step, "identity": self.identity, "watch": watch.state_dict()}
            if development is not None:
                state["development"] = development.state_dict()
                if development.weights is not None:
                    save_file(_distinct(development.weights), aside / _BEST)
            write_checked(aside / _STATE, {**state, "files": checksums(aside)})

    def _remove_all_but(self, newest: int) -> None:
        for old in self._complete()[:-newest]:
            shutil.rmtree(old, ignore_errors=True)

    def restore(
        self,
        model: torch.nn.Module,
        optimizer: torch.optim.Optimizer,
        watch: Watch,
        development: Development | None = None,
    ) -> int:
        """Load the newest sound checkpoint into what is given; the step it was taken after, 0 without one.

        Of several processes the first one reads. Raises TrainingError if it belongs to another recipe, naming what
        differs, and where all checkpoints are damaged.
        """
        path = from_first(self._newest_sound)
        if path is None:
            return 0
        state = from_first(lambda: read_checked(path / _STATE))
        self._check(path, state["identity"])
        model.load_state_dict(from_first(lambda: load_file(path / _MODEL)), strict=False)
        _unflatten(optimizer, model, from_first(lambda: load_file(path / _OPTIMIZER)))
        _set_random_state(from_first(lambda: load_file(path / _RANDOM)))
        watch.load_state_dict(state.get("watch", {}))
        if development is not None:
            kept = path / _BEST
            best = load_file(kept) if rank() == 0 and kept.is_file() else None
            development.load_state_dict(state["development"], best)
        return int(state["step"])

    def mean(self, last: int, weights: Sequence[float] | None = None) -> dict[str, torch.Tensor]:
        """The mean of the weights of the newest `last` checkpoints, by name; what is no float is the newest one's.

        weights: of the checkpoints, the oldest first; None: all alike.

        Raises TrainingError where one of them is missing or damaged.
        """
        paths = self._complete()[-last:]
        faults = [fault for path in paths if (fault := _fault_in(path))]
        if len(paths) < last or faults:
            found = ". ".join(faults) or f"{len(paths)} are there"
            raise TrainingError(
                f"{self.folder}: the last {last} checkpoints are to be averaged, but {found}. Set averaging to null "
                "for the weights of the last step, or remove the folder to train anew."
            )
        return weighted_mean((load_file(path / _MODEL) for path in paths), weights or [1.0] * last)

    def _newest_sound(self) -> Path | None:
        """The newest checkpoint that is not damaged; None where there is none at all. Newer ones are removed."""
        damaged: dict[Path, str] = {}
        for path in reversed(self._complete()):
            if fault := _fault_in(path):
                damaged[path] = fault
                continue
            for newer, what in damaged.items():
                log.warning("%s. The training goes on from the checkpoint before it, %s.", what, path)
                shutil.rmtree(newer, ignore_errors=True)
            return path
        if damaged:
            raise TrainingError(
                f"Every checkpoint of this training is damaged. {'. '.join(damaged.values())}. To train anew remove "
                f"{self.folder}; to continue restore one of them."
            )
        return None

    def _check(self, path: Path, identity: dict[str, Any]) -> None:
        names = sorted(set(identity) | set(self.identity))
        differing = [name for name in names if identity.get(name) != self.identity.get(name)]
        if differing:
            changes = "; ".join(f"{name}: {identity.get(name)} -> {self.identity.get(name)}" for name in differing)
            raise TrainingError(
                f"{path} was made by another recipe ({changes}). To train anew remove {self.folder}; to continue the "
                "old training restore its parameters and data."
            )

    def remove(self) -> None:
        """Forget the stage's checkpoints."""
        shutil.rmtree(self.folder, ignore_errors=True)


def _fault_in(path: Path) -> str | None:
    """What is wrong with the files of a checkpoint; None where nothing is."""
    try:
        state = read_checked(path / _STATE)
        if "files" in state:
            return fault_in(path, state["files"])
        for name in (_MODEL, _OPTIMIZER, _RANDOM):  # of 0.1, which wrote no checksums
            load_file(path / name)
    except DamagedError as error:
        return error.fault
    except (OSError, SafetensorError) as error:
        return f"{path}: {error}"
    return None


def _distinct(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Tied weights once, contiguous, on the CPU: safetensors refuses shared memory."""
    seen: set[int] = set()
    kept = {}
    for name, tensor in tensors.items():
        if tensor.data_ptr() not in seen or tensor.numel() == 0:
            seen.add(tensor.data_ptr())
            kept[name] = tensor.detach().contiguous().cpu()
    return kept


def _names(model: torch.nn.Module) -> dict[torch.nn.Parameter, str]:
    return {parameter: name for name, parameter in model.named_parameters()}


def _flatten(optimizer: torch.optim.Optimizer, model: torch.nn.Module) -> dict[str, torch.Tensor]:
    names = _names(model)
    return {
        f"{names[parameter]}|{key}": value.detach().contiguous().cpu()
        for parameter, state in optimizer.state.items()
        for key, value in state.items()
    }


def _unflatten(optimizer: torch.optim.Optimizer, model: torch.nn.Module, tensors: dict[str, torch.Tensor]) -> None:
    parameters = {name: parameter for parameter, name in _names(model).items()}
    for name, value in tensors.items():
        parameter = parameters[name.rsplit("|", 1)[0]]
        key = name.rsplit("|", 1)[1]
        optimizer.state[parameter][key] = value if key == "step" else value.to(parameter.device)


def _random_state() -> dict[str, torch.Tensor]:
    state = {"cpu": torch.get_rng_state()}
    if torch.cuda.is_initialized():  # not where it is merely there: a training on the CPU leaves the GPU alone
        state["cuda"] = torch.cuda.get_rng_state()
    return state


def _set_random_state(state: dict[str, torch.Tensor]) -> None:
    torch.set_rng_state(state["cpu"])
    if "cuda" in state and torch.cuda.is_initialized():
        torch.cuda.set_rng_state(state["cuda"])
