"""Bad challengers are refused, each by the gate that it fails and with the reason; good ones pass them all."""

import math
import re
from dataclasses import replace

import pytest
from judged import TESTS, better, good, parameters, rules, scores

from ruri_kedro.errors import RecipeError
from ruri_kedro.models.kinds import registered_words
from ruri_kedro.registry.evidence.evidence import Trial
from ruri_kedro.registry.promotion.gates import GATES, Case, judge
from ruri_kedro.registry.promotion.rules import parse_rules

PRETRAINING = {"pretraining": {"examples": 100, "leaked": 0}}


def asked(**embedder):
    """The block `minimum` with nothing in it but what is asked of an embedder."""
    return {
        kind: {"categories": {}, "tasks": {}} | (embedder if kind == "embedder" else {}) for kind in registered_words()
    }


def refused(challenger, champion=None, **changed) -> dict[str, str]:
    """The gates that a challenger fails, with their reasons."""
    verdicts = judge(Case(challenger, champion, rules(**changed)))
    assert [verdict.gate for verdict in verdicts] == list(GATES)
    assert all(verdict.reason for verdict in verdicts)
    return {verdict.gate: verdict.reason for verdict in verdicts if not verdict.passed}


def with_task(made, task, **values):
    """The evidence with other scores of one task."""
    table = {measure: {**found, **values} if measure[0] == task else found for measure, found in made.scores.items()}
    return replace(made, scores=table)


def worse_on(task: str):
    """Better than `good` everywhere but on one task, where it is a little worse on every query."""
    table = better().scores
    measure = next(m for m in table if m[0] == task)
    return replace(better(), scores=table | {measure: {q: s - 0.02 for q, s in good().scores[measure].items()}})


def few_queries(level: float):
    """Scores of 5 queries of `faq` at a level: a test of 5 has no p below 0.06, and so finds nothing."""
    return better().scores | {("faq", "ndcg@10"): {f"q{n}": level for n in range(5)}}


