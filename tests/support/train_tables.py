"""Tables of a small training, and a stage with small settings."""

from tiny import TEXTS
from tiny_fit import WATCHED

from ruri_kedro.recipe.parse import parse
from ruri_kedro.tables import SCHEMAS, Part, write_table
from ruri_kedro.training.run import Stage
from ruri_kedro.training.settings import FinetuningSettings, HeldOutSettings

RERANKING = {
    "max_length": 32,
    "batch_size": 4,
    "epochs": 1,
    "learning_rate": 1e-3,
    "warmup_ratio": 0.1,
    "warmup_steps": None,
    "weight_decay": 0.01,
    "max_grad_norm": 1.0,
    "chunk_tokens": 64,
    "keep_tokens": 0,
    "precision": "float32",
    "attention": None,
    "compile": False,
    "trained_layers": None,
    "checkpoint_steps": 2,
    "averaging": None,
}
PRETRAINING = RERANKING | {
    "temperature": 0.05,
    "matryoshka_dims": None,
    "matryoshka_weights": None,
    "homogeneous": True,
    "shuffle_positives": False,
    "freeze_position_embeddings": False,
    "max_examples": None,
    "draw_one": False,
    "batch_by": {},
    "development": None,
}
FINETUNING = PRETRAINING | {
    "distillation_temperature": 1.0,
    "teacher": {"kind": "cross_encoder", "name": None, "revision": None},
    "teacher_max_length": 32,
    "teacher_precision": "float32",
    "threshold": None,
    "keep_share": 0.5,
    "min_kept": 0.1,
    "merging": None,
}
ADAPTATION = RERANKING | {"mask_share": 0.15, "max_word_pieces": 6, "train": "all"}


def stage(tmp_path, held_out=None, **settings):
    """A training of either kind of model; `settings` change parameters, `held_out` is that of `run`."""
    training = parse(FinetuningSettings, FINETUNING | settings, "tuned")
    measured = held_out and parse(HeldOutSettings, held_out, "run.held_out")
    return Stage("tuned", training, 1, "cpu", tmp_path / "checkpoints", WATCHED, held_out=measured)


def tables(tmp_path, objective="contrastive"):
    """Examples of two sources of 12 rows each, and the passages they name."""

    # Of two scores the lower is always 0 and the higher 1 for a student that is distilled: no gradient.
    count = 2 if objective == "distillation" else 1

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
            "negatives": [str((number + place) % 12 + 24) for place in range(count)],
            "shuffled": False,
        }

    passages = [
        {"docid": str(i), "source": "faq", "title": "", "section": "", "text": TEXTS[i % 36]} for i in range(36)
    ]
    examples = {name: [row(i, name) for i in range(12)] for name in ("faq", "nli")}
    return (
        examples_table(tmp_path / "examples", examples),
        write_table(tmp_path / "passages", SCHEMAS["passages"], {"faq": Part("k", lambda: iter([passages]))}),
    )


def examples_table(folder, rows):
    """A table of examples; rows: by source."""
    parts = {name: Part("k", lambda name=name: iter([rows[name]])) for name in rows}
    return write_table(folder, SCHEMAS["examples"], parts)
