"""The four trainings on a few examples, in a process that can be killed."""

import os
import signal
import threading
import time
from dataclasses import replace
from pathlib import Path

import torch
from safetensors.torch import save_file
from tiny import PROMPTS, tiny_encoder, tiny_reranker
from train_tables import stage, tables

from ruri_kedro.models.base import load_cross_encoder, load_encoder
from ruri_kedro.training.run import train_embedder, train_reranker

OBJECTIVES = {
    "pretraining": "contrastive",
    "reranking_stage1": "listwise",
    "reranking_stage2": "listwise",
    "finetuning": "distillation",
}
STEPS = 12


def save_models(folder: Path) -> None:
    """The models that the trainings start from, with dropout."""
    tiny_encoder(dropout=0.1).save_pretrained(str(folder / "encoder"))
    for seed, name in enumerate(("reranking_stage1", "reranking_stage2")):
        tiny_reranker(folder / "body", seed, dropout=0.1).save_pretrained(str(folder / name))


def train(name: str, models: Path, folder: Path, kill: tuple[int, float] | None = None) -> None:
    """A training of 12 steps; its weights in `weights.safetensors`. kill: after which step, and so many seconds later,
    this process ends itself as `kill -9` would.
    """
    torch.set_num_threads(1)
    made = replace(stage(folder, epochs=2, keep_tokens=100), name=name)
    doom = threading.Thread(target=_kill, args=kill[1:], daemon=True) if kill else None

    def on_step(step: int, metrics: dict | None = None) -> None:
        # A run that continues may begin behind the step.
        if doom and doom.ident is None and step >= kill[0]:
            doom.start()

    on_step(0)
    data = tables(folder, OBJECTIVES[name])
    if name.startswith("reranking"):
        model = train_reranker(load_cross_encoder(models / name, 64), *data, made, on_step)
    else:
        teacher = {(f"q{i}", str(d)): float(d * 7 % 5) for i in range(12) for d in range(12, 36)}
        model = load_encoder(models / "encoder", PROMPTS)
        train_embedder(model, *data, PROMPTS, made, on_step, teacher if name == "finetuning" else None)
    on_step(STEPS)
    if doom:
        doom.join()
    save_file({key: value.clone() for key, value in model.state_dict().items()}, folder / "weights.safetensors")


def _kill(seconds: float) -> None:
    time.sleep(seconds)
    os.kill(os.getpid(), signal.SIGKILL)
