"""`kedro ruri dvc`: stages of DVC for any recipe, one for each pipeline, made of the pipelines and the catalog."""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click
import yaml
from kedro.framework.project import settings

from ruri_kedro.cli.project import project_context
from ruri_kedro.cli.publish import sized
from ruri_kedro.cli.stage_code import pipeline_digest, types_of_datasets
from ruri_kedro.errors import DataError, RecipeError
from ruri_kedro.recipe.stages import pipeline_order
from ruri_kedro.tables.files import replace_file

_FILE, _VALUES = "dvc.yaml", "dvc.values.yml"
# No outputs for DVC: caches, what names a run, and what is written again for each model.
_LEFT_OUT = re.compile(
    r"(.*\.)?(indexes|embeddings)|bm25_runs|runs_.*|equal_models|training_data|.*_card|registered_models"
)
_METRICS = re.compile(r"metrics|.*_validation")
_PARAMETER = "params:"


@click.command()
@click.option("--env", "-e", required=True, help="Environment (recipe) whose stages are written.")
@sized
def dvc(env: str, size: str | None) -> None:
    """Write conf/<recipe>/dvc.yaml, a stage for each pipeline, and the parameters and the code that each depends on.

    Run it again before `dvc repro` when parameters or code have changed.
    """
    context = project_context(env, {"versioned": False}, size=size)
    folder = context.project_path / settings.CONF_SOURCE / env
    if not folder.is_dir():
        raise DataError(f"{folder}: there is no such recipe. The stages of conf/base stand in dvc.yaml of the project.")
    stages, values = recipe_stages(context, env, size)
    whole = json.loads(json.dumps(values))  # what stands twice is written twice
    pictures = [path for stage in stages.values() for path in stage["outs"] if str(path).endswith(".png")]
    for name, found in ((_FILE, {"stages": stages, "plots": [f"../../{path}" for path in pictures]}), (_VALUES, whole)):
        with replace_file(folder / name) as aside:
            text = yaml.safe_dump(found, sort_keys=False, allow_unicode=True, width=120)
            aside.write_text(f"# Written by: kedro ruri dvc --env {env}\n{text}", encoding="utf-8")
    place = (folder / _FILE).relative_to(context.project_path)
    click.echo(f"{place}: {len(stages)} stages. Next: dvc repro {place}")


def recipe_stages(context: Any, env: str, size: str | None = None) -> tuple[dict[str, Any], dict[str, Any]]:
    """The stages of a recipe, and by stage the parameters and the digest of the code that it depends on.

    `context` has the parameter versioned=false, by which outputs stand in the folders of DVC.
    """
    from kedro.io import CatalogConfigResolver

    from ruri_kedro.pipeline_registry import register_pipelines

    entries = {name: row for name, row in context.config_loader["catalog"].items() if not name.startswith("_")}
    places = CatalogConfigResolver(entries, default_runtime_patterns={"{any}": {"type": "kedro.io.MemoryDataset"}})
    pipelines = register_pipelines()
    project, up = context.project_path, Path(*[".."] * len(Path(settings.CONF_SOURCE, env).parts)).as_posix()
    types, params = types_of_datasets(project), context.params
    chosen = f"versioned=false,size={size}" if size else "versioned=false"
    stages, values = {}, {}
    for name in pipeline_order():
        pipeline = pipelines[name]
        read = {key.removeprefix(_PARAMETER) for key in pipeline.inputs() if key.startswith(_PARAMETER)}
        values[name] = {
            "code": pipeline_digest(pipeline, types),
            "parameters": {key: _value(params, key) for key in sorted(read - {"only", "engine"})},
        }
        stages[name] = {
            "cmd": f"kedro run --env {env} --params {chosen} --pipelines {name}",
            "wdir": up,
            "deps": sorted(_inputs(pipeline, places, params)),
            "params": [{Path(settings.CONF_SOURCE, env, _VALUES).as_posix(): [name]}],
            **_outputs(pipeline, places),
        }
    return stages, values


def _inputs(pipeline: Any, places: Any, params: Mapping[str, Any]) -> set[str]:
    """The files that a pipeline reads; of raw data, if the recipe has files of its own."""
    names = {name for name in pipeline.inputs() if not name.startswith(_PARAMETER)}
    if "raw" in names and not _has_files([params.get("sources"), params.get("tasks")]):
        names.remove("raw")
    return {places.resolve_pattern(name)["filepath"] for name in names}


def _outputs(pipeline: Any, places: Any) -> dict[str, list]:
    """What a pipeline writes: tables and models, metrics, plots."""
    outs, metrics = [], []
    for name in sorted(pipeline.all_outputs()):
        row = {} if _LEFT_OUT.fullmatch(name) else places.resolve_pattern(name)
        if "filepath" not in row:  # left out, or handed on in memory
            continue
        path = row["filepath"]
        if _METRICS.fullmatch(name):
            metrics.append(path)
        else:  # parts of tables that are current are kept when a stage runs again
            is_table = row["type"].rsplit(".", 1)[-1] in ("TableDataset", "FolderDataset")
            outs.append({path: {"persist": True}} if is_table else path)
    return {"outs": outs, **({"metrics": metrics} if metrics else {})}


def _has_files(value: Any) -> bool:
    """Whether a row of a source or task names a path, at any depth."""
    if isinstance(value, Mapping):
        return "path" in value or any(map(_has_files, value.values()))
    return isinstance(value, list) and any(map(_has_files, value))


def _value(params: Mapping[str, Any], key: str) -> Any:
    """The value of a parameter such as `mining.pretraining`."""
    found: Any = params
    for part in key.split("."):
        if part not in found:
            raise RecipeError(f"parameter {key}: missing. conf/base has it with its default.")
        found = found[part]
    return found
