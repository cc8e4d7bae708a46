"""A cell's embedder on one of mteb's benchmarks, as the paper's Tables 12 and 13 have it."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from kedro.pipeline import Node, Pipeline

from ruri_kedro.recipe.annotations import Params
from ruri_kedro.tables import Part
from ruri_kedro.tables.code import behaviour_digest
from ruri_kedro.tables.store import blocks, key_of

AVERAGE = "Avg."


def create_pipeline() -> Pipeline:
    """embedder -> scores_benchmark."""
    return Pipeline(
        [
            Node(
                func=score_benchmark,
                inputs=[
                    "embedder",
                    "params:mteb",
                    "params:ablations.benchmark",
                    "params:ablations.folder",
                    "params:prompts",
                    "params:task_prompts",
                ],
                outputs="scores_benchmark",
                name="score_benchmark",
            )
        ]
    )


def check_benchmark(mteb: Params, benchmark: Params) -> None:
    """Raise an error, before any cell is run, for prompts or tasks that are not there and data that cannot be had."""
    from ruri_kedro.benchmark.mteb.model import EncodingSettings
    from ruri_kedro.benchmark.mteb.tasks import benchmark_tasks, check_data, hub_reachable

    EncodingSettings.of(mteb, benchmark["prompts"] or {})
    check_data(benchmark_tasks(benchmark["name"]), online=hub_reachable())


def score_benchmark(
    embedder: Path, mteb: Params, benchmark: Params, folder: str, prompts: Params, task_prompts: Params
) -> dict[str, Part]:
    """Means by category and their average, by mteb's main scores (`mteb`) and by those of the benchmark's authors.

    Tasks that are done for a model are kept in `folder`, so a benchmark that was cut off goes on. The prompts are those
    that `benchmark` names, or the model's own.
    """
    from ruri_kedro.benchmark.mteb.model import EncodingSettings
    from ruri_kedro.benchmark.mteb.prompts import recipe_prompts, saved_prompts
    from ruri_kedro.models.saved import SavedModel

    model = SavedModel.of(str(embedder), mteb["device"])
    out = Path(folder) / "benchmark" / model.revision
    own = recipe_prompts(prompts, task_prompts)
    chosen = benchmark["prompts"] or saved_prompts(model.name, model.prompts, mteb, own)
    settings = EncodingSettings.of(mteb, chosen)
    key = key_of(model=model.revision, benchmark=benchmark, prompts=dict(settings.prompts),
                 code=behaviour_digest(score_benchmark))  # fmt: skip
    return {"benchmark": Part(key, lambda: blocks(_rows(model, settings, mteb["official"], benchmark["name"], out)))}


def _rows(model: Any, settings: Any, official_metrics: Params, benchmark: str, out: Path) -> Iterator[dict]:
    from ruri_kedro.benchmark.mteb.model import benchmark_encoder
    from ruri_kedro.benchmark.mteb.report import CATEGORIES, read_scores
    from ruri_kedro.benchmark.mteb.run import evaluate_tasks, missing_tasks
    from ruri_kedro.benchmark.mteb.tasks import benchmark_tasks

    tasks = benchmark_tasks(benchmark)
    encoder = benchmark_encoder(model.name, model.revision, model.encode, settings, out)
    evaluate_tasks(missing_tasks(tasks, encoder, out), encoder, out)
    [scores] = read_scores(out, tasks, official_metrics.get(benchmark, {}))
    for metric, official in (("mteb", False), ("official", True)):
        means = {CATEGORIES[kind]: mean for kind, mean in scores.categories(official).items()}
        for category, mean in (means | {AVERAGE: scores.average(official)}).items():
            yield {"model": model.name, "task": category, "metric": metric, "query_id": "", "score": mean}
