"""Rows of candidates, embeddings on disk, and the examples made of them."""

import numpy as np
import pytest

from ruri_kedro.errors import DataError, RecipeError
from ruri_kedro.retrieval.candidates import candidate_rows, dense_rankings, distinct_queries
from ruri_kedro.retrieval.embeddings import build_embeddings, load_embeddings
from ruri_kedro.retrieval.examples import SourcePairs, StageRecipe, make_examples, mine_pairs
from ruri_kedro.retrieval.negatives import ChoiceRules, Window

RULES = ChoiceRules(Window(1, 6), n=0, fill=True, mine_window=Window(1, 6), max_mined=1, min_answer_chars=2)
TEXTS = {f"d{i}": f"本文その{i}" for i in range(8)} | {f"q{i}": f"問い{i}" for i in range(4)} | {"same": "本文 その0。"}


def pair(number, positive, answers=(), given=(), split="train"):
    return {
        "pair_id": f"p{number}-{positive}",
        "query_id": f"id-q{number}",
        "source": "s",
        "split": split,
        "anchor": f"q{number}",
        "positive": positive,
        "given_negatives": list(given),
        "answers": list(answers),
        "origin": "given",
    }


def known(*pairs):
    ranked = ["d0", "same", "d1", "d2", "d3", "d4"]
    return SourcePairs("s", list(pairs), TEXTS, {"id-q0": ranked, "id-q1": ranked[::-1]})


def recipe(strategy, negatives=3, stage="finetuning", **row):
    return StageRecipe.of(stage, {"negatives": strategy, **row}, "contrastive", negatives)


def test_fused_rows_hold_both_ranks_and_scores():
    bm25 = [[("a", 3.0), ("b", 2.0)], []]
    dense = [[("b", 0.9), ("c", 0.8)], [("a", 0.1)]]
    first, second = candidate_rows("s", "c", ["q0", "q1"], bm25, dense, depth=2, rrf_k=60)
    assert first["docids"] == ["b", "a"]
    assert (first["bm25_ranks"], first["dense_ranks"]) == ([2, 1], [1, 0])
    assert first["dense_scores"] == [0.9, 0.0]
    assert second["docids"] == ["a"] and second["bm25_ranks"] == [0]


def test_without_dense_search_the_rank_is_that_of_bm25():
    (row,) = candidate_rows("s", "c", ["q"], [[("z", 2.0), ("a", 1.0)]], None, depth=5, rrf_k=0)
    assert row["docids"] == ["z", "a"] and row["bm25_ranks"] == [1, 2] and row["dense_ranks"] == [0, 0]


def test_each_query_is_searched_once():
    rows = [pair(0, "d0"), pair(0, "d1"), pair(1, "d2")]
    assert distinct_queries(iter(rows), TEXTS) == {"id-q0": "問い0", "id-q1": "問い1"}


def test_embeddings_are_made_once_and_searched_from_disk(tmp_path):
    calls = []

    def encode(texts):
        calls.append(texts)
        return np.eye(3, dtype=np.float32)[: len(texts)]

    for _ in range(2):
        build_embeddings([("a", "一"), ("b", "二"), ("c", "三")], tmp_path / "e", "key", encode)
    assert calls == [["一", "二", "三"]]
    found = load_embeddings(tmp_path / "e")
    ranking = dense_rankings(np.array([[0.0, 1.0, 0.5]], dtype=np.float32), found, 2, 1)[0]
    assert [docid for docid, _ in ranking] == ["b", "c"]
    with pytest.raises(DataError, match="no embeddings here"):
        load_embeddings(tmp_path / "other")


def test_negatives_exclude_every_known_positive_and_its_copies():
    rows = list(make_examples(known(pair(0, "d0"), pair(0, "d1")), recipe("fused", 4), RULES, seed=1))
    for row in rows:
        assert sorted(row["negatives"]) == ["d2", "d3", "d4"]  # not d0, d1, nor "same", which reads as d0


