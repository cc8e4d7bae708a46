"""Models side by side: tests per task, seeds, and the page."""

import json
from html.parser import HTMLParser
from statistics import stdev

import numpy as np
import pytest

from ruri_kedro.benchmark.comparing.comparison import changed_queries, compare, main_metrics, scores_by_query
from ruri_kedro.benchmark.comparing.page import QueryTexts, comparison_page, query_texts
from ruri_kedro.benchmark.comparing.significance import bootstrap_interval, holm, randomisation_test
from ruri_kedro.benchmark.comparing.text import means_text, results_text
from ruri_kedro.errors import DataError, RecipeError

QIDS = [f"q{number:03}" for number in range(120)]


def table(gains: dict[str, float], seed: int = 0, noise: float = 0.1) -> dict:
    """Scores by query on the tasks of `gains`: a difficulty that all tables share, a gain, and noise of this table."""
    difficulty = np.random.default_rng(99).uniform(0.2, 0.7, len(QIDS))
    rng = np.random.default_rng(seed)
    return {
        (task, "ndcg@10"): dict(zip(QIDS, (difficulty + gain + rng.normal(0, noise, len(QIDS))).tolist(), strict=True))
        for task, gain in gains.items()
    }


@pytest.fixture(scope="module")
def planted():
    """Three tasks: a clear gain, a clear loss, no difference."""
    old = table({"up": 0.0, "down": 0.0, "same": 0.0})
    new = table({"up": 0.1, "down": -0.1, "same": 0.0}, seed=1)
    return compare({"old": [old], "new": [new]}, "old")


class Reader(HTMLParser):
    """Text and tags of a page; fails on a tag that is closed out of place."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.texts: list[str] = []
        self.tags: list[str] = []
        self.feed(page)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        if tag not in ("meta", "br"):
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.texts.append(data.strip())


def test_a_planted_difference_is_found_and_a_planted_null_is_not(planted):
    assert {result.task: result.found for result in planted.results} == {"up": True, "down": True, "same": False}
    by_task = {result.task: result for result in planted.results}
    assert by_task["up"].difference > 0 > by_task["down"].difference
    assert by_task["up"].interval[0] > 0 > by_task["down"].interval[1]
    assert by_task["up"].effect_size > 0.4 and by_task["up"].wins > by_task["up"].losses


def test_figures_are_those_of_the_paired_differences(planted):
    measure = ("up", "ndcg@10")
    differences = np.array([planted.scores["new"][measure][qid] - planted.scores["old"][measure][qid] for qid in QIDS])
    result = planted.results[0]
    assert result.difference == pytest.approx(result.model_mean - result.baseline_mean)
    assert result.difference == pytest.approx(differences.mean())
    assert result.interval == bootstrap_interval(differences)
    assert result.p == randomisation_test(differences)
    assert (result.wins, result.losses) == ((differences > 0).sum(), (differences < 0).sum())
    assert result.wins + result.ties + result.losses == result.queries == len(QIDS)


def test_p_is_corrected_over_every_test_of_the_comparison(planted):
    assert [result.p_holm for result in planted.results] == holm([result.p for result in planted.results])
    three = compare({name: [table({"a": 0, "b": 0}, seed)] for seed, name in enumerate(("x", "y", "z"))}, "x")
    assert len(three.results) == 4
    assert [result.p_holm for result in three.results] == holm([result.p for result in three.results])


def test_a_comparison_is_the_same_twice(planted):
    models = {name: [planted.scores[name]] for name in ("old", "new")}
    assert compare(models, "old").to_json() == planted.to_json()


def test_models_meet_on_the_tasks_that_both_have():
    whole = {("sts", "spearman"): {"": 0.7}}
    bm25 = table({"qa": 0.0})
    model = table({"qa": 0.1, "other": 0.1}, seed=1) | whole
    found = compare({"bm25": [bm25], "model": [model | {("qa", "recall@10"): dict.fromkeys(QIDS, 1.0)}]}, "bm25")
    assert [(result.task, result.metric) for result in found.results] == [("qa", "ndcg@10")]
    means = {(line.model, line.task): line for line in found.summaries}
    assert means["model", "sts"].mean == 0.7 and means["model", "sts"].queries == 0


def test_a_metric_of_a_whole_task_has_a_mean_and_no_test():
    models = {name: [{("sts", "spearman"): {"": value}}] for name, value in (("a", 0.5), ("b", 0.6))}
    found = compare(models, "a")
    assert found.results == () and [line.mean for line in found.summaries] == [0.5, 0.6]


def test_a_measure_of_which_a_model_has_the_mean_alone_has_no_test():
    """Scores of an older version, whose Spearman's correlations are those of whole tasks."""
    by_pair = {("sts", "spearman"): {str(number): 0.6 for number in range(20)}}
    found = compare({"old": [{("sts", "spearman"): {"": 0.5}}], "new": [by_pair]}, "old")
    assert found.results == () and [line.mean for line in found.summaries] == [0.5, pytest.approx(0.6)]
    again = {("sts", "spearman"): {str(number): 0.5 for number in range(20)}}
    [result] = compare({"old": [again], "new": [by_pair]}, "old").results
    assert result.difference == pytest.approx(0.1) and result.p < 0.001


