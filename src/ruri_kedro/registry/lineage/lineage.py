"""Where a registered version comes from: run, commit, stages, sources, data, teacher and base model."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from ruri_kedro.errors import RegistryError
from ruri_kedro.models.packaged import described
from ruri_kedro.recipe.stages import STAGES, Stage, stage_of_model
from ruri_kedro.registry.runs.tracking import mlflow_client
from ruri_kedro.registry.runs.training_runs import (
    NO_RUN,
    OUTPUT,
    UNTRAINED,
    changed_stages,
    commit_text,
    context_of,
    maker_of,
    untrained_stages,
)
from ruri_kedro.registry.versions.models import Registered, registered, registered_by
from ruri_kedro.registry.versions.registered import SIGNED, logged_evidence, original_of, version_of
from ruri_kedro.text.layout import aligned

_MADE_OF_IT = f"{OUTPUT}evaluation"  # what came of the models, which they do not come from


@dataclass(frozen=True)
class RunInput:
    """A table, folder or model that the run read or made, as MLflow knows it."""

    name: str
    context: str  # the stage that read it, or `output of <stage>`
    digest: str
    rows: int | None
    place: str
    maker: str | None = None  # name and id of the run that made it, where it was another one


@dataclass(frozen=True)
class Lineage:
    """All that is known of how a version came about."""

    version: Registered
    copied_from: str | None  # the version that promotion copied
    run_id: str | None
    time: str  # of registration, UTC
    manifest: str | None  # SHA-256
    training: Mapping[str, Any]  # of the evidence
    teacher: str | None  # what its soft labels are of
    inputs: Sequence[RunInput]


def lineage(name: str, number: int) -> Lineage:
    """The lineage of a version. Raises RegistryError where it was registered without evidence of its training."""
    version = version_of(name, number)
    origin = original_of(name, number)
    training = logged_evidence(name, number).training
    if not training or "tables" not in training:
        raise RegistryError(
            f"{name} version {number} does not say what it was trained on. Register it again: "
            "kedro run --pipelines evaluation"
        )
    return Lineage(
        version=registered(name, number),
        copied_from=None if origin == (name, number) else "{} version {}".format(*origin),
        run_id=version.run_id,
        time=datetime.fromtimestamp(version.creation_timestamp / 1000, UTC).strftime("%Y-%m-%d %H:%M"),
        manifest=version.tags.get(SIGNED),
        training=training,
        teacher=_teacher(training, version.run_id),
        inputs=_run_inputs(version.run_id),
    )


def lineage_text(found: Lineage) -> str:
    """The lineage for a terminal."""
    of_training = [part(found.training) for part in (_trainings, _stages, _sources)]
    sections = ["\n".join(_facts(found)), *of_training]
    if found.inputs:
        sections.append(_data(found.inputs))
    return "\n\n".join(section.rstrip("\n") for section in sections) + "\n"


def _teacher(training: Mapping[str, Any], run_id: str | None) -> str | None:
    """The teacher that the recipe names; without a name the model of the recipe's own that the same run registered."""
    stage = next((row for row in STAGES.values() if row.teacher and row.name in training["tables"]), None)
    settings = training.get("trained", {}).get(stage.name, {}).get("settings", {}) if stage else {}
    if stage is None or (teacher := settings.get("teacher")) is None:
        return None
    if teacher.get("name"):
        return _pinned(teacher)
    made = stage_of_model(str(stage.teacher))
    if not _is_trained(made, training):
        return None
    prefix = made.registered_as.partition("{")[0] if made and made.registered_as else None
    own = [found for found in registered_by(run_id) if found.name.startswith(prefix)] if run_id and prefix else []
    return str(own[-1]) if own else f"the {stage.teacher} of this recipe"


def _is_trained(stage: Stage | None, training: Mapping[str, Any]) -> bool:
    """Whether a model of the kind of this stage came out of it: it, or one before it of the same kind, was trained."""
    if stage is None or stage.name not in untrained_stages(training):
        return True
    before = stage_of_model(stage.start)
    return before is not None and before.kind == stage.kind and _is_trained(before, training)


