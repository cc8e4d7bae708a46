"""A layer behind the pooling that helps a training and is no part of the model it leaves (SimCSE, arXiv 2104.08821)."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from sentence_transformers import SentenceTransformer

from ruri_kedro.models.forward import ends_normalized


class MlpHead(torch.nn.Module):
    """A dense layer of the model's width and tanh. Outside training it hands embeddings on as they are."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.dense = torch.nn.Linear(width, width)

    def forward(self, features: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """The features with `sentence_embedding` (rows, width) behind the layer."""
        if self.training:
            features["sentence_embedding"] = torch.tanh(self.dense(features["sentence_embedding"]))
        return features


HEADS = {"mlp": MlpHead}


@contextmanager
def training_head(model: SentenceTransformer, kind: str | None, seed: int) -> Iterator[None]:
    """Puts a head, a name of HEADS, behind the pooling of `model` as long as the block lasts; None puts none.

    Its random weights depend on the seed only. It is a module of the model, so checkpoints hold it.
    """
    if kind is None:
        yield
        return
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        head = HEADS[kind](model.get_embedding_dimension())
    place = len(model) - ends_normalized(model)
    model.insert(place, head)
    try:
        yield
    finally:
        model.pop(place)
