"""The work of a cell: steps, each a node of the recipe, known by all that its result depends on.

Two cells whose node has the same code and parameters and reads the same data have the same step, so it is done once. A
step that is done has a manifest in its folder; one that was killed goes on from its checkpoint.
"""

import copy
import os
import shutil
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from kedro.io.core import AbstractDataset
from kedro.pipeline import Pipeline
from kedro.pipeline.node import Node

from ruri_kedro.errors import RecipeError
from ruri_kedro.experiments.cells import parameter
from ruri_kedro.experiments.work import work_of
from ruri_kedro.recipe.annotations import Params
from ruri_kedro.recipe.stages import STAGES
from ruri_kedro.tables.checksums import MANIFEST, read_checked, write_checked
from ruri_kedro.tables.code import behaviour_digest
from ruri_kedro.tables.files import read_json, replace_dir
from ruri_kedro.tables.store import key_of
from ruri_kedro.training.planning import DEVELOPMENT_FILE, STEPS_FILE

_RUN, _SOURCES = "params:run", "params:sources"
# Parameters of runs on which no result depends; the store has its own place for checkpoints.
_NO_RESULT = ("checkpoints", "held_out", "allow_untrained")


class Planned(Protocol):
    """What is known of a cell when its steps are planned."""

    wanted: str  # the table of scores that says what its model is worth

    def parameters(self, recipe: Params, seed: int) -> Params:
        """Its parameters."""
        ...

    def reads(self, node: str, dataset: str) -> str:
        """The data set that a node of it reads where the recipe's reads `dataset`."""
        ...

    def told(self, node: str, name: str, value: Any) -> Any:
        """What a node of it is given for an input `params:...` of this value."""
        ...


@dataclass(frozen=True)
class Step:
    """A node with its parameters and the steps that it reads from; None stands for the recipe's own data."""

    node: Node
    key: str
    params: Mapping[str, Any]
    inputs: Mapping[str, tuple["Step | None", str]]  # as the node calls it: step, and name of the data set

    @property
    def folder(self) -> str:
        """Name of its folder."""
        return f"{self.node.name}-{self.key}"


def plan(cell: Planned, seed: int, recipe: Params, nodes: Pipeline, given: Mapping[str, str]) -> list[Step]:
    """The steps to the scores of a cell, each behind those that it reads from.

    `given` are digests of the recipe's own data sets, which no cell makes anew.
    """
    params = cell.parameters(recipe, seed)
    makers = {output: node for node in nodes.nodes for output in node.outputs}
    steps: dict[str, Step] = {}

    def source(dataset: str) -> tuple[Step | None, str]:
        return (None if dataset in given else step(makers[dataset])), dataset

    def step(node: Node) -> Step:
        if node.name not in steps:
            read = [name for name in node.inputs if not name.startswith("params:")]
            inputs = {name: source(cell.reads(node.name, name)) for name in read}
            values = {
                name: cell.told(node.name, name, parameter(params, name.removeprefix("params:")))
                for name in node.inputs
                if name not in read
            }
            told = dict(values)
            if _RUN in told:
                told[_RUN] = {name: value for name, value in told[_RUN].items() if name not in _NO_RESULT}
            if node.short_name in {stage.node for stage in STAGES.values()}:
                told = {name: _without_merging(value) for name, value in told.items()}
            if _SOURCES in told:
                told[_SOURCES] = _sources_read(node, told[_SOURCES], recipe["sources"])
            read_keys = {name: [made, maker.key if maker else given[made]] for name, (maker, made) in inputs.items()}
            code = behaviour_digest(*work_of(node))
            key = key_of(node=node.name, params=told, inputs=read_keys, code=code)
            steps[node.name] = Step(node, key, values, inputs)
        return steps[node.name]

    step(makers[cell.wanted])
    return list(steps.values())


