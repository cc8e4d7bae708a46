"""The ablations of the paper: every cell trained and scored with every seed, and the tables."""

import logging
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

from kedro.pipeline import Pipeline

from ruri_kedro.benchmark.tasks.stored import stored_digest
from ruri_kedro.errors import RuriError
from ruri_kedro.experiments import mteb_scores as benchmark
from ruri_kedro.experiments.cells import Cell, check_columns, parse_cells, parse_seeds
from ruri_kedro.experiments.item_tests import item_tests
from ruri_kedro.experiments.steps import Step, StepStore, plan
from ruri_kedro.pipelines import evaluation, negative_mining
from ruri_kedro.recipe.annotations import Figure, Frame, Params
from ruri_kedro.recipe.stages import STAGES
from ruri_kedro.tables import Table
from ruri_kedro.tables.store import key_of

logger = logging.getLogger(__name__)

_EQUAL = "equal_models"  # a cell has one model only
RECIPE_DATA = ("test_sets", "development_sets", "passages", "pairs", "leaks", "matches", "inconsistent")


def run_cells(
    recipe: Params, entries: Any, test_sets: Path, development_sets: Path, **tables: Table
) -> tuple[Params, Params]:
    """Scores by table, cell, seed and task: {table: {cell: {seed: {task/metric: mean}}}}, and their tests by items.

    Beside the scores stand the steps of the cell's trainings as `steps/<stage>/<objective>`. The tests are by table
    what `item_tests` gives of each cell against the one that it is compared with. All cells are looked at before any
    is run; a step that is done is not done again.
    """
    settings, nodes = recipe["ablations"], recipe_nodes()
    cells = parse_cells(settings, recipe, nodes)
    check_columns(settings["tables"], cells, recipe["tasks"])
    given = {name: table.digest() for name, table in tables.items()}
    given["test_sets"] = key_of(**{name: stored_digest(test_sets, name) for name in recipe["tasks"]})
    given["development_sets"] = key_of(
        **{name: stored_digest(development_sets, name) for name in recipe["development"]}
    )
    given[_EQUAL] = "none"
    data = {"test_sets": test_sets, "development_sets": development_sets, _EQUAL: {}, **tables}
    store = StepStore(Path(settings["folder"]), data, entries)
    runs = [(cell, seed, plan(cell, seed, recipe, nodes, given)) for seed in parse_seeds(settings) for cell in cells]
    if any(cell.benchmark and not store.is_done(steps[-1]) for cell, _, steps in runs):
        benchmark.check_benchmark(recipe["mteb"], settings["benchmark"])
    scores: Params = {cell.table: {} for cell in cells}
    for number, (cell, seed, steps) in enumerate(runs, start=1):
        missing = sum(not store.is_done(step) for step in steps)
        logger.info("Cell %d of %d: %s, seed %d, %d steps to do.", number, len(runs), cell.title, seed, missing)
        scores[cell.table].setdefault(cell.name, {})[str(seed)] = _run_cell(cell, seed, steps, store)
    return scores, {table: _tests([run for run in runs if run[0].table == table], store) for table in scores}


def report_cells(scores: Params, tests: Params, recipe: Params) -> tuple[Frame, Figure, str]:
    """The tables in the paper's layout: as a frame, as a plot and as Markdown."""
    from ruri_kedro.experiments.tables import ablation_tables, frame, markdown, plot

    tables = ablation_tables(scores, recipe["ablations"]["tables"])
    return frame(tables), plot(tables), markdown(recipe["recipe"], tables, tests)


def recipe_nodes() -> Pipeline:
    """The nodes of the recipe behind data engineering, and mteb's benchmarks."""
    trainings = [import_module(address) for address in dict.fromkeys(stage.pipeline for stage in STAGES.values())]
    rooms = (negative_mining, *trainings, evaluation, benchmark)
    return sum((room.create_pipeline() for room in rooms), start=Pipeline([]))


def _tests(runs: list[tuple[Cell, int, list[Step]]], store: StepStore) -> list[Params]:
    """The cells of a table against those that they are compared with, by the queries, texts or pairs of the tests."""
    from ruri_kedro.benchmark.comparing.comparison import scores_by_query

    scores: dict[str, list] = {}
    for cell, _, steps in runs:
        rows = store.load(steps[-1], cell.wanted).iter_rows()
        scores.setdefault(cell.name, []).append(scores_by_query(rows))
    pairs = dict.fromkeys((cell.name, cell.against) for cell, _, _ in runs if cell.against in scores)
    return item_tests(scores, pairs)


def _run_cell(cell: Cell, seed: int, steps: list[Step], store: StepStore) -> dict[str, float]:
    """Do what is missing of a cell below a run of its own; gives its means by task and metric."""
    from ruri_kedro.benchmark.scoring.evaluate import summarize
    from ruri_kedro.registry.runs.child_runs import child_run, log_scores
    from ruri_kedro.registry.runs.tracking import flush_step_loggers

    with child_run(f"{cell.title}, seed {seed}", {"seed": seed, **cell.changes}) as run_id:
        for step in steps:
            if not store.is_done(step):
                try:
                    store.run(step, run_id)
                except RuriError:
                    logger.error(
                        "%s, seed %d: '%s' failed; what was done before is kept.", cell.title, seed, step.node.name
                    )
                    raise
                finally:
                    flush_step_loggers()
        last = steps[-1]
        means = next(iter(summarize(store.load(last, cell.wanted).iter_rows()).to_dicts()), {})
        means = {column: value for column, value in means.items() if column != "model"}
        trained = {name: count for step in steps for name, count in store.steps_of(step).items()}
        log_scores(run_id, means | trained, _origins(steps, store, cell, last))
    return means | trained


def _origins(steps: list[Step], store: StepStore, cell: Cell, last: Step) -> Mapping[str, str]:
    """Tags: where the scores by query lie, and the run in which each step was done."""
    made = {f"made_by.{step.node.name}": store.made_by(step) or "none" for step in steps}
    return {"scores": str(store.path(last, cell.wanted)), **made}
