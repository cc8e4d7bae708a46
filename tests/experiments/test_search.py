"""Searches with a training of a few lines: the trials are Optuna's, whatever kills them on the way."""

import copy
import json
import math
from functools import cache, partial
from pathlib import Path

import optuna
import pytest
from kedro.io import CatalogConfigResolver
from kedro.pipeline import Node, Pipeline
from recipes import recipe

from ruri_kedro.errors import RecipeError, TrainingError
from ruri_kedro.experiments import search, search_spaces, steps
from ruri_kedro.experiments.cell_runs import CellRun
from ruri_kedro.experiments.search import Search, new_study
from ruri_kedro.experiments.search_spaces import parse_spaces
from ruri_kedro.experiments.steps import StepStore, plan
from ruri_kedro.experiments.sweep_report import sweep_report
from ruri_kedro.experiments.sweep_settings import SweepSettings
from ruri_kedro.experiments.sweep_tables import chosen_cells
from ruri_kedro.recipe.parse import parse
from ruri_kedro.registry.runs.tracking import step_logger
from ruri_kedro.tables import files

RATE, BATCH, EPOCHS = "finetuning.learning_rate", "finetuning.batch_size", "finetuning.epochs"
RANGES = {
    RATE: {"low": 1e-5, "high": 1e-2, "log": True},
    BATCH: {"choices": [16, 32, 64]},
    EPOCHS: {"low": 1, "high": 4},
}
SEARCH = {
    "trials": 12,
    "sampler": "tpe",
    "startup_trials": 4,
    "pruner": {"name": "median", "startup_trials": 3, "warmup": 2},
    "ranges": RANGES,
}
EVALUATIONS = 5


READ = ("recipe", "seed", "run", "sources", "tasks", "development", "finetuning", "sweep")


@cache
def simcse():
    found = recipe("simcse-mini")
    return {name: found[name] for name in READ}


def variants(changes):
    def merged(block, given):
        both = {key: merged(block[key], value) if isinstance(value, dict) and key in block else value
                for key, value in given.items()}  # fmt: skip
        return {**block, **both}

    return copy.deepcopy(merged(simcse(), changes))


def settings(search=SEARCH, **changes):
    row = simcse()["sweep"] | {"grid": {"seed_of_none": [0]}, "search": search} | changes
    return parse(SweepSettings, row, "sweep")


HEAT = "finetuning.temperature"
GROUP = {"grid": {HEAT: [0.05]}, "groups": [HEAT]}
GROUPS = {"grid": {HEAT: [0.05, 0.1]}, "groups": [HEAT]}


def score(rate, batch, epochs, temperature, evaluation):
    """Of the model after an evaluation; 0 for the one before its training."""
    best = 0.8 - 0.05 * (math.log10(rate) + 3.3) ** 2 - 0.001 * abs(batch - 32) - 0.01 * abs(epochs - 3) - temperature
    return 0.1 + (best - 0.1) * (1 - 0.5**evaluation)


class Toy:
    """A search whose trainings are counted, may fail, and may be killed before one of their evaluations."""

    def __init__(self, folder, search=SEARCH, group=GROUP):
        self.folder, self.evaluated, self.killed_at, self.fails = Path(folder), [], None, lambda rate: False
        nodes = [Node(self.prepare, "params:seed", "base_model", name="make_base_model"),
                 Node(self.finetune, ["base_model", "params:finetuning", "params:run"], "finetuned_model",
                      name="finetune")]  # fmt: skip
        entries = CatalogConfigResolver({"{default}": {"type": "json.JSONDataset", "filepath": "x/{default}.json"}})
        self.store = StepStore(self.folder, {}, entries)
        self.spaces = parse_spaces(settings(search, **group), variants)
        self.search = Search(
            settings(search, **group).search, 42, 1, self.store, partial(planned, Pipeline(nodes)), self.folder
        )

    def prepare(self, seed):
        return seed

    def finetune(self, base, training, run):
        given = (training["learning_rate"], training["batch_size"], training["epochs"], training["temperature"])
        if self.fails(given[0]):
            raise TrainingError("the loss is not finite")
        folder, log = Path(run["checkpoints"]) / "finetuning", step_logger("finetuning")
        folder.mkdir(parents=True, exist_ok=True)
        kept = folder / "checkpoint.json"
        found = json.loads(kept.read_text()) if kept.is_file() else []
        for evaluation in range(len(found), EVALUATIONS + 1):
            if self.killed_at == len(self.evaluated):
                raise KeyboardInterrupt
            self.evaluated.append(given)
            found.append(score(*given, evaluation))
            log(64 * evaluation, {"loss": 1.0, "development/spearman": found[-1]})
            if evaluation % 2 == 0:
                kept.write_text(json.dumps(found))
        best = max(range(len(found)), key=found.__getitem__)
        curve = [[64 * number, each] for number, each in enumerate(found)]
        report = {"best": found[best], "best_step": 64 * best, "scores": curve}
        (folder / "development.json").write_text(json.dumps(report))
        return given

    def run(self, killed_at=None):
        self.evaluated, self.killed_at = [], killed_at
        return [trial for space in self.spaces for trial in self.search.trials(space, None)]


