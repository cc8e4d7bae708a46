"""What the nodes of several pipelines need."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ruri_kedro.training.run import Stage


def stage_of(name: str, settings: Mapping[str, Any], run: Mapping[str, Any]) -> "Stage":
    """A training stage from its parameters and those of the run: seed, device, threads, checkpoints."""
    import torch

    from ruri_kedro.training.run import Stage

    torch.set_num_threads(min(run["threads"], os.cpu_count() or 1))
    return Stage(name, settings, run["seed"], run["device"], Path(run["checkpoints"]))
