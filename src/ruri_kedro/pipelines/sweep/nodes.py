"""The sweep of a recipe: every cell of the grid trained and scored with every seed, and the report."""

import logging
import tempfile
from collections.abc import Iterable, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

from ruri_kedro.benchmark.comparing.comparison import Scores, scores_by_query
from ruri_kedro.engines.engine import engine_of
from ruri_kedro.errors import RecipeError, TrainingError
from ruri_kedro.experiments.cell_runs import CellRun, Outcome, do_runs
from ruri_kedro.experiments.cells import parse_seeds
from ruri_kedro.experiments.item_tests import item_tests
from ruri_kedro.experiments.search import Search
from ruri_kedro.experiments.search_spaces import SearchSpace, parse_spaces
from ruri_kedro.experiments.steps import StepStore, plan
from ruri_kedro.experiments.sweep_cells import SweepCell, Variants, parse_grid
from ruri_kedro.experiments.sweep_settings import SweepSettings
from ruri_kedro.experiments.sweep_tables import chosen_cells
from ruri_kedro.pipelines import data_engineering
from ruri_kedro.pipelines.ablations.nodes import recipe_nodes
from ruri_kedro.recipe.annotations import Frame, Params
from ruri_kedro.recipe.parse import parse
from ruri_kedro.registry.runs.child_runs import open_parent
from ruri_kedro.tables.store import file_digest, key_of

logger = logging.getLogger(__name__)

_EQUAL = "equal_models"  # a cell has one model only


def run_sweep(raw: Path, recipe: Params, variants: Variants, entries: Any) -> Params:
    """The figures of all cells and seeds, of the untrained models, and of the chosen cells on all tests.

    All cells are looked at before any is run; a step that is done is not done again, and one that was cut off goes on.
    Raises TrainingError where no cell could be done.
    """
    settings = parse(SweepSettings, recipe["sweep"], "sweep")
    if settings.is_search:
        return _run_search(settings, raw, recipe, variants, entries)
    cells, seeds = parse_grid(settings, variants, recipe), parse_seeds(recipe["sweep"], "sweep")
    engine_of(recipe["engine"])
    store = step_store(settings, raw, entries)
    planner = Planner(raw)
    runs = [planner.run(cell, seed) for seed in seeds for cell in cells]
    bases = _distinct(planner.run(cell.untrained(), seeds[0]) for cell in cells)
    logger.info("Sweep: %d cells, %d seeds, %d untrained models.", len(cells), len(seeds), len(bases))
    rows = _rows(do_runs([*runs, *bases], store, open_parent(), settings.workers, recipe["engine"]), store)
    done = [row for row in rows if not row["reason"] and row["trained"]]
    if not done:
        raise TrainingError(f"sweep: no cell could be done. {rows[0]['cell']}: {rows[0]['reason']}")
    chosen: list[Params] = []
    best = [cells[number] for number in chosen_cells(done, settings, cells)]
    if settings.chosen_tasks:
        wanted = _on_all_tests(best, seeds, planner)
        chosen = _rows(do_runs(wanted, store, open_parent(), settings.workers, recipe["engine"]), store)
    return {"runs": rows, "chosen": chosen, "by_items": _by_items(best, seeds, planner, store, settings)}


def _run_search(settings: SweepSettings, raw: Path, recipe: Params, variants: Variants, entries: Any) -> Params:
    """As `run_sweep`, of trials: these are trained with the first seed, the best of each group with all and tested."""
    spaces, seeds, store, planner, search = _search(settings, raw, recipe, variants, entries)
    parent = open_parent()
    trials = [trial for space in spaces for trial in search.trials(space, parent)]
    rows = [trial.row(seeds[0]) for trial in trials]
    done = [row for row in rows if row["figures"]]
    if not done:
        raise TrainingError(f"sweep: no trial could be done. {rows[0]['cell']}: {rows[0]['reason']}")
    drawn = list({trial.cell.title: trial.cell for trial in trials if trial.outcome.figures}.values())
    best = [drawn[number] for number in chosen_cells(done, settings, drawn)]
    chosen = _rows(do_runs(_on_all_tests(best, seeds, planner), store, parent, settings.workers), store)
    return {"runs": rows, "chosen": chosen, "by_items": _by_items(best, seeds, planner, store, settings)}


def _search(
    settings: SweepSettings, raw: Path, recipe: Params, variants: Variants, entries: Any
) -> tuple[list[SearchSpace], Sequence[int], StepStore, "Planner", Search]:
    """What a search is done with, looked at before its first trial."""
    if recipe["engine"] != "local":
        raise RecipeError(
            f"engine: {recipe['engine']}, but what a trial of a search is depends on those before it, so they follow "
            "each other. Give local."
        )
    spaces, seeds = parse_spaces(settings, variants, recipe), parse_seeds(recipe["sweep"], "sweep")
    store, planner = step_store(settings, raw, entries), Planner(raw)
    search = Search(settings.search, recipe["seed"], seeds[0], store, planner.run, Path(settings.folder))
    logger.info("Sweep: %d groups, %d trials each, %d seeds.", len(spaces), settings.search.trials, len(seeds))
    return spaces, seeds, store, planner, search


