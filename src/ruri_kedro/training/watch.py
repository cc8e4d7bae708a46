"""Sees a training go wrong: losses that are not finite or jump, embeddings that fall together."""

import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from ruri_kedro.training.measures import Measures
from ruri_kedro.training.plan import Batch
from ruri_kedro.training.settings import WatchSettings

_DEVIATION = 1.4826  # of a normal distribution, in median absolute deviations


@dataclass(frozen=True)
class Alarm:
    """Why a training must stop."""

    step: int  # the first bad one
    reason: str
    remedy: str
    example_ids: list[str]  # of that step's batch


class Watch:
    """Judges every step of a training. Sources have losses of their own level, so each is compared with its own.

    example_ids: of the training set, by row; warmup_steps: of the learning rate.
    """

    def __init__(self, settings: WatchSettings, example_ids: Sequence[str], warmup_steps: int) -> None:
        self._settings = settings
        self._example_ids = example_ids
        self._warmup_steps = warmup_steps
        self._losses: dict[int, deque[float]] = {}
        self._high: list[tuple[int, Batch, float]] = []  # steps in a row, up to now
        self._similar: list[tuple[int, Batch]] = []

    @property
    def suspects(self) -> bool:
        """Whether the last steps look bad, although not yet for long enough: no time for a checkpoint."""
        return bool(self._high or self._similar)

    def see(self, step: int, batch: Batch, measures: Measures, grad_norm: float) -> Alarm | None:
        """The alarm that this step, 1-based, gives; None as long as all is well."""
        if not (math.isfinite(measures.loss) and math.isfinite(grad_norm)):
            return Alarm(
                step,
                f"loss {measures.loss} and gradient norm {grad_norm} at step {step}",
                "Lower the learning rate or raise the warm-up.",
                self._ids(batch),
            )
        return self._spike(step, batch, measures.loss) or self._collapse(step, batch, measures.similarity)

    def _spike(self, step: int, batch: Batch, loss: float) -> Alarm | None:
        known = self._losses.setdefault(batch.group, deque(maxlen=self._settings.window))
        limit = self._limit(known)
        if limit is not None and loss > limit:
            self._high.append((step, batch, loss))
        elif limit is not None:
            for _, earlier, high in self._high:
                self._losses[earlier.group].append(high)
            self._high.clear()
            known.append(loss)
        else:
            known.append(loss)
        if len(self._high) < self._settings.spike_steps:
            return None
        first, bad, high = self._high[0]
        usual = self._losses[bad.group]
        return Alarm(
            first,
            f"the loss rose to {high:.4g} at step {first} and stayed high for {len(self._high)} steps; the median of "
            f"the {len(usual)} losses of that source before is {median(usual):.4g}",
            "Lower the learning rate or raise the warm-up, and look at the examples; if such losses are normal, raise "
            "run.watch.spike_rise or spike_deviations.",
            self._ids(bad),
        )

    def _limit(self, known: deque[float]) -> float | None:
        """What a loss must not exceed after these; None if they are too few."""
        if len(known) < self._settings.min_losses:
            return None
        middle = median(known)
        deviation = _DEVIATION * median(abs(loss - middle) for loss in known)
        return middle + max(self._settings.spike_deviations * deviation, self._settings.spike_rise)

    def _collapse(self, step: int, batch: Batch, similarity: float | None) -> Alarm | None:
        # A model with random weights starts with similar embeddings and learns to part them in its first steps.
        if similarity is None or step <= self._warmup_steps:
            return None
        if similarity < self._settings.collapse_similarity:
            self._similar.clear()
            return None
        self._similar.append((step, batch))
        if len(self._similar) < self._settings.collapse_steps:
            return None
        first, bad = self._similar[0]
        return Alarm(
            first,
            f"the embeddings have collapsed: their mean cosine is {similarity:.4f} at step {step} and has been "
            f"{self._settings.collapse_similarity} or more since step {first}",
            "Lower the learning rate or raise the temperature; if such embeddings are normal, raise "
            "run.watch.collapse_similarity.",
            self._ids(bad),
        )

    def _ids(self, batch: Batch) -> list[str]:
        return [self._example_ids[row] for row in batch.rows]

    def state_dict(self) -> dict[str, list[float]]:
        """The losses so far, by group, for a checkpoint; taken while nothing is suspect."""
        return {str(group): list(losses) for group, losses in self._losses.items()}

    def load_state_dict(self, state: dict[str, list[float]]) -> None:
        """Go on where `state_dict` was taken."""
        for group, losses in state.items():
            self._losses[int(group)] = deque(losses, maxlen=self._settings.window)