def planned(nodes, cell, seed):
    return CellRun(cell, seed, plan(cell, seed, cell.params, nodes, {}))


def seen(trials):
    return [(trial.number, trial.values, trial.outcome.value, trial.outcome.state) for trial in trials]


@pytest.fixture(autouse=True)
def quickly(monkeypatch):
    """Nothing is synced to the disk, and but for one test the studies are in memory."""
    monkeypatch.setattr(steps, "behaviour_digest", lambda *work: "first version")
    monkeypatch.setattr(files, "_sync", lambda path: None)
    monkeypatch.setattr(search, "new_study", lambda *given: new_study(*given[:3], None))


def plain_study(temperature, search=SEARCH, fails=lambda rate: False):
    """The same search as anybody would write it with Optuna."""

    def objective(trial):
        rate = trial.suggest_float(RATE, 1e-5, 1e-2, log=True)
        given = (rate, trial.suggest_categorical(BATCH, [16, 32, 64]), trial.suggest_int(EPOCHS, 1, 4), temperature)
        if fails(rate):
            raise TrainingError("the loss is not finite")
        for evaluation in range(1, EVALUATIONS + 1):
            trial.report(score(*given, evaluation), evaluation)
            if trial.should_prune():
                raise optuna.TrialPruned
        return max(score(*given, evaluation) for evaluation in range(EVALUATIONS + 1))

    samplers, median = optuna.samplers, optuna.pruners.MedianPruner(n_startup_trials=3, n_warmup_steps=2)
    study = optuna.create_study(
        direction="maximize",
        sampler=samplers.TPESampler(seed=42, n_startup_trials=4) if search["sampler"] == "tpe"
        else samplers.RandomSampler(seed=42),
        pruner=median if search["pruner"]["name"] == "median" else optuna.pruners.NopPruner(),
    )  # fmt: skip
    study.optimize(objective, search["trials"], catch=(TrainingError,))
    return study.get_trials()


def told(trial):
    """What a trial of Optuna was and found; a pruned one has no result, which Optuna takes from its last report."""
    done = trial.state == optuna.trial.TrialState.COMPLETE
    return trial.params, trial.intermediate_values, trial.state, trial.value if done else None


def assert_same(trials, plain):
    """Whether trials of ours are those of a plain study."""
    assert [{name: trial.values[name] for name in RANGES} for trial in trials] == [trial.params for trial in plain]
    for trial, other in zip(trials, plain, strict=True):
        pruned = trial.outcome.pruned
        assert other.state.name == ("PRUNED" if pruned else "FAIL" if trial.outcome.reason else "COMPLETE")
        if not trial.outcome.reason:
            assert (pruned.evaluation if pruned else EVALUATIONS) == max(other.intermediate_values)
            assert trial.outcome.value == (None if pruned else other.value)


@pytest.mark.parametrize(
    "changes",
    [{}, {"sampler": "random"}, {"pruner": {"name": "none", "startup_trials": 3, "warmup": 2}}],
    ids=["tpe and median", "random", "no pruner"],
)
def test_the_trials_are_those_of_a_plain_study(tmp_path, changes):
    toy = Toy(tmp_path, SEARCH | changes, GROUPS)
    trials = toy.run()
    for temperature in GROUPS["grid"][HEAT]:
        own = [trial for trial in trials if trial.values[HEAT] == temperature]
        assert_same(own, plain_study(temperature, SEARCH | changes))


