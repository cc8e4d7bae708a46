"""A tiny late interaction model and its training, in this process or in one that may be killed."""

import torch
from safetensors.torch import save_file
from tiny import BASE_MODEL, PROMPTS, TEXTS, TINY
from train_tables import stage, tables

from ruri_kedro.models.base import build_encoder
from ruri_kedro.models.multi_vector import build_multi_vector
from ruri_kedro.models.settings import BaseModelSettings, TinySettings
from ruri_kedro.recipe.parse import parse
from ruri_kedro.training.multi_vector import train_multi_vector

ROW = BASE_MODEL | {"kind": "multi_vector", "query_length": 24, "document_length": 32, "marks": False}
TEACHER = {(f"q{i}", str(d)): float(d * 7 % 5) for i in range(12) for d in range(12, 36)}


def tiny_late(folder, dropout=0.0, **changes):
    # With larger weights than a tiny model has its tokens differ: of two that are as similar to a query's token but for
    # rounding, either may be the most similar, and the gradient goes to that one.
    size = TinySettings(**TINY | {"dropout": dropout, "initializer_range": 0.2})
    build_encoder(TEXTS, size, PROMPTS, 0).save_pretrained(str(folder / "encoder"))
    settings = parse(BaseModelSettings, ROW | {"name": str(folder / "encoder")} | changes, "base_model")
    return build_multi_vector(lambda: TEXTS, settings, PROMPTS, 0)


def trained(folder, model, objective="contrastive", stop=None, **settings):
    """The weights after a training, which ends after the step `stop` as if it had been killed."""

    def on_step(step, metrics):
        if step == stop:
            raise KeyboardInterrupt
        seen.append(metrics)

    seen = []
    used = stage(folder, {"steps": 2, "rows": 8}, **settings)
    train_multi_vector(model, *tables(folder, objective), PROMPTS, used, on_step, TEACHER)
    return {name: value.clone() for name, value in model.state_dict().items()}, seen


def train_apart(folder):
    """Train a tiny model in `folder`, with dropout, and save its weights there: what is killed."""
    torch.set_num_threads(1)
    folder.mkdir(exist_ok=True)
    weights, _ = trained(folder, tiny_late(folder, dropout=0.1), epochs=2)
    save_file({name: value.contiguous() for name, value in weights.items()}, folder / "weights.safetensors")
