"""Which dataclass describes which block of parameters, so that all are parsed before anything is computed."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import fields, is_dataclass
from typing import Any, Literal

from ruri_kedro.errors import RecipeError
from ruri_kedro.recipe.addresses import resolve
from ruri_kedro.recipe.parse import Positive, Size, parameters, parse, unknown
from ruri_kedro.recipe.stages import STAGES

# By block, but for those of the stages, which their table names: a dataclass, or a function that checks a block whose
# names are the user's own. They lie in the rooms that use them, above this one, so they are named by address. Importing
# them must stay cheap: no torch, polars or mlflow.
BLOCKS = {
    "prompts": "ruri_kedro.text.prompts:Prompts",
    "task_prompts": "ruri_kedro.benchmark.settings:TaskPrompts",
    "run": "ruri_kedro.training.settings:RunSettings",
    "encoding": "ruri_kedro.models.settings:EncodingSettings",
    "deduplication": "ruri_kedro.corpora.duplicates:DuplicateRules",
    "leaks": "ruri_kedro.benchmark.leaks.matches:LeakRules",
    "bm25": "ruri_kedro.search.bm25.index:BM25Settings",
    "multi_vector": "ruri_kedro.search.multi_vector.settings:MultiVectorSettings",
    "mining": "ruri_kedro.mining.settings:MiningSettings",
    "base_model": "ruri_kedro.models.settings:BaseModelSettings",
    "evaluation": "ruri_kedro.benchmark.settings:EvaluationSettings",
    "published": "ruri_kedro.benchmark.settings:PublishedTable",
    "consistency": "ruri_kedro.mining.settings:ConsistencyRules",
    "sources": "ruri_kedro.corpora.source:parse_sources",
    "tasks": "ruri_kedro.benchmark.tasks.rows:parse_tasks",
    "development": "ruri_kedro.benchmark.tasks.rows:parse_development",
    "promotion": "ruri_kedro.registry.promotion.rules:Rules",
    "publication": "ruri_kedro.registry.publishing.terms:Terms",
    "synthesis": "ruri_kedro.corpora.synthesis.settings:parse_synthesis",
    "mteb": "ruri_kedro.benchmark.settings:MtebSettings",
    "service": "ruri_kedro.service.settings:ServiceSettings",
    "sweep": "ruri_kedro.experiments.sweep_settings:SweepSettings",
    "ablations": "ruri_kedro.experiments.settings:AblationSettings",
}
OWN = "_"  # how the name of a value begins that stands in the parameters for `${...}` in others only


@parameters
class General:
    """The parameters that are not blocks. Those with a default stand in some recipes, or come with --params only."""

    recipe: str  # names the folders below data/ and the registered models
    seed: Size
    dry_run: bool
    engine: Literal["local", "ray"]
    only: int | str | tuple[int | str, ...] | None  # names of the sources to build; None: all
    tested_on: tuple[str, ...]  # benchmarks of mteb
    size: str | None = None  # of the models of a recipe that has several
    system_metrics: Positive | None = None  # between measurements of the machine; None: none
    raw_root: str | None = None  # folder of the raw corpora
    versioned: bool = True  # false: the outputs are at one place, as DVC wants them


def faults_in(recipe: Mapping[str, Any], own: Iterable[str] = ()) -> Iterator[str]:
    """A line for each fault of a recipe's parameters, its blocks in the order of `BLOCKS`.

    `own` are other names at the top level that a user's nodes or `${runtime_params:...}` read. A block that is not
    there is no fault here: Kedro names it where a node reads it.
    """
    general = [field.name for field in fields(General)]
    trainings = _trainings()
    known = [*general, *BLOCKS, *trainings]
    for name in recipe:
        if name not in known and name not in own and not str(name).startswith(OWN):
            yield f"{name}: {unknown(str(name), known)} A value for `${{...}}` in others begins with {OWN}."
    told = _faults(General, {name: value for name, value in recipe.items() if name in general})
    yield from (line for line in told if line.partition(":")[0].partition(".")[0] in recipe)
    for block, address in BLOCKS.items():
        if block in recipe:
            yield from _faults(resolve(address), recipe[block], block)
    for block, parts in trainings.items():
        if block in recipe:
            yield from _faults_of_trainings(parts, recipe[block], block)


def check_blocks(recipe: Mapping[str, Any], *blocks: str) -> None:
    """Raise one RecipeError with the faults of these blocks, as far as they are there: of a command that reads them."""
    if faults := list(faults_in({name: recipe[name] for name in blocks if name in recipe})):
        raise RecipeError("\n".join(faults))


def _trainings() -> dict[str, dict[str, str]]:
    """The blocks of the stages, with the classes of their parts by name: of a stage that is a block "" is the name."""
    made: dict[str, dict[str, str]] = {}
    for stage in STAGES.values():
        block, _, part = stage.block.partition(".")
        made.setdefault(block, {})[part] = stage.settings
    return made


def _faults_of_trainings(parts: Mapping[str, str], row: Any, place: str) -> Iterator[str]:
    if "" in parts:
        yield from _faults(resolve(parts[""]), row, place)
    elif not isinstance(row, Mapping):
        yield f"{place}: {row!r} is given, a block of keys is expected: {', '.join(parts)}."
    else:
        yield from (f"{place}.{name}: {unknown(str(name), parts)}" for name in row if name not in parts)
        for name, address in parts.items():
            if name in row:
                yield from _faults(resolve(address), row[name], f"{place}.{name}")
            else:
                yield f"{place}.{name}: missing."


def _faults(kind: Any, row: Any, place: str = "") -> list[str]:
    if not is_dataclass(kind) and not isinstance(row, Mapping):
        return [f"{place}: {row!r} is given, a block of keys is expected, {{}} for none."]
    try:
        if is_dataclass(kind):
            parse(kind, row, place)
        else:
            kind(row)
    except RecipeError as error:
        return str(error).splitlines()
    return []
