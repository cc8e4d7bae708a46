"""What the nodes of several pipelines need."""

import os
from pathlib import Path
from typing import Any

# Kedro resolves the annotations of nodes at start, when none of these libraries is to be imported.
Params = dict[str, Any]
Embedder = Any  # sentence_transformers.SentenceTransformer
Reranker = Any  # sentence_transformers.CrossEncoder
Frame = Any  # pandas.DataFrame
Figure = Any  # matplotlib.figure.Figure
Decision = Any  # ruri_kedro.registry.promotion.Decision


def stage_of(name: str, settings: Params, run: Params) -> Any:
    """A training stage from its parameters and those of the run: seed, devices, threads, checkpoints ..."""
    import torch

    from ruri_kedro.training.run import Stage

    torch.set_num_threads(min(run["threads"], os.cpu_count() or 1))
    folder = Path(run["checkpoints"])
    return Stage(
        name, settings, run["seed"], run["device"], folder, run["watch"], run["devices"], run["held_out"],
        run["allow_untrained"],
    )  # fmt: skip
