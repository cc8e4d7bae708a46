"""A few texts by which a registered model is known again, and the time that one call takes."""

import time
from collections.abc import Mapping, Sequence
from functools import partial
from math import isfinite
from pathlib import Path
from statistics import median
from typing import Any

from ruri_kedro.benchmark.runs import Run
from ruri_kedro.benchmark.scoring.models import Model
from ruri_kedro.benchmark.tasks.retrieval import RetrievalTask
from ruri_kedro.errors import RegistryError
from ruri_kedro.models.foreign_code import open_model
from ruri_kedro.models.kinds import kind_called, model_class
from ruri_kedro.recipe.addresses import resolve
from ruri_kedro.registry.evidence.evidence import Trial
from ruri_kedro.registry.versions.stored import kinds_of_part, model_part

_CALLS = 15  # timed, after one that is not


def scored_probe(kind: str, model: Any, probe: Sequence[Mapping[str, Any]]) -> list[dict]:
    """The rows of a probe with the model's score of query and passage; `kind` is its kind, as evidence calls it."""
    return _scored(resolve(kind_called(kind).served)(model), probe)


def _scored(model: Model, probe: Sequence[Mapping[str, Any]]) -> list[dict]:
    """By the benchmark's engine: the passages of a query are candidates to be ordered; texts are their own ids."""
    queries, passages = ({row[side]: row[side] for row in probe} for side in ("query", "passage"))
    candidates: Run = {query: {} for query in queries}
    for row in probe:
        candidates[row["query"]][row["passage"]] = 0.0
    ordered = model.order(RetrievalTask("probe", queries, passages, {}), candidates)
    return [{**row, "score": ordered[row["query"]][row["passage"]]} for row in probe]


def try_model(root: Path, kind: str, probe: Sequence[Mapping[str, Any]]) -> Trial:
    """Load a downloaded model and score its logged probe again; whatever fails is its trial's error.

    Nothing that is stored with the model is run; `stored.foreign_faults` has to have found nothing before.
    """
    try:
        model: Model = resolve(kind_called(kind).served)(load_folder(root, kind))
        scores = _scored(model, probe)
        latency = _latency_ms(model, probe[0])
        deviation = max(abs(new["score"] - old["score"]) for new, old in zip(scores, probe, strict=True))
    except Exception as error:
        return Trial(error=f"{type(error).__name__}: {error}".splitlines()[0])
    # A logged score that is not a number is off by more than any tolerance.
    return Trial(deviation=deviation if isfinite(deviation) else float("inf"), latency_ms=latency)


def load_folder(root: Path, kind: str) -> Any:
    """The model in the folder of a version, opened by the class of its kind.

    MLflow's own loaders trust the code of a model. Raises RegistryError where there is no model of this kind.
    """
    part = model_part(root)
    if part is None or kind not in kinds_of_part(part):
        raise RegistryError(f"{root}: the folder of one {kind} is expected.")
    return open_model(model_class(kind_called(kind)), part)


def _latency_ms(model: Model, row: Mapping[str, Any]) -> float:
    """Median milliseconds of a single call: a query to its vector, of a model of pairs a pair to its score."""
    call = partial(model.encode, [row["query"]], "query") if model.encode else partial(_scored, model, [row])
    call()
    times = []
    for _ in range(_CALLS):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return 1000 * median(times)