def test_beside_a_metric_of_a_whole_task_stands_one_that_is_tested():
    models = {
        name: [{("intents", "macro_f1"): {"": value}, ("intents", "accuracy"): dict.fromkeys("abcdefghij", value),
                ("intents", "other"): {"a": value}}]
        for name, value in (("a", 0.0), ("b", 1.0))
    }  # fmt: skip
    found = compare(models, "a")
    assert [(line.metric, line.mean) for line in found.summaries if line.model == "b"] == [
        ("macro_f1", 1.0), ("accuracy", 1.0),
    ]  # fmt: skip
    assert [(result.metric, result.p) for result in found.results] == [("accuracy", 2**-9)]


def test_seeds_have_a_mean_and_a_deviation_and_are_averaged_by_query():
    seeds = [table({"qa": gain}, seed) for seed, gain in enumerate((0.0, 0.02, 0.05))]
    found = compare({"base": [table({"qa": 0.0}, seed=9)], "model": seeds}, "base")
    means = [np.mean(list(one["qa", "ndcg@10"].values())) for one in seeds]
    line = next(line for line in found.summaries if line.model == "model")
    assert line.mean == pytest.approx(np.mean(means)) and line.deviation == pytest.approx(stdev(means))
    assert (line.seeds, line.queries) == (3, len(QIDS))
    assert next(line for line in found.summaries if line.model == "base").deviation is None
    one = np.mean([seed["qa", "ndcg@10"]["q007"] for seed in seeds])
    assert found.scores["model"]["qa", "ndcg@10"]["q007"] == pytest.approx(one)


def test_other_metrics_are_tested_by_name():
    scores = {name: {("qa", "recall@1"): dict.fromkeys(QIDS, value)} for name, value in (("a", 0.0), ("b", 1.0))}
    scores = {name: [found | table({"qa": 0.0})] for name, found in scores.items()}
    assert [result.metric for result in compare(scores, "a", ["recall@1"]).results] == ["recall@1"]
    with pytest.raises(RecipeError, match=r"metric 'mrr@3': no table has it\. There are: recall@1, ndcg@10"):
        compare(scores, "a", ["mrr@3"])


def test_the_main_metric_is_the_one_of_the_report():
    names = [("qa", "recall@1"), ("qa", "ndcg@10"), ("pn", "accuracy"), ("pn", "macro_f1"), ("odd", "lrap")]
    assert main_metrics(dict.fromkeys(names)) == [("qa", "ndcg@10"), ("pn", "macro_f1")]


def test_tables_of_other_queries_are_refused():
    short = {("qa", "ndcg@10"): {"q001": 0.5, "new": 0.5}}
    with pytest.raises(DataError, match=r"'a' has 120 queries and 'b' has 2, 120 of them not shared .*'new'"):
        compare({"a": [table({"qa": 0.0})], "b": [short]}, "a")
    with pytest.raises(DataError, match="'a' has 120 queries and its table 2 has 2"):
        compare({"a": [table({"qa": 0.0}), short]}, "a")
    with pytest.raises(DataError, match=r"model 'a': tables 1 and 2 do not both have ndcg@10 of task 'other'"):
        compare({"a": [table({"qa": 0.0}), table({"qa": 0.0, "other": 0.0})]}, "a")


def test_a_baseline_that_is_not_there_is_named():
    with pytest.raises(RecipeError, match=r"baseline 'c': not among the models\. There are: a"):
        compare({"a": [table({"qa": 0.0})]}, "c")


def test_rows_become_scores_and_a_query_has_one():
    row = {"model": "m", "task": "qa", "metric": "ndcg@10", "query_id": "q1", "score": 0.5}
    assert scores_by_query([row, row | {"query_id": "q2"}]) == {("qa", "ndcg@10"): {"q1": 0.5, "q2": 0.5}}
    with pytest.raises(DataError, match=r"task 'qa', ndcg@10, query 'q1': two scores"):
        scores_by_query([row, row])


