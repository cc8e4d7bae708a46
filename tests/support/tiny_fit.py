"""A training of a few numbers, for tests of the loop and its watch."""

import torch

from ruri_kedro.training.fit import FitSettings
from ruri_kedro.training.settings import WatchSettings

SETTINGS = FitSettings(
    learning_rate=0.01, weight_decay=0.01, warmup_ratio=0.2, max_grad_norm=1.0, checkpoint_steps=3, seed=5
)
WATCHED = WatchSettings(
    window=20,
    min_losses=5,
    spike_deviations=10.0,
    spike_rise=0.5,
    spike_steps=3,
    collapse_similarity=0.99,
    collapse_steps=4,
)
IDS = [f"example {row}" for row in range(200)]


def model():
    """Two layers with dropout between, 6 numbers to 2."""
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Linear(6, 8), torch.nn.Dropout(0.3), torch.nn.Linear(8, 2))
