"""The table: means by category, and the mean over data sets, which weighs a category by its number of them."""

import json

import pytest

from ruri_kedro.benchmark.mteb.report import ModelScores, TaskScore, as_json, markdown

# Ruri, Tables 10 and 11, large: the retrieval data sets, and the other categories with all their data sets at the mean.
RETRIEVAL = (76.68, 61.74, 38.03, 87.12, 96.58, 77.97)
OTHERS = {"STS": (83.13, 2), "Classification": (77.43, 4), "Reranking": (92.99, 1), "Clustering": (51.82, 2),
          "PairClassification": (62.29, 1)}  # fmt: skip


def large(missing=None):
    rows = [TaskScore(f"r{i}", "Retrieval", "ndcg_at_10", v / 100, "ndcg_at_10", v / 100)
            for i, v in enumerate(RETRIEVAL)]  # fmt: skip
    for kind, (mean, count) in OTHERS.items():
        rows += [TaskScore(f"{kind}{i}", kind, "m", mean / 100, "o", mean / 200) for i in range(count)]
    return ModelScores("large", tuple(rows), missing or {})


def test_table_10_comes_out_as_printed():
    assert "| large | 73.02 | 83.13 | 77.43 | 92.99 | 51.82 | 62.29 | 73.31 |" in markdown("JMTEB", [large()], False)


def test_mean_of_category_means_is_another_figure():
    model = large()
    assert sum(model.categories().values()) / 6 != pytest.approx(model.average(), abs=0.001)


def test_no_average_and_no_category_where_a_task_is_missing():
    model = large({"MewsC16JaClustering": "Clustering"})
    assert model.average() is None
    assert "Clustering" not in model.categories()
    text = markdown("JMTEB", [model], False)
    assert "| large | 73.02 | 83.13 | 77.43 | 92.99 | 62.29 | - |" not in text
    assert "| large | 73.02 | 83.13 | 77.43 | 92.99 | - | 62.29 | - |" in text
    assert "large: no result yet of MewsC16JaClustering." in text


def test_official_scores_have_a_table_and_rows_of_their_own():
    text = markdown("JMTEB", [large()], True)
    assert "| large | 73.02 | 41.56 | 38.72 | 46.49 | 25.91 | 31.14 |" in text
    assert "| STS0 | STS | m | 83.13 |" in text and "| STS0 | STS | o | 41.56 |" in text
    assert text.count("| r0 | ") == 1


def test_json_has_the_same_figures():
    [model] = json.loads(json.dumps(as_json("JMTEB", [large()])))["models"]
    assert model["average"]["mteb"] == pytest.approx(0.7331, abs=5e-5)
    assert model["categories"]["mteb"]["Retrieval"] == pytest.approx(0.7302, abs=5e-5)
    assert model["tasks"]["r0"]["score"] == 0.7668
