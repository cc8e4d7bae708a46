"""A few texts by which a registered model is known again, and the time that one call takes."""

import time
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from ruri_kedro.errors import RegistryError
from ruri_kedro.models.foreign_code import open_model
from ruri_kedro.models.kinds import kind_called, model_class
from ruri_kedro.recipe.addresses import resolve
from ruri_kedro.registry.evidence.evidence import Trial
from ruri_kedro.registry.versions.stored import kinds_of_part, model_part

_CALLS = 15  # timed, after one that is not


def probe_scores(kind: str, model: Any, pairs: Sequence[tuple[str, str]]) -> np.ndarray:
    """Scores (pairs,) of (query, passage) pairs by a model of a kind, as evidence calls it."""
    return resolve(kind_called(kind).probe)(model, pairs)


def predictions(model: Any, pairs: Sequence[tuple[str, str]]) -> np.ndarray:
    """What a CrossEncoder predicts for (query, passage) pairs, (pairs,)."""
    return np.asarray(model.predict(list(pairs)), dtype=np.float64).reshape(len(pairs))


def cosines(model: Any, pairs: Sequence[tuple[str, str]]) -> np.ndarray:
    """Cosines (pairs,) of the two vectors of (query, passage) pairs by a SentenceTransformer."""
    sides = [
        model.encode(texts, prompt_name=_prompt(model, role), normalize_embeddings=True, convert_to_numpy=True)
        for role, texts in zip(("query", "document"), map(list, zip(*pairs, strict=True)), strict=True)
    ]
    return np.einsum("nd,nd->n", *sides).astype(np.float64)


def max_sims(model: Any, pairs: Sequence[tuple[str, str]]) -> np.ndarray:
    """MaxSim (pairs,) of (query, passage) pairs by a MultiVectorEncoder."""
    queries, passages = map(list, zip(*pairs, strict=True))
    scores = model.similarity_pairwise(model.encode_query(queries), model.encode_document(passages))
    return scores.cpu().numpy().astype(np.float64)


def try_model(root: Path, kind: str, probe: Sequence[Mapping[str, Any]]) -> Trial:
    """Load a downloaded model and score its logged probe again; whatever fails is its trial's error.

    Nothing that is stored with the model is run; `stored.foreign_faults` has to have found nothing before.
    """
    try:
        pairs = [(row["query"], row["passage"]) for row in probe]
        model = load_folder(root, kind)
        scores = probe_scores(kind, model, pairs)
        latency = _latency_ms(kind, model, pairs[0])
        deviation = float(np.abs(scores - [row["score"] for row in probe]).max())
    except Exception as error:
        return Trial(error=f"{type(error).__name__}: {error}".splitlines()[0])
    # A score that is no number is off by more than any tolerance.
    return Trial(deviation=deviation if np.isfinite(deviation) else float("inf"), latency_ms=latency)


def load_folder(root: Path, kind: str) -> Any:
    """The model in the folder of a version, opened by the class of its kind.

    MLflow's own loaders trust the code of a model. Raises RegistryError where there is no model of this kind.
    """
    part = model_part(root)
    if part is None or kind not in kinds_of_part(part):
        raise RegistryError(f"{root} has not the folder of one {kind}.")
    return open_model(model_class(kind_called(kind)), part)


def _latency_ms(kind: str, model: Any, pair: tuple[str, str]) -> float:
    """Median milliseconds of a single call."""
    call = partial(resolve(kind_called(kind).call), model, pair)
    call()
    times = []
    for _ in range(_CALLS):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return 1000 * median(times)


def encode_query(model: Any, pair: tuple[str, str]) -> Any:
    """A single call of a SentenceTransformer or MultiVectorEncoder: the vector of a query, or those of its tokens."""
    return model.encode(pair[0])


def predict_pair(model: Any, pair: tuple[str, str]) -> Any:
    """A single call of a CrossEncoder: the score of a pair."""
    return model.predict([pair])


def _prompt(model: Any, role: str) -> str | None:
    return role if role in model.prompts else None
