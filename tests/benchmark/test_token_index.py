"""Tasks searched through an index of token vectors."""

import numpy as np
import pytest
from tiny import TEXTS, save_tiny_late

from ruri_kedro.benchmark.scoring.asking import multi_vector
from ruri_kedro.benchmark.scoring.token_index import TokenIndexes
from ruri_kedro.benchmark.tasks.retrieval import RetrievalTask
from ruri_kedro.models import late_interaction as late
from ruri_kedro.models.multi_vector import load_multi_vector

SETTINGS = {"bits": 4, "centroids": None, "iterations": 4, "seed": 0, "shard_tokens": 200, "probes": 8,
            "candidates": 100, "rescored": 50, "threads": 1}  # fmt: skip
TASK = RetrievalTask(
    "wiki",
    {f"q{i}": text[:9] for i, text in enumerate(TEXTS[:10])},
    {f"d{i}": text for i, text in enumerate(TEXTS)},
    {f"q{i}": {f"d{i}": 1} for i in range(10)},
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return save_tiny_late(tmp_path_factory.mktemp("late") / "model")


@pytest.fixture
def asked(folder, tmp_path):
    """A function that makes the model as it is asked, without an index or with one of these settings."""

    def make(**changed):
        evaluation = {"multi_vector": "index", "indexes": str(tmp_path / "indexes")}
        index = TokenIndexes.of(evaluation, SETTINGS | changed, "digest") if changed else None
        limits = {"chunk_tokens": 256, "exact_documents": 1000, "index": index}
        return multi_vector("late", lambda: load_multi_vector(folder), {}, limits)

    return make


def test_hits_and_scores_are_those_of_exact_max_sim_but_for_what_compression_costs(asked):
    exact, _ = asked().search(TASK, 20, {})
    found, reordered = asked(bits=4).search(TASK, 20, {"q3": {"d3": 1.0, "d5": 0.5}})
    assert found.keys() == exact.keys() and {len(hits) for hits in found.values()} == {20}
    shared = [len(found[qid].keys() & exact[qid].keys()) for qid in exact]
    assert np.mean(shared) >= 18
    both = [(found[qid][docid], exact[qid][docid]) for qid in exact for docid in found[qid].keys() & exact[qid].keys()]
    assert np.allclose(*zip(*both, strict=True), atol=0.3)
    assert reordered["q3"]["d3"] == pytest.approx(exact["q3"]["d3"], abs=1e-4), "candidates are scored exactly"


def test_an_index_that_is_there_is_used_whatever_the_search_and_another_one_built_for_other_bits(asked, monkeypatch):
    asked(bits=2).search(TASK, 10, {})
    encoded = []
    encode = late.encode_tokens
    monkeypatch.setattr(late, "encode_tokens", lambda *a: encoded.extend(a[1]) or encode(*a))
    asked(bits=2, probes=2).search(TASK, 10, {})
    assert encoded == list(TASK.queries.values())
    asked(bits=1).search(TASK, 10, {})
    assert len(encoded) == 2 * len(TASK.queries) + len(TASK.corpus)