def test_the_file_of_optuna_has_the_trials_also_after_a_kill(tmp_path, monkeypatch):
    monkeypatch.setattr(search, "new_study", new_study)
    toy = Toy(tmp_path, SEARCH | {"trials": 6})
    toy.fails = lambda rate: rate > 3e-3
    with pytest.raises(KeyboardInterrupt):
        toy.run(killed_at=15)
    assert_same(toy.run(), plain := plain_study(0.05, SEARCH | {"trials": 6}, toy.fails))
    stored = optuna.load_study(study_name=f"{HEAT}=0.05", storage=f"sqlite:///{tmp_path}/search/optuna.db").get_trials()
    assert [told(trial) for trial in stored] == [told(trial) for trial in plain]
    states = {trial.state.name: trial.user_attrs for trial in stored}
    assert states["FAIL"] == {"reason": "TrainingError: the loss is not finite"}
    assert "pruned after step" in states["PRUNED"] and not states["COMPLETE"]


def test_a_pruned_trial_trains_no_further_and_leaves_nothing_but_its_figures(tmp_path):
    toy = Toy(tmp_path)
    trials = toy.run()
    pruned = [trial for trial in trials if trial.outcome.pruned]
    evaluations = sum(trial.outcome.pruned.evaluation if trial.outcome.pruned else EVALUATIONS for trial in trials)
    assert 1 < len(pruned) < len(trials) and len(toy.evaluated) == evaluations + len(trials)
    assert all(trial.outcome.pruned.step == 64 * trial.outcome.pruned.evaluation for trial in pruned)
    folders = {path.name for path in tmp_path.glob("finetune-*")}
    assert len(folders) == len(trials) - len(pruned)
    assert all(name.startswith("finetune-") for trial in pruned for name in trial.seconds if name not in folders
               and not name.startswith("make_base"))  # fmt: skip


@pytest.mark.parametrize("distance", [1, 3, 20])
def test_a_search_that_is_killed_again_and_again_ends_as_one_that_never_was(tmp_path, distance):
    whole = Toy(tmp_path / "whole")
    expected, trained = seen(whole.run()), len(whole.evaluated)
    toy = Toy(tmp_path / "killed")
    evaluated = kills = 0
    while True:
        try:
            found = toy.run(killed_at=distance if kills < 6 else None)
            break
        except KeyboardInterrupt:
            kills += 1
        finally:
            evaluated += len(toy.evaluated)
    assert kills and seen(found) == expected
    assert evaluated <= trained + kills, "a checkpoint stands at most one evaluation back"
    assert seen(toy.run()) == expected and not toy.evaluated, "what was pruned or done costs nothing more"


def test_a_trial_killed_between_its_last_figure_and_its_end_is_pruned_at_the_same_step(tmp_path, monkeypatch):
    expected = seen(Toy(tmp_path / "whole").run())
    toy = Toy(tmp_path / "killed")
    forget = StepStore.forget

    def killed(store, step):
        if (tmp_path / "killed/search" / f"{step.folder}.json").is_file():
            raise KeyboardInterrupt  # the figure is kept, the folder not yet removed
        forget(store, step)

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(StepStore, "forget", killed)
        toy.run()
    last = toy.evaluated[-1]
    assert seen(toy.run()) == expected and last not in toy.evaluated


def test_a_damaged_file_of_figures_begins_the_training_anew(tmp_path, caplog):
    toy = Toy(tmp_path)
    expected = seen(toy.run())
    for path in (tmp_path / "search").glob("*.json"):
        path.write_text("{", "utf-8")
    assert seen(toy.run()) == expected and "The training begins anew" in caplog.text


def test_a_trial_that_fails_is_recorded_and_the_search_goes_on(tmp_path):
    toy = Toy(tmp_path)
    toy.fails = lambda rate: rate > 3e-3
    trials = toy.run()
    failed = [trial for trial in trials if trial.outcome.reason]
    assert failed and {trial.outcome.state for trial in failed} == {"failed: TrainingError: the loss is not finite"}
    assert_same(trials, plain_study(0.05, fails=toy.fails))
    row = failed[0].row(1)
    assert row["reason"].endswith("not finite") and not row["figures"]


def test_the_dry_run_counts_what_needs_no_training_and_writes_nothing(tmp_path):
    toy = Toy(tmp_path, group=GROUPS)
    assert [toy.search.done(space) for space in toy.spaces] == [0, 0]
    with pytest.raises(KeyboardInterrupt):
        toy.run(killed_at=33)
    written = sorted(tmp_path.rglob("*"))
    done = [toy.search.done(space) for space in toy.spaces]
    assert done[0] >= 33 // (EVALUATIONS + 1) and done[1] == 0 and sorted(tmp_path.rglob("*")) == written
    toy.run()
    assert [toy.search.done(space) for space in toy.spaces] == [12, 12]


