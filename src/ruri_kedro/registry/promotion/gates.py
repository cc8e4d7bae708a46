"""The gates between a challenger and the alias `champion`: each looks at the evidence and passes or says why not."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from statistics import fmean

from ruri_kedro.benchmark.comparing.comparison import Measure, PairedResult, compare, has_queries, main_metrics
from ruri_kedro.benchmark.tasks.specs import RERANKING_SUFFIX
from ruri_kedro.models.kinds import words
from ruri_kedro.registry.evidence.evidence import Evidence
from ruri_kedro.registry.promotion.rules import Rules, is_searched
from ruri_kedro.registry.runs.training_runs import changed_stages

_NO_CHAMPION = True, "no champion yet"
_NEW_CHAMPION = "Register it again, or remove its alias"
_EVALUATE_AGAIN = "Evaluate it again: kedro run --pipelines evaluation"
_KEYS = (("training", "sources"), ("contamination", "tests"), ("contamination", "stages"))
_SHOWN = 5  # of a list, in a reason


@dataclass(frozen=True)
class Verdict:
    """What a gate found."""

    gate: str
    passed: bool
    reason: str


@dataclass(frozen=True)
class Case:
    """A challenger, the champion that it wants to replace (None: there is none yet) and the rules."""

    challenger: Evidence
    champion: Evidence | None
    rules: Rules

    @cached_property
    def tasks(self) -> list[str]:
        """The gated tasks: those of the rules, else the champion's, else the challenger's own."""
        if self.rules.tasks is not None:
            return list(self.rules.tasks)
        one = self.champion if self.champion and self.champion.scores else self.challenger
        return list(dict.fromkeys(task for task, _ in one.scores or {}))

    @cached_property
    def means(self) -> dict[str, float]:
        """The challenger's mean of each task's main metric."""
        return _means(self.challenger)

    @cached_property
    def results(self) -> tuple[PairedResult, ...]:
        """The tests of the challenger against the champion, corrected over the gated tasks."""
        one, other = self.challenger, self.champion
        wanted = [measure for measure in main_metrics(one.scores) if measure[0] in self.tasks]
        scores = {name: {m: given.scores[m] for m in wanted if m in given.scores}
                  for name, given in (("champion", other), ("challenger", one))}  # fmt: skip
        return compare({n: [s] for n, s in scores.items()}, "champion", None, self.rules.resamples).results


Finding = tuple[bool, str]
Gate = Callable[[Case], Finding]


def judge(case: Case) -> list[Verdict]:
    """The verdict of every gate. Where an earlier gate leaves one nothing to look at, it fails and says so."""
    verdicts: dict[str, Verdict] = {}
    for name, (gate, needs) in GATES.items():
        missing = [need for need in needs if not verdicts[need].passed]
        passed, reason = (False, f"not judged: {' and '.join(missing)} failed") if missing else _found(gate, case)
        verdicts[name] = Verdict(name, passed, reason)
    return list(verdicts.values())


def _found(gate: Gate, case: Case) -> Finding:
    """What a gate finds. Whoever registers a version writes its evidence: in any other form, the gate fails."""
    try:
        return gate(case)
    except (LookupError, TypeError, AttributeError, ValueError, ArithmeticError) as error:
        return False, f"the evidence is not as registration writes it ({type(error).__name__}: {error})"


def standing(case: Case) -> Finding:
    """The version is not the champion itself, and was not rolled back."""
    return case.challenger.standing is None, case.challenger.standing or "may be promoted"


def manifest(case: Case) -> Finding:
    """There is a manifest, and every file is as it says."""
    if not case.challenger.manifest:
        return False, "unsigned: no manifest is with the version. Register it by kedro run --pipelines evaluation"
    if case.challenger.faults:
        return False, f"corrupted: {_listed(case.challenger.faults)}"
    return True, "every file is as it was registered"


def code(case: Case) -> Finding:
    """Nothing in the version would run code that is not this package's, whatever loads it."""
    faults = case.challenger.foreign
    return not faults, f"not of this package: {_listed(faults)}" if faults else "nothing but what registration writes"


