"""The reranker: a cross-encoder on the pre-trained encoder, two stages. Torch is imported inside the functions."""

from pathlib import Path

from ruri_kedro.pipelines.shared import Params, Reranker
from ruri_kedro.pipelines.training import train_stage
from ruri_kedro.tables import Table


def train_stage1(pretrained_model: Path, examples: Table, passages: Table, settings: Params, run: Params) -> Reranker:
    """Stage 1, on all question sources, with noise (Ruri, Section 3, Table 3)."""
    return train_stage("reranking_stage1", pretrained_model, examples, passages, settings, run)


def train_stage2(reranker_stage1: Path, examples: Table, passages: Table, settings: Params, run: Params) -> Reranker:
    """Stage 2, on the clean sources, longer texts (Ruri, Section 3, Table 4)."""
    return train_stage("reranking_stage2", reranker_stage1, examples, passages, settings, run)
