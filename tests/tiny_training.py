"""The four trainings on a few examples, in a process that can be killed."""

import os
import signal
import threading
import time
from dataclasses import asdict
from pathlib import Path

import torch
from safetensors.torch import save_file
from tiny import PROMPTS, TEXTS, tiny_encoder, tiny_reranker
from tiny_fit import WATCHED

from ruri_kedro.encoders.base import load_cross_encoder, load_encoder
from ruri_kedro.tables import SCHEMAS, Part, write_table
from ruri_kedro.training.run import Stage, train_embedder, train_reranker

SETTINGS = {
    "max_length": 32,
    "batch_size": 4,
    "epochs": 1,
    "learning_rate": 1e-3,
    "warmup_ratio": 0.1,
    "weight_decay": 0.01,
    "max_grad_norm": 1.0,
    "temperature": 0.05,
    "homogeneous": True,
    "chunk_tokens": 64,
    "keep_tokens": 0,
    "precision": "float32",
    "checkpoint_steps": 2,
}


def tables(folder, objective="contrastive"):
    """Examples of two sources of 12 rows each, and the passages they name."""

    def row(number, source):
        return {
            "example_id": f"{source}{number}",
            "pair_id": f"{source}{number}",
            "query_id": f"q{number}",
            "source": source,
            "split": "train",
            "objective": objective,
            "anchor": str(number),
            "positive": str(number + 12),
            "negatives": [str(number + 24)],
            "shuffled": False,
        }

    passages = [
        {"docid": str(i), "source": "faq", "title": "", "section": "", "text": TEXTS[i % 36]} for i in range(36)
    ]
    examples = {name: [row(i, name) for i in range(12)] for name in ("faq", "nli")}
    parts = {name: Part("k", lambda name=name: iter([examples[name]])) for name in examples}
    return (
        write_table(folder / "examples", SCHEMAS["examples"], parts),
        write_table(folder / "passages", SCHEMAS["passages"], {"faq": Part("k", lambda: iter([passages]))}),
    )


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
    settings = {**SETTINGS, "epochs": 2, "keep_tokens": 100}
    made = Stage(name, settings, 1, "cpu", folder / "checkpoints", asdict(WATCHED))
    doom = threading.Thread(target=_kill, args=kill[1:], daemon=True) if kill else None

    def on_step(step: int, metrics: dict) -> None:
        if kill and step == kill[0]:
            doom.start()

    if kill and kill[0] == 0:
        doom.start()
    data = tables(folder, OBJECTIVES[name])
    if name.startswith("reranking"):
        model = train_reranker(load_cross_encoder(models / name, 64), *data, made, on_step)
    else:
        teacher = {(f"q{i}", str(d)): float(d * 7 % 5) for i in range(12) for d in (i + 12, i + 24)}
        model = load_encoder(models / "encoder", PROMPTS)
        train_embedder(model, *data, PROMPTS, made, on_step, teacher if name == "finetuning" else None)
    if doom:
        doom.join()
    save_file({key: value.clone() for key, value in model.state_dict().items()}, folder / "weights.safetensors")


def _kill(seconds: float) -> None:
    time.sleep(seconds)
    os.kill(os.getpid(), signal.SIGKILL)