def test_the_best_trial_of_each_group_is_chosen_and_all_are_in_the_report(tmp_path):
    toy, found = Toy(tmp_path, group=GROUPS), settings(**GROUPS)
    trials = toy.run()
    rows = [trial.row(1) for trial in trials]
    cells = list({trial.cell.title: trial.cell for trial in trials if trial.outcome.figures}.values())
    best = [cells[number] for number in chosen_cells(rows, found, cells)]
    for cell in best:
        group = [t for t in trials if t.values[HEAT] == cell.values[HEAT]]
        highest = max((trial for trial in group if trial.outcome.figures), key=lambda trial: trial.outcome.value)
        assert cell.values == highest.values and cell.is_trial and not cell.with_all_tests().is_trial
    chosen = [
        {"cell": cell.title, "values": cell.values, "seed": seed, "trained": True, "reason": None, "seconds": {},
         "figures": {"best-step": 64.0, "best-dev": 70.0, "jsick/spearman": 60.0, "avg": 60.0}}
        for cell in best for seed in (1, 2)
    ]  # fmt: skip
    table, best_rows, maps, text = sweep_report(rows, chosen, [], found, "simcse-mini")
    assert len(table) == len(cells) and "jsick/spearman" not in table and len(best_rows) == 2
    pruned = [trial for trial in trials if trial.outcome.pruned]
    assert f"## Trials (24; pruned: {len(pruned)}; failed: 0)" in text
    assert str(pruned[0].outcome.pruned) in text and "<rect" not in maps and "svg" not in text


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({RATE: {"low": 1e-2, "high": 1e-5}}, f"sweep.search.ranges.{RATE}.low: 0.01 is above high, 1e-05"),
        ({RATE: {"low": 0.0, "high": 1e-2, "log": True}}, "low: 0.0, but with log: true the numbers must be above 0"),
        ({RATE: {"low": 1e-5}}, "give low and high, or choices"),
        ({RATE: {"low": "1e-5", "high": 1e-2}}, r"a number such as 1e-3 is written 1.0e-3"),
        ({BATCH: {"choices": [16, "32"]}}, "write all values alike"),
        ({BATCH: {"choices": [16, 16]}}, "give one or more values, each once"),
        ({BATCH: {"choices": [16], "low": 1}}, "give either these or low, high and log"),
        ({BATCH: {"choise": [16]}}, "there is no such parameter. Did you mean choices?"),
        ({"finetuning.batchsize": {"choices": [8]}}, "finetuning.batchsize: there is no such parameter"),
        ({BATCH: {"low": 0, "high": 64}}, "finetuning.batch_size: 0 is given"),
        ({"seed": {"low": 1, "high": 9}}, "sweep.search.ranges.seed: it is the same for all cells"),
        ({"finetuning.temperature": {"low": 0.01, "high": 0.1}}, "it is in the grid, too. Remove it from one of them"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_range_is_said_before_the_first_trial(changes, reason):
    with pytest.raises(RecipeError, match=reason):
        parse_spaces(settings(SEARCH | {"ranges": changes}, **GROUP), variants)


def test_what_is_wrong_with_a_search_is_said(monkeypatch):
    for changes, reason in (
        ({"search": SEARCH | {"ranges": {}}}, "ranges: none, but trials are to be drawn from them"),
        ({"search": SEARCH | {"trials": None}}, "trials: null, but there are ranges"),
        ({"workers": 2}, "sweep.workers: 2, but what a trial of a search is depends on those before it"),
        ({"groups": [], "grid": {"set": ["rte"]}}, "with a search only groups are in the grid"),
        ({"grid": {"a": {"b": {RATE: 1e-3}}}, "groups": ["a"]}, f"ranges.{RATE}: it is given by the grid's a, too"),
    ):
        with pytest.raises(RecipeError, match=reason):
            settings(**{"search": SEARCH, **GROUP, **changes})
    monkeypatch.setattr(search_spaces, "find_spec", lambda name: None)
    with pytest.raises(RecipeError, match=r"it needs Optuna: pip install 'ruri-kedro\[sweeps\]'"):
        parse_spaces(settings(**GROUP), variants)


def test_a_training_of_several_processes_is_not_pruned():
    with pytest.raises(
        RecipeError, match=r"a training of several processes \(run.devices: 2\) is not ended on the way"
    ):
        parse_spaces(settings(**GROUP), lambda changes: variants(changes | {"run": {"device": "cpu", "devices": 2}}))