def signature(case: Case) -> Finding:
    """MLflow knows what the model takes and gives."""
    signed = case.challenger.signature
    return signed, "is logged" if signed else "unsigned: the model has no signature"


def evidence(case: Case) -> Finding:
    """All pieces of the evidence are there, and its sources and leaks are those of what the model was trained on."""
    pieces = ("kind", "scores", "tests", "training", "contamination", "probe", "card")
    missing = [name for name in pieces if _is_missing(name, getattr(case.challenger, name))]
    # Of a piece that is missing as a whole, that is enough.
    missing += [f"{name}.{key}" for name, key in _KEYS if key not in (getattr(case.challenger, name) or (key,))]
    if case.challenger.kind not in (None, *words()):
        return False, f"'{case.challenger.kind}' is not a kind of model"
    if missing:
        return False, f"missing: {', '.join(missing)}"
    if changed := changed_stages(case.challenger.training):
        return False, f"made anew after the training: the examples of {', '.join(changed)}. Train and evaluate again"
    return True, f"{len(case.challenger.tests)} tests, {len(case.challenger.training['sources'])} sources"


def tests(case: Case) -> Finding:
    """Every gated task was tested, with finite scores, on the data that the champion was tested on."""
    if not case.challenger.tests and not case.challenger.scores:
        return False, "nothing was tested: the recipe has no task for this model, and a promotion needs tests"
    if fault := _champion_fault(case):
        return False, fault
    if not case.tasks:
        return False, "there is no gated task"
    faults = [fault for task in case.tasks if (fault := _test_fault(case, task))]
    return not faults, _listed(faults) or f"{len(case.tasks)} tasks"


def minimum(case: Case) -> Finding:
    """The least scores, by category and by task."""
    bounds = case.rules.minimum[case.challenger.kind]
    by_category: dict[str, list[float]] = {}
    for task, test in case.challenger.tests.items():
        if task in case.means:
            by_category.setdefault(test["category"], []).append(case.means[task])
    found = {name: fmean(means) for name, means in by_category.items()}
    faults = [
        *_below("category", bounds.categories, found),
        *_below("task", bounds.tasks, case.means),
    ]
    return not faults, _listed(faults) or _listed([f"{name} {mean:.4f}" for name, mean in found.items()])


def loss(case: Case) -> Finding:
    """No gated task is significantly worse than the champion's.

    The p-values are not corrected: a correction would let losses through that one test alone finds. Where no test can
    find one, a mean may not fall by more than `max_drop`.
    """
    if case.champion is None:
        return _NO_CHAMPION
    alpha, allowed = case.rules.loss.alpha, case.rules.loss.max_drop
    # Of a few queries even the loss of all has a larger p: the test could not fail.
    tested = {result.task for result in case.results if 2 ** (1 - result.queries) <= alpha}
    faults = [
        f"{_difference(result)} (p {result.p:.4f})"
        for result in case.results
        if result.difference < 0 and result.p <= alpha
    ]
    old = _means(case.champion)
    for task in case.tasks:
        if task not in tested and task in old and not case.means[task] >= old[task] - allowed:
            faults.append(f"{task} {case.means[task]:.4f}, champion {old[task]:.4f}: a drop of more than {allowed}")
    return not faults, _listed(faults) or f"none of {len(case.tasks)} tasks is worse (p at most {alpha})"


def gain(case: Case) -> Finding:
    """One gated task or more is significantly better than the champion's, after Holm's correction."""
    if case.champion is None:
        return _NO_CHAMPION
    alpha = case.rules.gain.alpha
    gains = [result for result in case.results if result.difference > 0 and result.p_holm <= alpha]
    if gains:
        return True, _listed([f"{_difference(result)} (p {result.p_holm:.4f})" for result in gains])
    best = max(case.results, key=lambda result: result.difference, default=None)
    if best is None:
        return False, "no gated task has scores per query, so nothing can be tested"
    return False, f"no gated task is better. The most: {_difference(best)} (p {best.p_holm:.4f}, corrected)"