def _run_inputs(run_id: str | None) -> list[RunInput]:
    if not run_id:
        return []
    found = []
    run = mlflow_client().get_run(run_id)
    for logged in run.inputs.dataset_inputs:
        context = context_of(logged)
        rows = json.loads(logged.dataset.profile or "{}").get("num_rows")
        place = json.loads(logged.dataset.source).get("uri", "")
        if context == _MADE_OF_IT:
            continue
        maker = None if context.startswith(OUTPUT) else _maker(run, logged.dataset)
        found.append(RunInput(logged.dataset.name, context, logged.dataset.digest, rows, place, maker))
    return sorted(found, key=lambda item: (item.context.startswith(OUTPUT), item.name))


def _maker(run: Any, dataset: Any) -> str | None:
    """Name and id of the run before `run` that made these data: with one per pipeline, the one with the curves."""
    made = maker_of(dataset.name, dataset.digest, run)
    return f"{made.info.run_name}, {made.info.run_id}" if made else None


def _pinned(model: Mapping[str, Any]) -> str:
    return f"{model['name']}@{model['revision']}" if model.get("revision") else str(model["name"])


def _base(training: Mapping[str, Any]) -> str:
    base = training.get("base_model")
    if not base:
        return NO_RUN
    if base.get("name"):
        return _pinned(base)
    if base.get("package"):
        return described(base["package"])
    tiny = base.get("tiny", {})
    return f"built here, ModernBERT with {tiny.get('layers')} layers of width {tiny.get('hidden_size')}"


def _facts(found: Lineage) -> Iterator[str]:
    left_out = untrained_stages(found.training)
    last = next((run for stage, run in reversed(_trained(found.training)) if stage not in left_out), {})
    data = found.training.get("data", {})
    yield f"{found.version}  {found.version.decision}".rstrip()
    facts = {
        "copy of": found.copied_from,
        "registered": f"{found.time} UTC, run {found.run_id}",
        "made by": last.get("reproduce", NO_RUN),
        "commit": commit_text(last) if last else NO_RUN,
        "base model": _base(found.training),
        "teacher": found.teacher,
        "manifest": f"SHA-256 {found.manifest}" if found.manifest else "none",
        **{f"DVC {key.removeprefix('dvc.')}": value for key, value in sorted(data.items()) if key.startswith("dvc.")},
    }
    width = max(len(key) for key, value in facts.items() if value)
    yield from (f"  {key:<{width}}  {value}" for key, value in facts.items() if value)


def _trained(training: Mapping[str, Any]) -> list[tuple[str, Mapping[str, Any]]]:
    """Each stage and what it was trained with; empty where that is not known, as of versions of an older release."""
    return [(stage, training.get("trained", {}).get(stage, {})) for stage in training["tables"]]


def _trainings(training: Mapping[str, Any]) -> str:
    rows = [("stage", "trained by the run", "commit", "command")]
    left_out = untrained_stages(training)
    for stage, run in _trained(training):
        if stage in left_out:
            rows.append((stage, "not trained", "-", UNTRAINED))
            continue
        commit = commit_text(run) if run else "-"
        rows.append((stage, run.get("run_id", "unknown"), commit, run.get("reproduce", "-")))
    return aligned(rows, left=4)


def _stages(training: Mapping[str, Any]) -> str:
    rows = [("stage", "sources", "digest of its table", "rows", "trained on")]
    changed = changed_stages(training)
    for stage, table in training["tables"].items():
        counts = {name: row["examples"][stage] for name, row in training["sources"].items() if stage in row["examples"]}
        digest = table["digest"] + (" (made anew since)" if stage in changed else "")
        rows.append((stage, ", ".join(counts), digest, f"{table['rows']:,}", f"{sum(counts.values()):,}"))
    return aligned(rows, left=3)


def _sources(training: Mapping[str, Any]) -> str:
    rows = [("source", "licence", "origin", "from", "digest of its pairs", "pairs")]
    for name, row in training["sources"].items():
        places = ", ".join(row.get("from", ()))
        rows.append((name, row["licence"], row["origin"], places, row["digest"] or "-", f"{row['pairs']:,}"))
    return aligned(rows, left=5)


def _data(inputs: Sequence[RunInput]) -> str:
    rows = [("data of the run", "of", "made by the run", "digest", "rows")]
    rows += [
        (item.name, item.context, item.maker or "-", item.digest, "-" if item.rows is None else f"{item.rows:,}")
        for item in inputs
    ]
    return aligned(rows, left=4)
