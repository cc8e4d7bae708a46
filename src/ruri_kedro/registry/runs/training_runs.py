"""What a model was trained with, as the MLflow runs say that trained it and the models that it was made from.

A run is found by the digest of the weights that came out of it. Where MLflow has none, as for a model that was trained
elsewhere and pulled, nothing is said of the stage.
"""

import ast
from collections.abc import Iterator, Mapping
from typing import Any

from ruri_kedro.recipe import stages
from ruri_kedro.registry.runs.tracking import mlflow_client, provenance_tags

OUTPUT = "output of "  # in front of the stage that made data, in the context that MLflow keeps with them
NO_RUN = "unknown: MLflow has no run that made it"
UNTRAINED = "no source took part, the model was handed on unchanged"


def trained_with(model: str, digest: str, run_id: str | None, examples: Mapping[str, str]) -> dict[str, dict[str, Any]]:
    """By stage, and for `base_model`, what made the model with this digest and those below it.

    `model` is its name in the catalog, `run_id` the run that reads or made it, `examples` the name of each stage's
    table. A stage has `run_id`, the tags of provenance, `settings` (its parameters as they were used), `examples`
    (digest of its table) and, where it trained nothing, `handed_on` in place of settings. One whose run is not known is
    left out, and with it what only that run could tell of.
    """
    if run_id is None:
        return {}
    # From the model back to those it was made from, each found by the digest of its weights.
    found: dict[str, dict[str, Any]] = {}
    seen = set()  # a teacher's pre-training does not stand for one of the embedder's that is not known
    waiting = [(model, digest, mlflow_client().get_run(run_id))]
    while waiting:
        name, digest, reader = waiting.pop(0)
        made_by = stages.stage_of_model(name)
        stage = made_by.name if made_by else stages.BASE
        if stage in seen:
            continue
        seen.add(stage)
        run = maker_of(name, digest, reader)
        if run is None:
            continue
        # What the run used and did.
        data = _digests(run)
        handed_on = made_by is not None and data.get(made_by.start) == digest
        found[stage] = {
            "run_id": run.info.run_id,
            **provenance_tags(run),
            "settings": {} if handed_on else _settings(run.data.params, made_by.block if made_by else stages.BASE),
            **({"handed_on": True} if handed_on else {}),
            **({"examples": data[table]} if (table := examples.get(stage)) in data else {}),
        }
        # A model's own encoder goes before that of its teacher.
        waiting += [(parent, data[parent], run) for parent in stages.parents_of(name) if parent in data]
    return {stage: found[stage] for stage in (stages.BASE, *examples) if stage in found}


def scored_model(scores: str, digest: str, model: str, run_id: str | None) -> str | None:
    """Digest of the `model` that the run had in which these scores were made, of all up to the run `run_id` the last.

    `scores` and `model` are names in the catalog, `digest` is of the table. None where MLflow has no such run.
    """
    if run_id is None:
        return None
    run = maker_of(scores, digest, mlflow_client().get_run(run_id))
    return _digests(run).get(model) if run else None


def changed_stages(training: Mapping[str, Any]) -> list[str]:
    """The stages whose table of examples was made anew after the training: its sources and leaks are of other rows."""
    digests = {stage: table.get("digest") for stage, table in training.get("tables", {}).items()}
    trained = training.get("trained", {})
    return [stage for stage, row in trained.items() if row.get("examples", digests.get(stage)) != digests.get(stage)]


def untrained_stages(training: Mapping[str, Any]) -> list[str]:
    """The stages in which nothing was trained: their model is the one that went in."""
    trained = training.get("trained", {})
    return [
        stage
        for stage, table in training.get("tables", {}).items()
        if trained.get(stage, {}).get("handed_on") or table.get("rows") == 0
    ]


def commit_text(tags: Mapping[str, str]) -> str:
    """The commit of a run's tags, and whether files differed from it."""
    changed = ", with changes that were not committed" if tags.get("git_dirty") == "true" else ""
    return tags.get("git_commit", "unknown: no git repository") + changed


def maker_of(name: str, digest: str, reader: Any) -> Any:
    """The last run of MLflow up to `reader` that made these data, which may be itself; None if there is none."""
    earlier = mlflow_client().search_runs(
        [reader.info.experiment_id],
        f"dataset.name = '{name}' and dataset.digest = '{digest}' "
        f"and attributes.start_time <= {reader.info.start_time}",
        order_by=["attributes.start_time DESC"],
    )
    return next((run for run in earlier if (name, digest) in _made(run)), None)


def context_of(given: Any) -> str:
    """The stage that read data of a run, or `output of <stage>`."""
    return next((tag.value for tag in given.tags if tag.key == "mlflow.data.context"), "")


def _digests(run: Any) -> dict[str, str]:
    """Digest by name of the data that a run read or made."""
    return {given.dataset.name: given.dataset.digest for given in run.inputs.dataset_inputs}


def _made(run: Any) -> Iterator[tuple[str, str]]:
    for given in run.inputs.dataset_inputs:
        if context_of(given).startswith(OUTPUT):
            yield given.dataset.name, given.dataset.digest


def _settings(params: Mapping[str, str], block: str) -> dict[str, Any]:
    """The parameters of a block, nested as in the recipe: kedro-mlflow has logged them flat, as text."""
    found: dict[str, Any] = {}
    for key, text in params.items():
        if key.startswith(f"{block}."):
            *above, last = key.removeprefix(f"{block}.").split(".")
            place = found
            for name in above:
                place = place.setdefault(name, {})
            place[last] = _value(text)
    return found


def _value(text: str) -> Any:
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text
