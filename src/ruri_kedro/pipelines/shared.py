"""What the nodes of several pipelines need."""

import os
from pathlib import Path
from typing import Any

from ruri_kedro.recipe.addresses import resolve
from ruri_kedro.recipe.parse import parse
from ruri_kedro.recipe.stages import STAGES
from ruri_kedro.training.settings import RunSettings

# Kedro resolves the annotations of nodes at start, when none of these libraries is to be imported.
Params = dict[str, Any]
Embedder = Any  # sentence_transformers.SentenceTransformer
Reranker = Any  # sentence_transformers.CrossEncoder
Frame = Any  # pandas.DataFrame
Figure = Any  # matplotlib.figure.Figure
Decision = Any  # ruri_kedro.registry.promotion.Decision


def stage_of(name: str, settings: Params, run: Params) -> Any:
    """A training stage from its parameters and those of the run: seed, devices, threads, checkpoints ..."""
    stage = STAGES[name]
    training, shared = parse(resolve(stage.settings), settings, stage.block), parse(RunSettings, run, "run")

    import torch

    from ruri_kedro.training.run import Stage

    torch.set_num_threads(min(shared.threads, os.cpu_count() or 1))
    return Stage(
        name, training, shared.seed, shared.device, Path(shared.checkpoints), shared.watch, shared.devices,
        shared.held_out, shared.allow_untrained,
    )  # fmt: skip
