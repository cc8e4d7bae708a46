"""Unsupervised pairs are the same text twice: dropout alone tells the two apart (SimCSE, arXiv 2104.08821)."""

import numpy as np
import torch
from sentence_transformers import MultiVectorEncoder, SentenceTransformer

from ruri_kedro.errors import RecipeError
from ruri_kedro.models.forward import embed
from ruri_kedro.models.layers import train_mode
from ruri_kedro.recipe.objectives import UNTAUGHT
from ruri_kedro.training.data import ANCHOR, POSITIVE, TrainingSet
from ruri_kedro.training.gradcache import draws


def check_dropout(model: SentenceTransformer | MultiVectorEncoder, data: TrainingSet, stage: str) -> None:
    """Raise RecipeError where a source has pairs of equal texts only and the model encodes a text always alike."""
    same = data.identities[:, ANCHOR] == data.identities[:, POSITIVE]
    unsupervised = [
        name
        for number, (name, objective) in enumerate(zip(data.group_names, data.objectives, strict=True))
        if objective in UNTAUGHT and same[data.groups == number].all()
    ]
    if unsupervised and isinstance(model, SentenceTransformer) and not drops_out(model, data.tokens.row(0)):
        raise RecipeError(
            f"{stage}: the pairs of {', '.join(unsupervised)} are the same text twice. Dropout alone tells the two "
            "apart, and this model drops nothing out, so nothing would be learnt. Take a base model with dropout; of "
            "the tiny one, base_model.tiny.dropout: 0.1."
        )


@torch.no_grad()
def drops_out(model: SentenceTransformer, row: np.ndarray) -> bool:
    """Whether a model in training encodes the same tokens differently each time. Random states stay as they are."""
    train_mode(model)
    vectors = []
    for seed in (0, 1):
        with draws(seed):
            vectors.append(embed(model, [row]))
    model.eval()
    return not torch.equal(*vectors)