def _on_all_tests(best: Sequence[SweepCell], seeds: Sequence[int], planner: "Planner") -> list[CellRun]:
    """The runs of the chosen cells with all seeds, and of their untrained models."""
    trained = [planner.run(cell.with_all_tests(), seed) for cell in best for seed in seeds]
    return [*trained, *_distinct(planner.run(cell.untrained().with_all_tests(), seeds[0]) for cell in best)]


def size_sweep(raw: Path, recipe: Params, variants: Variants, entries: Any) -> str:
    """What is done of a sweep and what is left: cells, steps, hours, disk. Nothing of it is kept."""
    from ruri_kedro.experiments.search_cost import search_size_text
    from ruri_kedro.experiments.sweep_cost import TrialStore, size_text

    settings = parse(SweepSettings, recipe["sweep"], "sweep")
    if settings.is_search:
        spaces, seeds, store, _, search = _search(settings, raw, recipe, variants, entries)
        with tempfile.TemporaryDirectory() as folder:
            return search_size_text(spaces, search, seeds, TrialStore(Path(folder), store))
    cells, seeds = parse_grid(settings, variants, recipe), parse_seeds(recipe["sweep"], "sweep")
    store, planner = step_store(settings, raw, entries), Planner(raw)
    runs = [planner.run(cell, seed) for seed in seeds for cell in cells]
    bases = _distinct(planner.run(cell.untrained(), seeds[0]) for cell in cells)
    with tempfile.TemporaryDirectory() as folder:
        return size_text(runs, len(bases), store, TrialStore(Path(folder), store))


def report_sweep(runs: Params, recipe: Params) -> tuple[Frame, Frame, str, str]:
    """All cells with their means over seeds, the best of them, heat maps, and the report that shows them."""
    from ruri_kedro.experiments.sweep_report import sweep_report

    settings = parse(SweepSettings, recipe["sweep"], "sweep")
    return sweep_report(runs["runs"], runs["chosen"], runs["by_items"], settings, recipe["recipe"])


class Planner:
    """Plans the steps of cells from the raw corpora on."""

    def __init__(self, raw: Path) -> None:
        self._nodes = data_engineering.create_pipeline() + recipe_nodes()
        files = sorted(path for path in Path(raw).rglob("*") if path.is_file())
        digest = key_of(**{path.relative_to(raw).as_posix(): file_digest(path) for path in files})
        self._given = {"raw": digest, _EQUAL: "none"}

    def run(self, cell: SweepCell, seed: int) -> CellRun:
        """The work of a cell with a seed."""
        return CellRun(cell, seed, plan(cell, seed, cell.params, self._nodes, self._given))


def step_store(settings: SweepSettings, raw: Path, entries: Any) -> StepStore:
    """Where the steps of the sweep are kept."""
    return StepStore(Path(settings.folder), {"raw": raw, _EQUAL: {}}, entries)


def _by_items(
    best: Sequence[SweepCell], seeds: Sequence[int], planner: Planner, store: StepStore, settings: SweepSettings
) -> list[Params]:
    """The chosen cells and their untrained models compared on the items of each test, without cells that failed."""
    names = {cell.group(settings.groups): cell.with_all_tests() for cell in best}
    models = {name: _scores(cell, seeds, planner, store) for name, cell in names.items()}
    bases = len({str(cell.params["base_model"]) for cell in best})
    for name, cell in names.items():
        untrained = "untrained" if bases == 1 else f"untrained {name}"
        if untrained not in models:
            models[untrained] = _scores(cell.untrained(), seeds[:1], planner, store)
    return item_tests(models, combinations(models, 2))


def _scores(cell: SweepCell, seeds: Sequence[int], planner: Planner, store: StepStore) -> list[Scores]:
    """The scores by item of a cell on all tests, for each seed that is done."""
    steps = [planner.run(cell, seed).steps[-1] for seed in seeds]
    return [scores_by_query(store.load(step, cell.wanted).iter_rows()) for step in steps if store.is_done(step)]


def _distinct(runs: Iterable[CellRun]) -> list[CellRun]:
    """Runs with different last steps."""
    return list({run.steps[-1].folder: run for run in runs}.values())


def _rows(outcomes: Iterable[tuple[CellRun, Outcome]], store: StepStore) -> list[Params]:
    """What is known of each run, in the order of cells and seeds."""
    rows: list[Params] = []
    for number, (run, outcome) in enumerate(outcomes, start=1):
        logger.info("Run %d: %s, %s.", number, run.title, "failed" if outcome.reason else "done")
        rows.append(
            {
                "cell": run.cell.title,
                "values": dict(run.cell.values),
                "seed": run.seed,
                "trained": run.cell.model == run.cell.scored_model,
                "figures": dict(outcome.figures),
                "reason": outcome.reason,
                "seconds": _seconds(run, store),
            }
        )
    return sorted(rows, key=lambda row: (row["cell"], row["seed"]))


def _seconds(run: CellRun, store: StepStore) -> dict[str, float]:
    """How long each step of a run took, by its folder; steps that are not done are not among them."""
    steps: Sequence = run.steps
    return {step.folder: store.seconds_of(step) for step in steps if store.is_done(step)}
