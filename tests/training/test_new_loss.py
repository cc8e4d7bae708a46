"""A new loss on vectors is a row of two tables: what it needs, and what it computes."""

import ast
from pathlib import Path

import torch.nn.functional as F
from tiny import PROMPTS, tiny_encoder
from train_tables import stage, tables

import ruri_kedro
from ruri_kedro.recipe.objectives import NEEDS, UNTAUGHT, Needs
from ruri_kedro.training import objectives, run

PACKAGE = Path(ruri_kedro.__file__).parent
# Of vectors, of token vectors, and the loss that needs an even number of components.
OWN = {"recipe/objectives.py", "training/objectives.py", "training/multi_vector.py", "training/run.py"}


def _triplet(rows, settings):
    """A margin between the distances to the positive and to the nearest negative."""
    vectors = F.normalize(rows.vectors, dim=-1)
    near = (vectors[:, :1] * vectors[:, 1:]).sum(-1)
    return (near[:, 1:].masked_fill(~rows.mask, -1).amax(1) - near[:, 0] + settings.temperature).clamp_min(0).mean()


def test_a_new_loss_trains(tmp_path, monkeypatch):
    monkeypatch.setitem(NEEDS, "triplet", Needs("passages", in_batch=False, negatives=1))
    monkeypatch.setitem(objectives.LOSSES, "triplet", _triplet)
    monkeypatch.setattr(run, "UNTAUGHT", (*UNTAUGHT, "triplet"))  # as it is where the row stands in the file
    seen = []
    run.train_embedder(
        tiny_encoder(),
        *tables(tmp_path, "triplet"),
        PROMPTS,
        stage(tmp_path, temperature=0.3),
        lambda step, metrics: seen.append(metrics),
    )
    assert len(seen) == 6 and all(metrics["loss"] > 0 and metrics["grad_norm"] > 0 for metrics in seen)
    assert {name for metrics in seen for name in metrics if name.startswith("source_loss/")} == {
        "source_loss/faq triplet", "source_loss/nli triplet"}  # fmt: skip


def test_no_other_file_names_a_loss():
    found = set()
    for file in PACKAGE.rglob("*.py"):
        strings = {
            node.value for node in ast.walk(ast.parse(file.read_text("utf-8"))) if isinstance(node, ast.Constant)
        }
        if strings & NEEDS.keys():
            found.add(str(file.relative_to(PACKAGE)))
    assert found == OWN
