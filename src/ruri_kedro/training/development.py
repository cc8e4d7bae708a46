"""A training measured on development pairs while it goes on, and the weights of its best evaluation."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from sentence_transformers import SentenceTransformer

from ruri_kedro.models.forward import encode_rows
from ruri_kedro.models.tokens import tokenize
from ruri_kedro.text.prompts import with_prompt
from ruri_kedro.training.held_out import rank_correlation, reading
from ruri_kedro.training.settings import DevelopmentSettings

METRIC = "spearman"


@dataclass(frozen=True)
class DevelopmentPairs:
    """Pairs of texts with scores by people; pair i is texts1[i], texts2[i], scores[i]."""

    texts1: Sequence[str]
    texts2: Sequence[str]
    scores: Sequence[float]

    def drawn(self, items: int | None, seed: int) -> "DevelopmentPairs":
        """So many of the pairs, in their order; all where there are no more."""
        if items is None or items >= len(self.scores):
            return self
        places = np.sort(np.random.default_rng(seed).choice(len(self.scores), items, replace=False)).tolist()
        return DevelopmentPairs(*([values[i] for i in places] for values in (self.texts1, self.texts2, self.scores)))


def spearman_of(
    model: SentenceTransformer,
    pairs: DevelopmentPairs,
    prompt: str,
    max_length: int,
    chunk_tokens: int,
    precision: str,
) -> Callable[[], float]:
    """What measures a bi-encoder: Spearman's correlation of the cosines of pairs with their scores.

    Both texts are read with `prompt`. The texts are tokenised once.
    """
    texts = list(dict.fromkeys([*pairs.texts1, *pairs.texts2]))
    place = {text: number for number, text in enumerate(texts)}
    sides = [np.array([place[text] for text in side]) for side in (pairs.texts1, pairs.texts2)]
    tokens = tokenize(model.tokenizer, [with_prompt(prompt, text) for text in texts], max_length)
    rows = [tokens.row(number) for number in range(len(texts))]
    scores = np.array(pairs.scores, dtype=np.float64)

    def measure() -> float:
        with reading(model):
            vectors = encode_rows(model, rows, chunk_tokens, precision)
        return rank_correlation((vectors[sides[0]] * vectors[sides[1]]).sum(axis=1), scores)

    return measure


@dataclass
class Development:
    """The evaluations of a training of so many steps, and its best weights so far.

    Of several processes the first one measures, the others have `measure` None. A score that is equal to an earlier one
    is not better.
    """

    settings: DevelopmentSettings
    steps: int
    measure: Callable[[], float] | None
    scores: dict[int, float] = field(default_factory=dict)  # by step, 0 for the model before the first
    weights: dict[str, torch.Tensor] | None = None  # of the best step, on the CPU; None where they are not kept

    @property
    def keeps_best(self) -> bool:
        """Whether the result of the training is its best evaluation."""
        return self.settings.keep == "best"

    @property
    def best_step(self) -> int:
        """The step of the highest score, the first of equal ones."""
        return max(self.scores, key=lambda step: (self.scores[step], -step))

    def due(self, step: int) -> bool:
        """Whether the model is measured after a step: at even distances, after the last and before the first."""
        count = min(self.settings.evaluations, self.steps)
        return step * count // self.steps > (step - 1) * count // self.steps or step == 0

    def see(self, step: int, model: torch.nn.Module) -> Mapping[str, float]:
        """Measure the model after a step where that is due; what is to be reported of it."""
        if self.measure is None or not self.due(step):
            return {}
        self.scores[step] = score = self.measure()
        if self.keeps_best and self.best_step == step:
            self.weights = {name: value.detach().cpu().clone() for name, value in model.state_dict().items()}
        found = {f"development/{METRIC}": score}
        if step == self.steps:
            found |= {"development/best": self.scores[self.best_step], "development/best_step": float(self.best_step)}
        return found

    def state_dict(self) -> dict[str, float]:
        """The scores so far, for a checkpoint; the weights are beside it."""
        return {str(step): score for step, score in self.scores.items()}

    def load_state_dict(self, scores: Mapping[str, float], weights: dict[str, torch.Tensor] | None) -> None:
        """Go on where `state_dict` was taken, with the best weights until then."""
        self.scores = {int(step): score for step, score in scores.items()}
        self.weights = weights

    def report(self) -> dict[str, Any]:
        """As JSON: the scores by step, the best one and its step."""
        return {
            "task": self.settings.task,
            "metric": METRIC,
            "best_step": self.best_step,
            "best": self.scores[self.best_step],
            "scores": [[step, score] for step, score in sorted(self.scores.items())],
        }
