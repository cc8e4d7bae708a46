"""What each pair of sentences has of a model's correlation, so that two models can be compared pair by pair."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
from kedro.pipeline import Node, Pipeline

from ruri_kedro.benchmark.comparing.significance import holm, randomisation_test
from ruri_kedro.benchmark.tasks.types import by_type
from ruri_kedro.recipe.annotations import Params
from ruri_kedro.tables import Part, Table
from ruri_kedro.tables.code import behaviour_digest
from ruri_kedro.tables.store import blocks, key_of

NODE, SCORES = "score_pairs", "scores_pairs"
_METRIC = "spearman_part"
_STS = "sts"


def create_pipeline() -> Pipeline:
    """embedder -> scores_pairs."""
    inputs = ["embedder", "test_sets", "params:tasks", "params:prompts", "params:task_prompts", "params:evaluation"]
    return Pipeline([Node(func=score_pairs, inputs=inputs, outputs=SCORES, name=NODE)])


@by_type("scoring")
def score_pairs(
    embedder: Path, test_sets: Path, tasks: Params, prompts: Params, task_prompts: Params, evaluation: Params
) -> dict[str, Part]:
    """Of each pair of every test of sentence similarity its part of Spearman's correlation, a part per test."""
    from ruri_kedro.benchmark.scoring.stored_runs import asked_model
    from ruri_kedro.benchmark.tasks.stored import stored_digest
    from ruri_kedro.models.reference import EncoderReference

    asked = asked_model("pairs", embedder, {**prompts, **task_prompts}, evaluation)
    made_of = {"model": EncoderReference.of({}, embedder).digest(), "prompts": prompts, "task_prompts": task_prompts,
               "evaluation": evaluation, "code": behaviour_digest(score_pairs)}  # fmt: skip

    def part(name: str) -> Part:
        key = key_of(task=stored_digest(test_sets, name), **made_of)
        return Part(key, lambda: blocks(_rows(asked, test_sets, name)))

    return {name: part(name) for name, row in tasks.items() if row["type"] == _STS}


def _rows(asked: Any, test_sets: Path, name: str) -> Iterator[dict]:
    from ruri_kedro.benchmark.metrics import cosines, spearman_parts
    from ruri_kedro.benchmark.scoring.models import checked_vectors
    from ruri_kedro.benchmark.tasks.stored import stored_task
    from ruri_kedro.benchmark.tasks.sts import ROLE

    task = stored_task(test_sets, name)
    found = cosines(*(checked_vectors(asked, task, side, ROLE) for side in (task.texts1, task.texts2)))
    for number, value in enumerate(spearman_parts(found, task.scores).tolist()):
        yield {"model": asked.name, "task": name, "metric": _METRIC, "query_id": str(number), "score": value}


def parts_by_task(scores: Table) -> dict[str, np.ndarray]:
    """The parts of the pairs of each test, in percent, in the order of its pairs."""
    found: dict[str, dict[int, float]] = {}
    for row in scores.iter_rows():
        found.setdefault(row["task"], {})[int(row["query_id"])] = 100 * row["score"]
    return {task: np.array([rows[number] for number in sorted(rows)]) for task, rows in sorted(found.items())}


def compared_by_pairs(models: Mapping[str, Sequence[Mapping[str, np.ndarray]]]) -> list[dict[str, Any]]:
    """Any two models on each test, by the pairs' parts of the correlation, mean over seeds.

    models: by name, for each seed what `parts_by_task` gives. p is that of a randomisation test over pairs, adjusted
    by Holm over all that is compared.
    """
    means = {
        name: {task: np.mean([seed[task] for seed in seeds], axis=0) for task in seeds[0]}
        for name, seeds in models.items()
        if seeds
    }
    rows, p_values = [], []
    for one, other in combinations(means, 2):
        for task in means[one]:
            difference = means[one][task] - means[other][task]
            rows.append({"one": one, "other": other, "task": task, "pairs": len(difference),
                         "difference": float(difference.mean())})  # fmt: skip
            p_values.append(float(randomisation_test(difference)))
    return [{**row, "p": p} for row, p in zip(rows, holm(p_values), strict=True)]
