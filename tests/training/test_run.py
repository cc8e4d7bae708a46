"""A training from tables: what is refused before it starts."""

from types import SimpleNamespace

import pytest
from tiny import PROMPTS, tiny_encoder, tiny_reranker

from ruri_kedro.errors import RecipeError, TrainingError
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


def stage(tmp_path, **settings):
    return Stage("tuned", {**SETTINGS, **settings}, 1, "cpu", tmp_path)


def table(*rows):
    """Stands for a table of examples."""
    return SimpleNamespace(root="examples", iter_rows=lambda: iter(rows))


def example(source, objective, split="train"):
    return {"source": source, "objective": objective, "split": split}


def refuse(*_):
    raise AssertionError("training has begun")


@pytest.mark.parametrize(
    ("objective", "teacher", "allowed"),
    [
        ("magic", None, "contrastive, info_nce."),
        ("magic", {}, "contrastive, info_nce, distillation, margin_mse."),
        ("margin_mse", None, "contrastive, info_nce."),
        ("listwise", {}, "contrastive, info_nce, distillation, margin_mse."),
    ],
)
def test_an_objective_that_cannot_be_trained_is_one_error(tmp_path, objective, teacher, allowed):
    examples = table(example("news", "contrastive"), example("faq", objective), example("old", "dead", "validation"))
    message = rf"sources.faq.stages.tuned.objective: '{objective}' cannot be trained here. Allowed: {allowed}"
    with pytest.raises(RecipeError, match=message):
        train_embedder(tiny_encoder(), examples, table(), PROMPTS, stage(tmp_path), refuse, teacher)


def test_a_reranker_is_trained_listwise_only(tmp_path):
    with pytest.raises(RecipeError, match=r"sources.faq.stages.tuned.objective: 'contrastive'.*Allowed: listwise."):
        train_reranker(
            tiny_reranker(tmp_path / "base"), table(example("faq", "contrastive")), table(), stage(tmp_path), refuse
        )


def test_no_training_rows_are_an_error(tmp_path):
    with pytest.raises(TrainingError, match="no training rows"):
        train_embedder(
            tiny_encoder(), table(example("a", "b", "validation")), table(), PROMPTS, stage(tmp_path), refuse
        )


def test_a_missing_parameter_is_named(tmp_path):
    incomplete = {name: value for name, value in SETTINGS.items() if name != "temperature"}
    with pytest.raises(RecipeError, match="tuned: parameter temperature missing"):
        train_embedder(
            tiny_encoder(), table(), table(), PROMPTS, Stage("tuned", incomplete, 1, "cpu", tmp_path), refuse
        )