class StepStore:
    """Folders of steps, a data set per output in each, of the kinds that the catalog gives them."""

    def __init__(self, folder: Path, recipe_data: Mapping[str, Any], entries: Any) -> None:
        """`recipe_data` are the recipe's own data sets, loaded; `entries` resolves a name to the catalog's entry."""
        self._folder = Path(folder)
        self._recipe_data = recipe_data
        self._entries = entries

    def is_done(self, step: Step) -> bool:
        """Whether the step's outputs are there."""
        return (self._folder / step.folder / MANIFEST).is_file()

    def made_by(self, step: Step) -> str | None:
        """Id of the MLflow run in which the step was done."""
        return read_checked(self._folder / step.folder / MANIFEST)["run_id"]

    def steps_of(self, step: Step) -> dict[str, int]:
        """The steps of the trainings of a step that is done, by `steps/<stage>/<objective>`."""
        trained = read_checked(self._folder / step.folder / MANIFEST).get("trained", {})
        return {
            f"steps/{stage}/{objective}": steps
            for stage, report in trained.items()
            for objective, steps in report["objectives"].items()
        }

    def development_of(self, step: Step) -> dict[str, Any]:
        """The evaluations on development data of the trainings of a step that is done, by stage."""
        return read_checked(self._folder / step.folder / MANIFEST).get("development", {})

    def seconds_of(self, step: Step) -> float:
        """How long a step that is done took, without what was lost to kills."""
        return float(read_checked(self._folder / step.folder / MANIFEST)["seconds"])

    def run(self, step: Step, run_id: str | None) -> None:
        """Do the step: run its node on what earlier steps have left, save what comes out, then say that it is done."""
        folder, start = self._folder / step.folder, time.monotonic()
        self._take_over(step)
        values = copy.deepcopy(dict(step.params))
        if _RUN in values:
            values[_RUN]["checkpoints"] = str(folder / ".checkpoints")
        inputs = {name: self.load(maker, made) for name, (maker, made) in step.inputs.items()}
        for name, value in step.node.run(inputs | values).items():
            self._dataset(step, name).save(value)
        trained, measured = (
            {path.parent.name: read_json(path) for path in (folder / ".checkpoints").glob(f"*/{file}")}
            for file in (STEPS_FILE, DEVELOPMENT_FILE)
        )
        shutil.rmtree(folder / ".checkpoints", ignore_errors=True)
        shutil.rmtree(folder / ".tokens", ignore_errors=True)
        made = {
            "node": step.node.name,
            "trained": trained,
            "development": measured,
            "params": step.params,
            "inputs": {name: maker.folder if maker else None for name, (maker, _) in step.inputs.items()},
            "run_id": run_id,
            "seconds": round(time.monotonic() - start, 1),
        }
        write_checked(folder / MANIFEST, made)

    def load(self, step: Step | None, name: str) -> Any:
        """An output of a step that is done, or a data set of the recipe."""
        return self._recipe_data[name] if step is None else self._dataset(step, name).load()

    def forget(self, step: Step) -> None:
        """Remove what was left of a step that is not done, so that it begins anew."""
        if not self.is_done(step):
            shutil.rmtree(self._folder / step.folder, ignore_errors=True)

    def path(self, step: Step, name: str) -> Path:
        """Where an output lies."""
        entry = self._entry(name)
        return self._folder / step.folder / f"{name}{Path(entry['filepath']).suffix}"

    def _dataset(self, step: Step, name: str) -> AbstractDataset:
        entry = self._entry(name) | {"filepath": str(self.path(step, name))}
        return AbstractDataset.from_config(name, {k: v for k, v in entry.items() if k not in ("versioned", "metadata")})

    def _entry(self, name: str) -> dict[str, Any]:
        entry = copy.deepcopy(self._entries.resolve_pattern(name))
        if "filepath" not in entry:
            raise RecipeError(f"ablations: '{name}' is not in the catalog, so no cell could be continued after it.")
        return entry

    def _take_over(self, step: Step) -> None:
        """Put the parts that the same node made for another cell in place: those with the same key are kept.

        They are linked, not copied: a part is only ever replaced as a whole. Without the outer manifest, that says
        that all parts are there, they are not a table yet.
        """
        target = self._folder / step.folder
        done = [path.parent for path in self._folder.glob(f"{step.node.name}-*/{MANIFEST}")]
        if target.exists() or not done:
            return
        newest = max(done, key=lambda folder: (folder / MANIFEST).stat().st_mtime)
        with replace_dir(target) as aside:
            for name in step.node.outputs:
                for manifest in newest.glob(f"{name}/[!.]*/{MANIFEST}"):
                    part = manifest.parent
                    shutil.copytree(part, aside / name / part.name, copy_function=_link)


def _sources_read(node: Node, sources: Params, recipe: Params) -> Params:
    """The sources, with the recipe's own in place of what the node does not read of their stages.

    A node of one stage reads the rows of that stage, one of some stages theirs, and but for the first none reads the
    objective of a row.
    """
    bound = getattr(node.func, "keywords", {})
    stage, stages = bound.get("stage"), bound.get("stages")

    def rows(name: str, source: str) -> Any:
        changed, own = sources[source]["stages"].get(name), recipe[source]["stages"].get(name)
        if name == stage:
            return changed
        if stage is not None or (stages is not None and name not in stages):
            return own
        return own if _without_objective(changed) == _without_objective(own) else changed

    def read(source: str) -> Params:
        found = {name: rows(name, source) for name in recipe[source]["stages"]}
        return {**sources[source], "stages": {name: made for name, made in found.items() if made is not None}}

    return {source: read(source) if "stages" in recipe[source] else row for source, row in sources.items()}


def _without_merging(block: Any) -> Any:
    """The parameters of a training, which does not merge what it has trained."""
    return {name: value for name, value in block.items() if name != "merging"} if isinstance(block, Mapping) else block


def _without_objective(rows: Any) -> Any:
    listed = [rows] if isinstance(rows, Mapping) else rows or []
    return [{name: value for name, value in row.items() if name != "objective"} for row in listed]


def _link(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:  # a file system without links
        shutil.copy2(source, target)