def baseline(case: Case) -> Finding:
    """No gated task that is searched is significantly worse than the baseline's, which is BM25 by default.

    As in `loss` the p-values are not corrected, and a mean may not be lower by more than `max_drop` where no test can
    find a difference. What is not required is a warning.
    """
    rule = case.rules.baseline
    searched = [task for task in case.tasks if is_searched(case.challenger.tests, task)]
    if not searched:
        return True, "does not apply: no gated task is searched"
    measures = [measure for measure in main_metrics(case.challenger.scores) if measure[0] in searched]
    faults = list(_below_baseline(case, measures))
    if not faults:
        return True, f"none of {len(searched)} searched tasks is below {rule.model} (p at most {rule.alpha})"
    found = f"below {rule.model}: {_listed(faults)}"
    return (False, found) if rule.required else (True, f"warning: {found}; not required")


def _below_baseline(case: Case, measures: Sequence[Measure]) -> Iterator[str]:
    """Each measure in which the challenger is worse than the baseline, or cannot be compared with it."""
    rule, own = case.rules.baseline, case.challenger.scores
    scores = (case.challenger.baselines or {}).get(rule.model, {})
    for measure in measures:
        theirs = scores.get(measure, {})
        if theirs.keys() != own[measure].keys() or not _finite(theirs):
            yield f"{measure[0]} has no {measure[1]} of {rule.model} for its queries. {_EVALUATE_AGAIN}"
            continue
        pair = {"baseline": [{measure: theirs}], "challenger": [{measure: own[measure]}]}
        for result in compare(pair, "baseline", [measure[1]], case.rules.resamples).results:
            is_tested = 2 ** (1 - result.queries) <= rule.alpha
            is_lost = result.p <= rule.alpha if is_tested else result.difference < -rule.max_drop
            if result.difference < 0 and is_lost:
                yield f"{_difference(result)} (p {result.p:.4f})"


def contamination(case: Case) -> Finding:
    """The training data were searched for every test, and leaks that should go are below the bound."""
    report, bound = case.challenger.contamination, case.rules.contamination.max_share
    # Reordering a task's candidates has no texts of its own.
    faults = [
        f"the training data were not searched for '{task}'"
        for task in case.challenger.tests
        if not {task, task.removesuffix(RERANKING_SUFFIX)} & set(report["tests"])
    ]
    for stage, counts in report["stages"].items():
        if counts["leaked"] > bound * counts["examples"]:
            by_part = ", ".join(f"{part} {count}" for part, count in counts.get("parts", {}).items())
            found = f"{counts['leaked']} of {counts['examples']} examples of {stage}{by_part and f' ({by_part})'}"
            faults.append(f"leaked: {found}, allowed {bound:.2%}")
        if counts.get("unsearched"):
            faults.append(f"{counts['unsearched']} examples of {stage} have texts that the passages lack: not searched")
    for stage in case.challenger.training.get("tables", {}):
        if stage not in report["stages"]:
            faults.append(f"the examples of {stage} were not searched")
    if not any(counts["examples"] for counts in report["stages"].values()):
        faults.append("the report is of no example")
    leaked = sum(counts["leaked"] for counts in report["stages"].values())
    return not faults, _listed(faults) or f"{leaked} leaks in {len(report['stages'])} stages"


def licence(case: Case) -> Finding:
    """Every training source may be used for the stated use."""
    sources = {name: row.get("licence") or "unknown" for name, row in case.challenger.training["sources"].items()}
    faults = [f"{name} ({licence})" for name, licence in sources.items() if not case.rules.allows(licence)]
    if faults:
        return False, f"not for {case.rules.use} use: {_listed(faults)}"
    return bool(sources), f"{len(sources)} sources for {case.rules.use} use"


def size(case: Case) -> Finding:
    """The files of the model are not too large."""
    found, bound = case.challenger.size / 1e6, case.rules.size_mb[case.challenger.kind]
    return found <= bound, f"{found:.1f} MB, allowed {bound:g}"


def probe(case: Case) -> Finding:
    """The model loads and gives the scores that were logged with it."""
    trial, tolerance = case.challenger.trial, case.rules.probe.tolerance
    if trial is None or trial.error:
        return False, f"does not load or score: {trial.error if trial else 'it was not tried'}"
    same = trial.deviation <= tolerance
    return same, f"{len(case.challenger.probe)} scores {'' if same else 'not '}reproduced, off by {trial.deviation:.2g}"


