"""dvc.code.yml: a digest of what the code of each DVC stage does, which dvc.yaml reads as a parameter.

So a changed comment makes no stage stale, and a changed constant those stages whose code names it.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import yaml

from ruri_kedro.errors import DataError
from ruri_kedro.tables.code import behaviour_digest, name_of
from ruri_kedro.tables.files import replace_file

FILE = "dvc.code.yml"
COMMAND = "kedro ruri dvc-code"
_HEAD = (
    f"# What the code of each stage of dvc.yaml does, as digests. Written by `{COMMAND}`: run it before `dvc repro`.\n"
)
_PARAMETER = "${code}"  # how dvc.yaml calls the file
_MODULE = re.compile(r"python -m (\S+)")


def write_stage_digests(project: Path) -> dict[str, str]:
    """Bring dvc.code.yml of a project up to date; the digests of stages that have changed.

    Raises DataError where no stage of dvc.yaml reads them.
    """
    made, path = stage_digests(project), project / FILE
    kept = yaml.safe_load(path.read_text("utf-8")) if path.exists() else {}
    if kept != made:
        with replace_file(path) as aside:
            aside.write_text(_HEAD + yaml.safe_dump(made, sort_keys=False), encoding="utf-8")
    return {stage: digest for stage, digest in made.items() if kept.get(stage) != digest}


def stage_digests(project: Path) -> dict[str, str]:
    """Digest of what the code of each stage does, by its name. Raises DataError as `write_stage_digests`."""
    return {stage: behaviour_digest(*names) for stage, names in stage_work(project).items()}


def stage_work(project: Path) -> dict[str, list[str]]:
    """The modules, functions and data set classes that do the work of each stage, by its name.

    A stage runs a module (`python -m <module>`), or else a pipeline, which its command names last.
    """
    from ruri_kedro.pipeline_registry import register_pipelines

    stages, pipelines = _stages(project), register_pipelines()
    types = types_of_datasets(project)
    work = {}
    for name, stage in stages.items():
        if module := _MODULE.match(stage["cmd"]):
            is_package = find_spec(module[1]).submodule_search_locations
            work[name] = [f"{module[1]}.__main__" if is_package else module[1]]
        else:
            work[name] = work_of_pipeline(pipelines[stage["cmd"].split()[-1]], types)
    return work


def pipeline_digest(pipeline: Any, types: Callable[[str], str]) -> str:
    """Digest of what the code of a pipeline does; `types` as in `work_of_pipeline`."""
    names = work_of_pipeline(pipeline, types)
    return behaviour_digest(*names)


def work_of_pipeline(pipeline: Any, types: Callable[[str], str]) -> list[str]:
    """The functions and data set classes that do the work of a pipeline; `types` has the type of a data set."""
    from ruri_kedro.experiments.work import work_of

    functions = {name_of(each) for node in pipeline.nodes for each in work_of(node)}
    datasets = {types(dataset) for dataset in pipeline.datasets() if not dataset.startswith("params:")}
    return sorted(functions | {kind for kind in datasets if kind.startswith("ruri_kedro.")})


def _stages(project: Path) -> Mapping[str, Any]:
    """The stages that read a digest of their code."""
    path = project / "dvc.yaml"
    found = yaml.safe_load(path.read_text("utf-8"))["stages"] if path.exists() else {}
    found = {name: stage for name, stage in found.items() if name in _read_digests(stage)}
    if not found:
        raise DataError(
            f"{path}: no stage reads its code from {FILE}. The stages of a project of `ruri-kedro new` depend on the "
            "version of ruri-kedro instead and need no such file."
        )
    return found


def _read_digests(stage: Mapping[str, Any]) -> Iterator[str]:
    for row in stage.get("params", []):
        if isinstance(row, Mapping):
            yield from row.get(_PARAMETER, [])


def types_of_datasets(project: Path) -> Callable[[str], str]:
    """A function from the name of a data set to its type in the catalog."""
    from kedro.io import CatalogConfigResolver

    entries = yaml.safe_load((project / "conf/base/catalog.yml").read_text("utf-8"))
    types = {name: {"type": entry["type"]} for name, entry in entries.items() if not name.startswith("_")}
    resolver = CatalogConfigResolver(types, default_runtime_patterns={"{any}": {"type": "kedro.io.MemoryDataset"}})
    return lambda dataset: resolver.resolve_pattern(dataset)["type"]
