"""What one step of training saw, and what of it is reported."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

# A metric of MLflow may have other characters than a source.
_NOT_IN_METRIC = re.compile(r"[^\w.\- ]+")


@dataclass(frozen=True)
class Measures:
    """What the backward pass of a batch saw."""

    loss: float
    source_losses: Mapping[str, float]  # mean loss by source, where the loss is one of single rows or of one source
    tokens: int  # of the texts, without padding, each text of a batch once
    padded_tokens: int  # of the forward passes
    similarity: float | None = None  # mean cosine between the embeddings of the batch; None for a cross-encoder

    def metrics(self, examples: int, seconds: float) -> dict[str, float]:
        """Metrics of a step of so many examples and seconds, by name."""
        found = {
            "loss": self.loss,
            "examples_per_second": examples / seconds,
            "tokens_per_second": self.tokens / seconds,
            "padding_share": 1 - self.tokens / self.padded_tokens,
        }
        if self.similarity is not None:
            found["similarity"] = self.similarity
        return found | {source_metric(name): loss for name, loss in self.source_losses.items()}


def source_metric(name: str) -> str:
    """The metric that has the loss of a source, by the name of the source in a training set."""
    return metric_of("source_loss", name)


def metric_of(kind: str, name: str) -> str:
    """The metric that has what `kind` says of a source."""
    return f"{kind}/{_NOT_IN_METRIC.sub('', name)}"