BAD = {
    "worse": (good(scores=scores(level=0.4)), {"loss": r"questions ndcg@10 -0\.1.*p 0\.0", "gain": "no gated task"}),
    "worse on one task": (worse_on("faq"), {"loss": r"^faq ndcg@10 -0\.0200 \(p 0\.00"}),
    "worse where nothing can be tested": (worse_on("sts"), {"loss": r"sts 0\.6800, champion 0\.7000: a drop"}),
    "equal": (good(), {"gain": r"no gated task is better\. The most: .*\+0\.0000 \(p 1\.0000"}),
    "below the minimum": (
        good(scores=scores(level=0.1)),
        {"minimum": r"category retrieval 0\.[01]\d+, at least 0\.2", "loss": "questions", "gain": "no gated"},
    ),
    "leaked": (
        better(contamination={"tests": list(TESTS), "stages": {"finetuning": {"examples": 1000, "leaked": 1}}}),
        {"contamination": r"leaked: 1 of 1000 examples of finetuning, allowed 0\.00%"},
    ),
    "not searched for a test that is not gated": (
        better(
            scores=better().scores | {("jsts", "spearman"): {"": 0.99}},
            tests=TESTS | {"jsts": {"category": "sts", "digest": "j"}},
        ),
        {"contamination": "not searched for 'jsts'"},
    ),
    "a stage not searched": (
        better(training={"sources": good().training["sources"], "tables": {"pretraining": {}, "finetuning": {}}}),
        {"contamination": "^the examples of finetuning were not searched$"},
    ),
    "nothing searched": (
        better(contamination={"tests": list(TESTS), "stages": {"pretraining": {"examples": 0, "leaked": 0}}}),
        {"contamination": "^the report is of no example$"},
    ),
    "no stage in the report": (
        better(contamination={"tests": list(TESTS), "stages": {}}),
        {"contamination": "^the report is of no example$"},
    ),
    "another metric": (
        better(scores={(t, "accuracy" if t == "faq" else m): s for (t, m), s in better().scores.items()}),
        {"tests": "'faq' has accuracy, the champion ndcg@10"},
    ),
    "not searched for a test": (
        better(contamination={"tests": ["questions", "sts"], "stages": PRETRAINING}),
        {"contamination": "not searched for 'faq'"},
    ),
    "unsigned: no manifest": (
        better(manifest=False),
        {"manifest": "unsigned: no manifest", "evidence": "not judged: manifest failed"},
    ),
    "unsigned: no signature": (better(signature=False), {"signature": "unsigned: the model has no signature"}),
    "too slow": (better(trial=Trial(deviation=0.0, latency_ms=999.0)), {"latency": r"too slow: 999.0 ms, allowed 250"}),
    "too large": (better(size=3_000_000_000), {"size": r"3000\.0 MB, allowed 2000"}),
    "wrong licence": (
        better(training={"sources": {"rte": {"licence": "proprietary"}, "news": {"licence": "MIT"}}}),
        {"licence": r"^not for research use: rte \(proprietary\)$"},
    ),
    "other examples than trained on": (
        better(
            training={
                "sources": {"news": {"licence": "MIT"}},
                "tables": {"finetuning": {"digest": "new"}},
                "trained": {"finetuning": {"examples": "old"}},
            }
        ),
        {"evidence": "made anew after the training: the examples of finetuning"},
    ),
    "missing scores": (better(scores=None), {"evidence": "missing: scores"}),
    "no tests": (better(scores={}, tests={}), {"tests": "^nothing was tested: the recipe has no task for this model"}),
    "missing contamination report": (better(contamination=None), {"evidence": "missing: contamination"}),
    "a report without its stages": (
        better(contamination={"tests": list(TESTS)}),
        {"evidence": "^missing: contamination.stages$"},
    ),
    "a source without a licence": (
        better(training={"sources": {"news": {"licence": None}}}),
        {"licence": r"^not for research use: news \(unknown\)$"},
    ),
    "missing card": (better(card=None), {"evidence": "missing: card"}),
    "corrupted file": (
        better(faults=("model.safetensors has 1 bytes, not 7",)),
        {"manifest": "corrupted: model.safetensors has 1 bytes, not 7"},
    ),
    "does not load": (better(trial=Trial(error="no such file")), {"probe": "does not load or score: no such file"}),
    "other weights than scored": (
        better(trial=Trial(deviation=0.2, latency_ms=1.0)),
        {"probe": r"1 scores not reproduced, off by 0\.2"},
    ),
    "scores that are not finite": (
        with_task(better(), "sts", **{"": math.nan}),
        {"tests": "'sts' has scores that are not finite"},
    ),
    "a task left out": (
        better(scores={m: s for m, s in better().scores.items() if m[0] != "faq"}),
        {"tests": "'faq' has no scores"},
    ),
    "other test data": (
        better(tests=TESTS | {"faq": {"category": "retrieval", "digest": "easier"}}),
        {"tests": "'faq' was tested on other data"},
    ),
    "queries left out": (
        better(scores=better().scores | {("faq", "ndcg@10"): {"q0": 1.0}}),
        {"tests": "'faq' was tested on other data"},
    ),
    "rolled back": (better(standing="was rolled back"), {"standing": "was rolled back"}),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_challenger_is_refused_with_its_reason(name):
    challenger, expected = BAD[name]
    found = refused(challenger, good())
    own = {gate: reason for gate, reason in found.items() if not reason.startswith("not judged")}
    assert own.keys() == {gate for gate, reason in expected.items() if not reason.startswith("not judged")}
    for gate, reason in expected.items():
        assert re.search(reason, found[gate]), found[gate]


def test_a_better_challenger_passes_every_gate():
    assert refused(better(), good()) == {}


def test_the_first_champion_is_compared_with_nobody_but_passes_the_absolute_gates():
    verdicts = {verdict.gate: verdict for verdict in judge(Case(good(), None, rules()))}
    assert all(verdict.passed for verdict in verdicts.values())
    assert verdicts["gain"].reason == verdicts["loss"].reason == "no champion yet"
    assert refused(good(scores=scores(level=0.1))).keys() == {"minimum"}
    assert refused(good(size=3_000_000_000)).keys() == {"size"}


@pytest.mark.parametrize(
    ("champion", "reason"),
    [
        (good(scores=None, tests=None), r"the champion has no scores\. Register it again, or remove its alias"),
        (good(faults=("probe.json is missing",)), "the champion's evidence is corrupted: probe.json is missing"),
        (good(kind="reranker"), "the champion is another kind of model: reranker"),
        (with_task(good(), "faq", q3=math.nan), "the champion's scores of 'faq' are not finite"),
        (good(tests={"questions": TESTS["questions"]}), "'faq' was tested on other data than the champion"),
    ],
)
def test_a_champion_that_nothing_can_be_compared_with_is_said(champion, reason):
    assert re.search(reason, refused(better(), champion)["tests"])


def test_a_task_with_too_few_queries_for_a_test_may_not_drop_either():
    champion = good(scores=good().scores | {("faq", "ndcg@10"): few_queries(0.9)["faq", "ndcg@10"]})
    assert refused(better(scores=few_queries(0.895)), champion) == {}
    found = refused(better(scores=few_queries(0.5)), champion)
    assert found == {"loss": "faq 0.5000, champion 0.9000: a drop of more than 0.01"}


def test_a_loss_is_found_by_its_own_test_and_a_gain_only_after_correction():
    """Ten tasks, on one of which 7 of 8 queries changed the same way: p is 0.016 alone and 0.16 corrected."""
    base = {f"q{n}": 0.5 for n in range(8)}
    moved = {f"q{n}": 0.6 if n < 7 else 0.41 for n in range(8)}
    names = [f"t{n}" for n in range(10)]
    tests = {name: {"category": "retrieval", "digest": name} for name in names}
    report = {"tests": names, "stages": PRETRAINING}
    flat = {(name, "ndcg@10"): base for name in names}
    one = good(scores=flat, tests=tests, contamination=report)
    other = good(scores=flat | {("t0", "ndcg@10"): moved}, tests=tests, contamination=report)
    assert refused(other, one, minimum=asked()).keys() == {"gain"}
    assert refused(one, other, minimum=asked()).keys() == {"loss", "gain"}


def bm25(level: float) -> dict:
    """Its scores by query, at a level a little above or below that of a challenger."""
    return {"baselines": {"bm25": scores(level=level)}}


def test_a_challenger_that_loses_to_bm25_is_refused():
    found = refused(good(**bm25(0.6)))
    assert found.keys() == {"baseline"}
    assert re.match(r"below bm25: questions ndcg@10 -0\.\d+ \(p 0\.00\d+\); faq ndcg@10 -0\.", found["baseline"])
    assert refused(good(**bm25(0.5))) == {}, "the same scores are not below"
    assert refused(good(**bm25(0.6)), tasks=["sts"], minimum=asked()) == {}, "a task that is not searched"


def test_where_the_baseline_is_not_required_it_warns_with_the_figures():
    not_required = parameters()["baseline"] | {"required": False}
    challenger = good(**bm25(0.6))
    assert refused(challenger, baseline=not_required) == {}
    verdicts = judge(Case(challenger, None, rules(baseline=not_required)))
    (reason,) = (verdict.reason for verdict in verdicts if verdict.gate == "baseline")
    assert re.match(r"warning: below bm25: questions ndcg@10 -0\.\d+ .*; not required$", reason)


@pytest.mark.parametrize(
    "kept",
    [
        None,
        {},
        {"bm25": {("questions", "ndcg@10"): {"q0": 0.1}}},
        {"bm25": {m: dict.fromkeys(s, math.nan) for m, s in scores().items()}},
    ],
)
def test_a_baseline_without_scores_of_the_same_queries_refuses(kept):
    reason = refused(good(baselines=kept))["baseline"]
    assert "questions has no ndcg@10 of bm25 for its queries. Evaluate it again: kedro run" in reason


def test_few_queries_may_not_be_much_below_the_baseline():
    measure = "faq", "ndcg@10"
    few = {m: dict(list(s.items())[:5]) if m == measure else s for m, s in scores().items()}
    for drop, gates in ((0.005, set()), (0.02, {"baseline"})):
        theirs = few | {measure: {query: score + drop for query, score in few[measure].items()}}
        assert refused(good(scores=few, baselines={"bm25": theirs})).keys() == gates


def test_a_reranker_is_compared_with_the_order_of_its_candidates():
    task = "questions_rerank"
    one, other = ({(task, "ndcg@10"): scores(level=level)["questions", "ndcg@10"]} for level in (0.5, 0.6))
    tests = {task: {"category": "reranking", "digest": "q"}}
    reranker = good(kind="reranker", scores=one, tests=tests, baselines={"bm25": other})
    assert refused(reranker).keys() == {"baseline"}
    assert refused(replace(reranker, baselines={"bm25": one})) == {}


def test_a_recipe_without_a_searched_task_has_no_baseline():
    sts = good(scores={("sts", "spearman"): {"": 0.7}}, tests={"sts": TESTS["sts"]}, baselines={})
    assert refused(sts, minimum=asked()) == {}
    verdicts = judge(Case(sts, None, rules(minimum=asked())))
    assert "does not apply: no gated task is searched" in {verdict.reason for verdict in verdicts}


def test_leaks_are_said_by_part_and_texts_that_are_gone_are_not_searched():
    counts = {"examples": 10, "leaked": 2, "parts": {"anchor": 1, "negative": 2}, "unsearched": 3}
    reason = refused(better(contamination={"tests": list(TESTS), "stages": {"finetuning": counts}}))["contamination"]
    assert "leaked: 2 of 10 examples of finetuning (anchor 1, negative 2), allowed" in reason
    assert "3 examples of finetuning have texts that the passages lack: not searched" in reason


def by_pair(found, gain=0.0):
    """The same with a score for each of 60 pairs of sentences, as versions have them since 0.2."""
    return found | {("sts", "spearman"): {str(number): 0.7 + gain for number in range(60)}}


def test_pairs_of_sentences_are_tested_where_both_versions_have_their_scores():
    champion = good(scores=by_pair(scores()))
    assert refused(good(scores=by_pair(scores(), 0.1)), champion) == {}, "a gain of similarity alone"
    worse = refused(good(scores=by_pair(scores(level=0.6), -0.1)), champion)
    assert worse.keys() == {"loss"} and "sts spearman -0.1000" in worse["loss"]
    older = good(scores=scores())
    assert "sts 0.6000, champion 0.7000: a drop" in refused(good(scores=by_pair(scores(), -0.1)), older)["loss"]
    assert refused(good(scores=by_pair(scores(level=0.6))), older) == {}


def test_tasks_of_the_rules_are_gated():
    narrow = worse_on("faq")
    assert refused(narrow, good(), tasks=["questions", "sts"]) == {}
    assert "'jsts' has no scores" in refused(better(), good(), tasks=["questions", "jsts"])["tests"]


def test_a_reranker_was_searched_for_the_tests_whose_candidates_it_orders():
    """It has scores of `<task>_rerank` only, and the training data are searched for the texts of `<task>`."""
    task = "questions_rerank"
    given = {(task, "ndcg@10"): scores()["questions", "ndcg@10"]}
    reranker = good(kind="reranker", scores=given, tests={task: {"category": "reranking", "digest": "q"}})
    assert refused(replace(reranker, contamination={"tests": ["questions", "sts"], "stages": PRETRAINING})) == {}
    unsearched = replace(reranker, contamination={"tests": ["sts"], "stages": PRETRAINING})
    assert refused(unsearched) == {"contamination": f"the training data were not searched for '{task}'"}


def test_minimum_of_a_single_task():
    reason = refused(better(), good(), minimum=asked(tasks={"faq": 0.9, "jsts": 0.1}))["minimum"]
    assert "task faq 0.6" in reason and "task jsts has no scores" in reason


def test_a_recipe_without_a_category_asks_nothing_of_it():
    both = asked(categories={"retrieval": 0.2, "clustering": 0.2})
    assert refused(better(), good(), minimum=both) == {"minimum": "category clustering has no scores"}
    assert refused(better(), good(), minimum=asked(categories={"retrieval": 0.2, "clustering": None})) == {}


@pytest.mark.parametrize(
    ("use", "licence", "allowed"),
    [
        ("commercial", "CC BY-SA 4.0", True),
        ("commercial", "cc-by-sa-4.0", True),
        ("commercial", "CC BY-NC-SA 4.0", False),
        ("non-commercial", "CC BY-NC-SA 4.0", True),
        ("non-commercial", "Apache-2.0", True),
        ("research", "CC BY-NC 4.0", True),
        ("research", "unknown", False),
    ],
)
def test_a_licence_allows_its_use_and_all_wider_ones(use, licence, allowed):
    training = {"sources": {"s": {"licence": licence}}}
    assert (refused(better(training=training), good(), use=use) == {}) is allowed


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"use": "any"}, "promotion.use: \"any\" is given, expected is 'commercial'"),
        ({"gain": {"alpha": 2}}, "promotion.gain.alpha: 2 is given, expected is less than or equal to 1"),
        ({"size_mb": {"embedder": 1}}, "promotion.size_mb.reranker: missing"),
        ({"minimum": asked(categories={"clusterin": 0.1})}, r"categories.clusterin: .* Did you mean clustering\?"),
        ({"minimum": asked(tasks={"faq": 40})}, "minimum.embedder.tasks.faq: 40 is given, expected is less than or"),
        ({"gates": {}}, "promotion.gates: there is no such parameter"),
        ({"minimum": asked(tasks=None)}, "promotion.minimum.embedder.tasks: null is given"),
        ({"size_mb": 2000}, "promotion.size_mb: 2000 is given"),
        ({"licences": parameters()["licences"] | {"commercial": "MIT"}}, 'licences.commercial: "MIT" is given'),
        ({"licences": {"commercial": []}}, "promotion.licences.non-commercial: missing"),
        ({"tasks": "faq"}, 'promotion.tasks: "faq" is given'),
        ({"tasks": []}, r"promotion.tasks: \[\] is given"),
        ({"baseline": {"model": "bm25"}}, "promotion.baseline.alpha: missing"),
        ({"baseline": parameters()["baseline"] | {"model": "bm26"}}, r"baseline.model: .*Did you mean bm25\?"),
        ({"baseline": parameters()["baseline"] | {"required": "no"}}, 'baseline.required: "no" is given'),
        ({"baseline": parameters()["baseline"] | {"alfa": 1}}, r"promotion.baseline.alfa: .*Did you mean alpha\?"),
        ({"resamples": 10}, "promotion.resamples: 10; as many are needed .* as low as 0.05"),
        ({"loss": {"alpha": 0.001, "max_drop": 0.01}}, "promotion.resamples: 500; .* as low as 0.001"),
        ({"probe": {"tolerance": 0.1, "queries": ["q"]}}, "promotion.probe.passages: missing"),
        ({"probe": {"tolerance": 0.1, "queries": [], "passages": ["p"]}}, r"promotion.probe.queries: \[\] is given"),
    ],
)
def test_rules_that_cannot_be_are_named(changed, message):
    with pytest.raises(RecipeError, match=message):
        rules(**changed)


def test_a_rule_left_out_is_named():
    given = parameters()
    del given["loss"]
    with pytest.raises(RecipeError, match=r"promotion\.loss: missing"):
        parse_rules(given)