def test_a_mined_positive_becomes_a_pair_and_no_negative():
    rows = known(pair(0, "d0", answers=["その3"]))
    (mined,) = mine_pairs(rows, RULES, seed=1)
    assert (mined["positive"], mined["origin"], mined["anchor"]) == ("d3", "mined", "q0")
    both = SourcePairs("s", [*rows.pairs, mined], TEXTS, rows.candidates)
    examples = list(make_examples(both, recipe("fused", 8), RULES, seed=1))
    assert [row["positive"] for row in examples] == ["d0", "d3"]
    assert all("d3" not in row["negatives"] for row in examples)


def test_given_and_random_negatives():
    rows = known(pair(0, "d0", given=["d5", "d6"]), pair(1, "d1"), pair(2, "d2"), pair(3, "d3"))
    given = list(make_examples(rows, recipe("given", 1), RULES, seed=1))
    assert [row["negatives"] for row in given] == [["d5"], [], [], []]
    drawn = list(make_examples(rows, recipe("random", 2), RULES, seed=1))
    for row in drawn:
        assert len(set(row["negatives"])) == 2
        assert set(row["negatives"]) < {"d0", "d1", "d2", "d3"} - {row["positive"]}


def test_a_held_out_passage_is_no_negative_of_training():
    held_out = pair(1, "d0", split="validation")  # "same" in the candidates reads as d0
    rows = known(pair(0, "d1"), held_out, pair(2, "d2"), pair(3, "d3"))
    for strategy in ("fused", "random"):
        examples = list(make_examples(rows, recipe(strategy, 8), RULES, seed=1))
        train = [row["negatives"] for row in examples if row["split"] == "train"]
        assert train[0] and not {"d0", "same"} & {docid for negatives in train for docid in negatives}
    (validation,) = (row for row in make_examples(rows, recipe("fused", 8), RULES, seed=1) if row["pair_id"] == "p1-d0")
    assert set(validation["negatives"]) == {"d1", "d2", "d3", "d4"}
    train_question = known(pair(0, "d1", answers=["その0"]), held_out)
    assert list(mine_pairs(train_question, RULES, seed=1)) == []


def test_a_pair_may_take_part_with_two_objectives():
    rows = known(pair(0, "d0"))
    examples = [row for name in ("contrastive", "distillation")
                for row in make_examples(rows, recipe("fused", 2, objective=name), RULES, seed=1)]  # fmt: skip
    assert [row["objective"] for row in examples] == ["contrastive", "distillation"]
    assert len({row["example_id"] for row in examples}) == 2
    assert examples[0]["negatives"] == examples[1]["negatives"]


def test_a_shuffled_copy_is_added_for_training_rows_only():
    rows = known(pair(0, "d0"), pair(1, "d1", split="validation"))
    examples = list(make_examples(rows, recipe("given", shuffled_copy=True), RULES, seed=1))
    assert [(row["positive"], row["shuffled"]) for row in examples] == [("d0", False), ("d0", True), ("d1", False)]
    assert len({row["example_id"] for row in examples}) == 3


def test_the_seed_decides_and_nothing_else():
    rows = known(pair(0, "d5"))
    draws = [[row["negatives"] for row in make_examples(rows, recipe("fused", 2), RULES, seed)] for seed in (1, 1, 2)]
    assert draws[0] == draws[1]
    assert len({tuple(draw[0]) for draw in draws}) == 2


def test_a_share_of_the_pairs_is_the_same_in_every_run():
    rows = known(*[pair(i % 2, "d5") | {"pair_id": f"p{i}"} for i in range(200)])
    first, again = (list(make_examples(rows, recipe("given", share=0.3), RULES, seed)) for seed in (1, 2))
    assert 30 < len(first) < 90
    assert [row["pair_id"] for row in first] == [row["pair_id"] for row in again]


def test_an_unknown_strategy_is_refused():
    with pytest.raises(RecipeError, match="given, random, bm25, fused"):
        StageRecipe.of("finetuning", {"negatives": "magic"}, "contrastive", 1)