def latency(case: Case) -> Finding:
    """A single call is fast enough on this machine."""
    found, bound = case.challenger.trial.latency_ms, case.rules.latency_ms[case.challenger.kind]
    return found <= bound, f"{'' if found <= bound else 'too slow: '}{found:.1f} ms, allowed {bound:g}"


# Each gate with those that must have passed for it to have something to look at.
GATES: Mapping[str, tuple[Gate, tuple[str, ...]]] = {
    "standing": (standing, ()),
    "manifest": (manifest, ()),
    "code": (code, ()),
    "signature": (signature, ()),
    "evidence": (evidence, ("manifest",)),
    "tests": (tests, ("evidence",)),
    "minimum": (minimum, ("tests",)),
    "loss": (loss, ("tests",)),
    "gain": (gain, ("tests",)),
    "baseline": (baseline, ("tests",)),
    "contamination": (contamination, ("tests",)),
    "licence": (licence, ("evidence",)),
    "size": (size, ("evidence",)),
    "probe": (probe, ("evidence", "code")),
    "latency": (latency, ("probe",)),
}


def _is_missing(name: str, piece: object) -> bool:
    """Whether a piece of the evidence is not there. A model that was not tested has tests and scores, none."""
    return piece is None if name in ("tests", "scores") else not piece


def _test_fault(case: Case, task: str) -> str | None:
    """Why a gated task cannot be compared, if so."""
    one, other = case.challenger, case.champion
    measure = _main_measure(one, task)
    if measure is None or task not in one.tests:
        return f"'{task}' has no scores"
    if not _finite(one.scores[measure]):
        return f"'{task}' has scores that are not finite"
    theirs = _main_measure(other, task) if other else None
    if other is None or (theirs is None and task not in other.tests):
        return None
    if theirs != measure:
        return f"'{task}' has {measure[1]}, the champion {theirs[1] if theirs else 'no main metric'}"
    if not _finite(other.scores[theirs]):
        return f"the champion's scores of '{task}' are not finite. {_NEW_CHAMPION}"
    same = other.tests.get(task, {}).get("digest") == one.tests[task]["digest"]
    found, before = one.scores[measure], other.scores[theirs]
    # Of an older version the whole task's score is known, and not those of its items.
    if same and (found.keys() == before.keys() or not (has_queries(found) and has_queries(before))):
        return None
    return f"'{task}' was tested on other data than the champion"


def _champion_fault(case: Case) -> str | None:
    """Why nothing can be compared with the champion, if so."""
    one, other = case.challenger, case.champion
    if other is None:
        return None
    if other.faults:
        return f"the champion's evidence is corrupted: {_listed(other.faults)}. {_NEW_CHAMPION}"
    if not other.scores or not other.tests:
        return f"the champion has no scores. {_NEW_CHAMPION}"
    return None if other.kind in (None, one.kind) else f"the champion is another kind of model: {other.kind}"


def _finite(scores: Mapping[str, float]) -> bool:
    return all(math.isfinite(score) for score in scores.values())


def _main_measure(given: Evidence, task: str) -> Measure | None:
    return next((measure for measure in main_metrics(given.scores) if measure[0] == task), None)


def _means(given: Evidence) -> dict[str, float]:
    return {measure[0]: fmean(given.scores[measure].values()) for measure in main_metrics(given.scores)}


def _below(what: str, bounds: Mapping[str, float | None], found: Mapping[str, float]) -> list[str]:
    asked = {name: bound for name, bound in bounds.items() if bound is not None}
    faults = [f"{what} {name} has no scores" for name in asked if name not in found]
    return faults + [
        f"{what} {name} {found[name]:.4f}, at least {bound} is asked"
        for name, bound in asked.items()
        if name in found and not found[name] >= bound
    ]


def _difference(result: PairedResult) -> str:
    return f"{result.task} {result.metric} {result.difference:+.4f}"


def _listed(texts: Sequence[str]) -> str:
    shown = "; ".join(texts[:_SHOWN])
    return shown + (f"; and {len(texts) - _SHOWN} more" if len(texts) > _SHOWN else "")
