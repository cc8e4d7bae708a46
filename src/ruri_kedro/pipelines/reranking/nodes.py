"""The reranker: a cross-encoder on the pre-trained encoder, two stages. Torch is imported inside the functions."""

from pathlib import Path

from ruri_kedro.recipe.annotations import Params, Reranker
from ruri_kedro.registry.runs.tracking import step_logger
from ruri_kedro.tables import Table
from ruri_kedro.training.stages import train_stage


def train_stage1(pretrained_model: Path, examples: Table, passages: Table, settings: Params, run: Params) -> Reranker:
    """Stage 1, on all question sources, with noise (Ruri, Section 3, Table 3)."""
    return train_stage("reranking_stage1", pretrained_model, examples, passages, settings, run, step_logger)


def train_stage2(reranker_stage1: Path, examples: Table, passages: Table, settings: Params, run: Params) -> Reranker:
    """Stage 2, on the clean sources, longer texts (Ruri, Section 3, Table 4)."""
    return train_stage("reranking_stage2", reranker_stage1, examples, passages, settings, run, step_logger)
