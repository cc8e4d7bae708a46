"""The reranker: a cross-encoder on the pre-trained encoder, two stages. Torch is imported inside the functions."""

from pathlib import Path

from ruri_kedro.pipelines.shared import Params, Reranker, stage_of
from ruri_kedro.registry.tracking import step_logger
from ruri_kedro.tables import Table


def train_stage1(pretrained_model: Path, examples: Table, passages: Table, settings: Params, run: Params) -> Reranker:
    """Stage 1, on all question sources, with noise (Ruri, Section 3, Table 3)."""
    from ruri_kedro.encoders.base import build_cross_encoder
    from ruri_kedro.training.run import train_reranker

    model = build_cross_encoder(pretrained_model, settings["max_length"], run["seed"])
    stage = stage_of("reranking_stage1", settings, run)
    return train_reranker(model, examples, passages, stage, step_logger("reranking_stage1"))


def train_stage2(reranker_stage1: Path, examples: Table, passages: Table, settings: Params, run: Params) -> Reranker:
    """Stage 2, on the clean sources, longer texts (Ruri, Section 3, Table 4)."""
    from ruri_kedro.encoders.base import load_cross_encoder
    from ruri_kedro.training.run import train_reranker

    model = load_cross_encoder(reranker_stage1, settings["max_length"])
    stage = stage_of("reranking_stage2", settings, run)
    return train_reranker(model, examples, passages, stage, step_logger("reranking_stage2"))
