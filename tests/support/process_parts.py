"""What the processes of a test run: in a module of its own, since they import it by name."""

import os
import signal
import time
from dataclasses import replace

import numpy as np
import torch
import torch.distributed as dist
from safetensors.torch import save_file
from tiny import PROMPTS, tiny_encoder, tiny_reranker
from tiny_examples import training_set
from train_tables import stage, tables

from ruri_kedro.errors import TrainingError
from ruri_kedro.training import processes
from ruri_kedro.training.objectives import Budget, LossSettings, embedding_backward, reranking_backward
from ruri_kedro.training.plan import Batch
from ruri_kedro.training.run import train_embedder


class Scores(dict):
    """A teacher that has an opinion on every pair."""

    def get(self, key, default=None):
        return float(int(key[0][1:]) * 7 % 5 - int(key[1]) % 7)


class Nothing(torch.nn.Module):
    """A model without weights."""

    def save_pretrained(self, folder):
        os.makedirs(folder)


def load_nothing(folder):
    return Nothing()


def failing(model, *, device, on_step, way):
    """A training in which the last process fails."""
    on_step(1, {"loss": 1.0})
    if processes.rank() == processes.size() - 1:
        time.sleep(0.2)
        if way == "killed":
            os.kill(os.getpid(), signal.SIGKILL)
        if way == "ours":
            raise TrainingError("tuned stopped: loss nan at step 3")
        raise ZeroDivisionError("" if way == "silent" else "no batch\nat all")
    processes.total(torch.zeros(1))


def dying(model, *, stage, device, on_step, at, **arguments):
    """A training of an embedder whose processes are killed after a step."""

    def report(step, metrics):
        on_step(step, metrics)
        if step == at:
            os.kill(os.getpid(), signal.SIGKILL)

    train_embedder(model, stage=replace(stage, device=device), on_step=report, **arguments)


def gradients(rank, folder, size, kind):
    """Loss and gradients of one batch, by one of several processes, left in a file."""
    torch.set_num_threads(1)
    budget = Budget(48, 60, "float32")
    if kind == "listwise":
        model = tiny_reranker(folder / f"encoder{size}-{rank}")
        backward = reranking_backward(model, training_set(model, prompts=("", ""), special=False), budget, 64)
    else:
        model = tiny_encoder()
        backward = embedding_backward(model, training_set(model, objective=kind), budget, LossSettings(0.05, 0.2))
    if size > 1:  # not before: transformers saves models in the first process only
        store = f"file://{folder}/store{size}"
        dist.init_process_group("gloo", init_method=store, rank=rank, world_size=size)
    seen = backward(Batch(0, np.arange(8)))
    processes.sum_gradients(list(model.parameters()))
    found = {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
    save_file({"loss": torch.tensor(seen.loss), **found}, folder / f"{size}-{rank}.safetensors")
    if size > 1:
        dist.destroy_process_group()


def host(folder, number, port):
    """A host's part of a training of the tiny encoder, its weights left in a file."""
    own = {"PET_NNODES": 2, "PET_NODE_RANK": number, "PET_MASTER_ADDR": "localhost", "PET_MASTER_PORT": port}
    os.environ.update({name: str(value) for name, value in own.items()})
    torch.set_num_threads(1)
    model = tiny_encoder()
    steps = []
    used = stage(folder, chunk_tokens=40, keep_tokens=60)
    train_embedder(model, *tables(folder), PROMPTS, used, lambda step, metrics: steps.append(step))
    save_file({"steps": torch.tensor(steps), **model.state_dict()}, folder / "weights.safetensors")