def test_queries_won_and_lost_most_come_first():
    old = {("t", "ndcg@10"): {"a": 0.5, "b": 0.5, "c": 0.5, "d": 0.5, "e": 0.5, "f": 0.1 + 0.2}}
    new = {("t", "ndcg@10"): {"a": 0.6, "b": 1.0, "c": 0.0, "d": 0.6, "e": 0.4, "f": 0.3}}
    found = compare({"old": [old], "new": [new]}, "old")
    assert changed_queries(found, found.results[0], 2) == (["b", "a"], ["c", "e"])
    assert changed_queries(found, found.results[0], 9) == (["b", "a", "d"], ["c", "e"])


def test_json_holds_the_figures(planted):
    data = json.loads(json.dumps(planted.to_json(), allow_nan=False))
    assert data["baseline"] == "old" and data["alpha"] == 0.05
    assert [row["task"] for row in data["comparisons"]] == ["up", "down", "same"]
    assert len(data["models"]) == 6


def test_the_terminal_shows_means_and_tests(planted):
    means, tests = means_text(planted).splitlines(), results_text(planted).splitlines()
    assert means[0].split() == ["model", "task", "mean", "deviation", "seeds"] and len(means) == 7
    assert "Holm's correction over 3 tests" in tests[0]
    assert tests[2].startswith("new    up/ndcg@10") and "*" in tests[2] and "*" not in tests[4]
    assert max(map(len, tests)) <= 120


def test_the_page_shows_texts_of_the_changed_queries_and_escapes_them(planted):
    won, lost = changed_queries(planted, planted.results[0], 2)
    rows = [
        {"test": "up", "role": "query", "item_id": won[0], "text": "<script>alert(1)</script> 富士山 & 川?"},
        {"test": "up", "role": "positive", "item_id": won[0], "text": '富士山は"日本"の山。'},
        {"test": "up", "role": "query", "item_id": lost[0], "text": "失われた問い"},
        {"test": "down", "role": "query", "item_id": "not shown", "text": "ほかの問い"},
        {"test": "up", "role": "passage", "item_id": "d1", "text": "文書"},
    ]
    texts = query_texts(planted, rows, count=2)
    assert texts["up", won[0]] == QueryTexts(rows[0]["text"], [rows[1]["text"]])
    assert set(texts) == {("up", won[0]), ("up", lost[0])}
    page = comparison_page(planted, texts, 2)
    read = Reader(page)
    assert read.tags.count("script") == 1 and "http:" not in page and "https:" not in page
    assert read.tags.count("svg") == 3
    for text in (rows[0]["text"], rows[1]["text"], rows[2]["text"], "Won most", "new against old: up/ndcg@10"):
        assert text in read.texts
    assert read.texts.count(won[1]) == 1, "a query without texts is shown by its id"
    assert page == comparison_page(planted, texts, 2)


def test_a_model_name_cannot_break_the_page():
    models = {"<b>old": [table({"a&b": 0.0})], "new</td>": [table({"a&b": 0.1}, seed=1)]}
    read = Reader(comparison_page(compare(models, "<b>old"), {}))
    assert "new</td> against <b>old: a&b/ndcg@10" in read.texts


def test_the_page_shows_what_each_model_puts_first_in_the_task_at_hand():
    tasks = ("qa", "qa_rerank")
    old, new = ({(task, "ndcg@10"): {"q1": score} for task in tasks} for score in (0.1, 0.9))
    found = compare({"old": [old], "new": [new]}, "old")
    rows = [
        {"test": "qa", "role": "query", "item_id": "q1", "text": "首都は?"},
        {"test": "qa", "role": "positive", "item_id": "q1", "text": "東京です。"},
        *({"test": "qa", "role": "passage", "item_id": f"d{i}", "text": f"文書{i}"} for i in range(4)),
        {"test": "other", "role": "passage", "item_id": "d0", "text": "ほかの文書"},
    ]
    first = {("old", "qa"): {"q1": "d0"}, ("new", "qa"): {"q1": "d1"}, ("new", "qa_rerank"): {"q1": "d0"}}
    texts = query_texts(found, rows, first)
    assert texts["qa", "q1"] == QueryTexts("首都は?", ["東京です。"], {"old": "文書0", "new": "文書1"})
    assert texts["qa_rerank", "q1"] == QueryTexts("首都は?", ["東京です。"], {"new": "文書0"})
    read = Reader(comparison_page(found, texts))
    assert [text for text in read.texts if text.startswith("文書")] == ["文書0", "文書1", "文書0"]
    assert read.texts.count("首都は?") == 2


def test_a_page_of_seeds_alone_has_no_tests():
    found = compare({"model": [table({"qa": 0.0}, seed) for seed in range(3)]}, "model")
    read = Reader(comparison_page(found, {}))
    assert "Tests" not in read.texts and "qa/ndcg@10" in read.texts
