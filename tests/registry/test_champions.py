"""The champions of a model so far: what is told of them, drawn, and logged for MLflow's own curves."""

from dataclasses import replace

import pytest
from judged import TESTS
from registered import NAME, PROMOTION, evidence

from ruri_kedro.benchmark.comparing.intervals import bounds
from ruri_kedro.registry.promotion import promote as promotion
from ruri_kedro.registry.promotion.champions import (
    CURVE_OF,
    champions,
    champions_plot,
    champions_text,
    gated_tasks,
    log_champions,
)
from ruri_kedro.registry.versions import models
from ruri_kedro.text.pictures import svg_of


def register(folder, given):
    """Register the encoder with the metrics that the evaluation gives."""
    import mlflow

    means = {f"{task}/{metric}": sum(queries.values()) / len(queries)
             for (task, metric), queries in given.scores.items()}  # fmt: skip
    with mlflow.start_run():
        models.register_embedder(folder, NAME, means | bounds(given.scores), given)


def promote(rules=PROMOTION) -> bool:
    decision = promotion.judge_version(rules)
    promotion.apply_decision(decision)
    return decision.promoted


@pytest.fixture
def promoted(store, folders):
    """Versions 1, 3 and 4 were promoted, 2 was refused, 4 rolled back."""
    for level in (0.5, 0.49, 0.6, 0.7):
        register(folders / "embedder", evidence(level=level))
        assert promote() == (level != 0.49)
    promotion.rollback(NAME)


def curve() -> dict[str, dict[int, float]]:
    """The metrics of the run that has the curve, by step."""
    import mlflow

    client = mlflow.MlflowClient()
    [run] = client.search_runs(["1"], f"tags.{CURVE_OF} = '{NAME}'")
    assert run.info.status == "FINISHED" and run.info.run_name == f"{NAME}: champions"
    return {key: {point.step: point.value for point in client.get_metric_history(run.info.run_id, key)}
            for key in run.data.metrics}  # fmt: skip


def test_every_promotion_is_a_point_with_its_interval(promoted):
    found = champions(NAME)
    assert [(each.version, each.standing) for each in found] == [(1, "replaced"), (3, "champion"), (4, "rolled back")]
    points = curve()
    assert points["questions/ndcg_at_10"].keys() == {1, 3, 4}
    for each in found:
        score = each.scores["questions"]
        assert points["questions/ndcg_at_10"][each.version] == pytest.approx(score.value)
        low, high = (points[f"questions/ndcg_at_10_ci95_{side}"][each.version] for side in ("low", "high"))
        assert (low, high) == pytest.approx(score.interval) and low < score.value < high
    assert points["sts/spearman"].keys() == {1, 3, 4} and "sts/spearman_ci95_low" not in points
    log_champions(NAME)
    assert curve() == points, "nothing is logged twice"


def test_table_and_chart_have_the_gated_tasks(promoted):
    found = champions(NAME)
    assert gated_tasks(found, ["faq", "elsewhere"]) == ["faq"]
    tasks = gated_tasks(found, None)
    assert tasks == ["questions", "faq", "sts"]
    text = champions_text(NAME, found, tasks, "champions.svg")
    score = found[1].scores["faq"]
    assert "| version | promoted | standing | questions ndcg@10 | faq ndcg@10 | sts spearman |" in text
    assert f"{score.value:.4f} ({score.interval[0]:.4f} to {score.interval[1]:.4f})" in text and "†" not in text
    assert "![The main metrics by version](champions.svg)" in text
    [axes] = champions_plot(found, tasks).axes
    assert [container.get_label() for container in axes.containers] == [
        "questions ndcg@10", "faq ndcg@10", "sts spearman",
    ]  # fmt: skip
    assert svg_of(champions_plot(found, tasks)) == svg_of(champions_plot(found, tasks))


def test_a_champion_of_other_test_data_is_marked_and_not_joined(store, folders):
    register(folders / "embedder", evidence())
    assert promote()
    changed = TESTS | {"faq": {"category": "retrieval", "digest": "another"}}
    register(folders / "embedder", replace(evidence(level=0.6), tests=changed))
    assert promote(PROMOTION | {"tasks": ["questions", "sts"]})
    found = champions(NAME)
    text = champions_text(NAME, found, gated_tasks(found, None))
    [first] = [line for line in text.splitlines() if line.startswith("| 1 |")]
    assert first.count("†") == 1 and "† tested on other data" in text
    [axes] = champions_plot(found, ["questions", "faq"]).axes
    assert [len(container.lines[0].get_xdata()) for container in axes.containers] == [2, 1]


def test_without_a_promotion_there_is_nothing_to_show(store):
    assert champions(NAME) == [] and log_champions(NAME) is None
    assert "No version has been promoted yet." in champions_text(NAME, [], [])
    assert "<svg" in svg_of(champions_plot([], []))
