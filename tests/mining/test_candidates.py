"""Rows of candidates, and the examples made of them."""

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
from whole_source import candidates_by, whole_source

from ruri_kedro.errors import RecipeError
from ruri_kedro.mining.candidates import add_dense_scores, candidate_rows, candidates_of
from ruri_kedro.mining.examples import StageRecipe, make_examples, mine_pairs
from ruri_kedro.mining.negatives import ChoiceRules, Window
from ruri_kedro.search.dense.embeddings import Embeddings
from ruri_kedro.tables import SCHEMAS
from ruri_kedro.tables.store import to_batch

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
    return whole_source("s", list(pairs), TEXTS, {"id-q0": found_by_bm25(ranked), "id-q1": found_by_bm25(ranked[::-1])})


def found_by_bm25(docids):
    return candidates_by(docids, bm25=range(1, len(docids) + 1))


def recipe(strategy, negatives=3, stage="finetuning", **row):
    return StageRecipe.of(stage, {"negatives": strategy, **row}, "contrastive", replace(RULES, n=negatives))


def read(row, depth=5, avoided=()):
    """What is read of a row of the table, between two others."""
    other = row | {"query_id": "another", "docids": ["x"], "dense_ranks": [1], "positives": []}
    other |= {name: [1.0] for name in ("bm25_ranks", "bm25_scores", "dense_scores")} | {"positive_scores": []}
    batch = to_batch([other, row, other], SCHEMAS["candidates"])
    return dict(candidates_of(batch, depth, avoided))[row["query_id"]]


BM25 = [[("a", 3.0), ("b", 2.0)], []]
DENSE = [[("b", 0.9), ("c", 0.8)], [("a", 0.1)]]


def test_rows_hold_what_every_retriever_found_with_its_ranks_and_scores():
    first, second = candidate_rows("s", "c", ["q0", "q1"], {"bm25": BM25, "dense": DENSE}, rrf_k=60)
    assert first["docids"] == ["b", "a", "c"]
    assert (first["bm25_ranks"], first["dense_ranks"]) == ([2, 1, 0], [1, 0, 2])
    assert first["dense_scores"] == [0.9, 0.0, 0.8]
    assert second["docids"] == ["a"] and second["bm25_ranks"] == [0]


def test_with_one_retriever_the_rank_is_its_own():
    (row,) = candidate_rows("s", "c", ["q"], {"bm25": [[("z", 2.0), ("a", 1.0)]]}, rrf_k=0)
    assert row["docids"] == ["z", "a"] and row["bm25_ranks"] == [1, 2] and row["dense_ranks"] == [0, 0]
    assert read(row).scored_from(-1.0) == set()


def test_a_strategy_reads_its_own_ranking():
    row, _ = candidate_rows("s", "c", ["q0", "q1"], {"bm25": BM25, "dense": DENSE}, rrf_k=60)
    found = read(row)
    assert [found.ranked(name) for name in ("bm25", "dense", "rrf")] == [["a", "b"], ["b", "c"], ["b", "a", "c"]]
    assert read(row, avoided={"b"}).ranked("rrf") == ["a", "c"]
    shallow = read(row, depth=1)
    assert [shallow.ranked(name) for name in ("bm25", "dense", "rrf")] == [["a"], ["b"], ["b"]]


def test_every_candidate_and_positive_gets_its_cosine():
    vectors = np.array([[1.0, 0.0], [0.6, 0.8], [0.0, 1.0]], dtype=np.float16)
    collection = Embeddings(vectors, pa.chunked_array([["a", "b"], ["c"]]))
    queries = np.array([[0.0, 1.0], [1.0, 0.0]], dtype=np.float32)
    positives = Embeddings(vectors[1:2], pa.chunked_array([["own"]]))
    rows = candidate_rows("s", "c", ["q0", "q1"], {"bm25": BM25, "dense": DENSE}, rrf_k=60)
    first, second = add_dense_scores(rows, queries, collection, {"q0": ["own"]}, positives)
    assert first["dense_scores"] == [0.9, 0.0, 0.8]  # a, which dense search did not find, is at a right angle
    assert (first["positives"], second["positives"]) == (["own"], [])
    found = read(first)
    scores = {docid: found.score(docid) for docid in ("b", "a", "c", "own")}
    assert scores == pytest.approx({"b": 0.9, "a": 0.0, "c": 0.8, "own": 0.8}, abs=1e-3)
    for least in (-1.0, 0.0, 0.5, scores["b"], 0.95):
        assert found.scored_from(least) == {docid for docid in ("a", "b", "c") if scores[docid] >= least}


def test_a_stage_may_leave_out_the_pairs_that_were_mined():
    pairs = known(pair(0, "d0"), {**pair(0, "d1"), "origin": "mined"})
    for row, positives in (({}, ["d0", "d1"]), ({"mined": False}, ["d0"])):
        examples = list(make_examples(pairs, recipe("rrf", 1, **row), seed=1))
        assert [example["positive"] for example in examples] == positives
        assert not {"d0", "d1"} & {docid for example in examples for docid in example["negatives"]}


def test_negatives_exclude_every_known_positive_and_its_copies():
    rows = list(make_examples(known(pair(0, "d0"), pair(0, "d1")), recipe("rrf", 4), seed=1))
    for row in rows:
        assert sorted(row["negatives"]) == ["d2", "d3", "d4"]  # not d0, d1, nor "same", which reads as d0


def test_a_mined_positive_becomes_a_pair_and_no_negative():
    rows = known(pair(0, "d0", answers=["その3"]))
    (mined,) = mine_pairs(rows, RULES, seed=1)
    assert (mined["positive"], mined["origin"], mined["anchor"]) == ("d3", "mined", "q0")
    both = whole_source("s", [*rows.pairs, mined], TEXTS, rows.candidates)
    examples = list(make_examples(both, recipe("rrf", 8), seed=1))
    assert [row["positive"] for row in examples] == ["d0", "d3"]
    assert all("d3" not in row["negatives"] for row in examples)


def test_given_and_random_negatives():
    rows = known(pair(0, "d0", given=["d5", "d6"]), pair(1, "d1"), pair(2, "d2"), pair(3, "d3"))
    given = list(make_examples(rows, recipe("given", 1), seed=1))
    assert [row["negatives"] for row in given] == [["d5"], [], [], []]
    drawn = list(make_examples(rows, recipe("random", 2), seed=1))
    for row in drawn:
        assert len(set(row["negatives"])) == 2
        assert set(row["negatives"]) < {"d0", "d1", "d2", "d3"} - {row["positive"]}


def test_triplets_have_one_negative_each():
    rows = known(pair(0, "d0", given=["d5", "d6"]), pair(1, "d1", given=["d2"], split="validation"))
    found = list(make_examples(rows, recipe("given", 2, triplets=True), seed=1))
    assert [(row["positive"], row["negatives"]) for row in found] == [("d0", ["d5"]), ("d0", ["d6"]), ("d1", ["d2"])]
    assert len({row["example_id"] for row in found}) == 3


def test_a_held_out_passage_is_no_negative_of_training():
    held_out = pair(1, "d0", split="validation")  # "same" in the candidates reads as d0
    rows = known(pair(0, "d1"), held_out, pair(2, "d2"), pair(3, "d3"))
    for strategy in ("rrf", "random"):
        examples = list(make_examples(rows, recipe(strategy, 8), seed=1))
        train = [row["negatives"] for row in examples if row["split"] == "train"]
        assert train[0] and not {"d0", "same"} & {docid for negatives in train for docid in negatives}
    (validation,) = (row for row in make_examples(rows, recipe("rrf", 8), seed=1) if row["pair_id"] == "p1-d0")
    assert set(validation["negatives"]) == {"d1", "d2", "d3", "d4"}
    train_question = known(pair(0, "d1", answers=["その0"]), held_out)
    assert list(mine_pairs(train_question, RULES, seed=1)) == []


def test_a_pair_may_take_part_with_two_objectives():
    rows = known(pair(0, "d0"))
    examples = [row for name in ("contrastive", "distillation")
                for row in make_examples(rows, recipe("rrf", 2, objective=name), seed=1)]  # fmt: skip
    assert [row["objective"] for row in examples] == ["contrastive", "distillation"]
    assert len({row["example_id"] for row in examples}) == 2
    assert examples[0]["negatives"] == examples[1]["negatives"]


def test_a_shuffled_copy_is_added_for_training_rows_only():
    rows = known(pair(0, "d0"), pair(1, "d1", split="validation"))
    examples = list(make_examples(rows, recipe("given", shuffled_copy=True), seed=1))
    assert [(row["positive"], row["shuffled"]) for row in examples] == [("d0", False), ("d0", True), ("d1", False)]
    assert len({row["example_id"] for row in examples}) == 3


def test_the_seed_decides_and_nothing_else():
    rows = known(pair(0, "d5"))
    draws = [[row["negatives"] for row in make_examples(rows, recipe("rrf", 2), seed)] for seed in (1, 1, 2)]
    assert draws[0] == draws[1]
    assert len({tuple(draw[0]) for draw in draws}) == 2


def test_a_share_of_the_pairs_is_the_same_in_every_run():
    rows = known(*[pair(i % 2, "d5") | {"pair_id": f"p{i}"} for i in range(200)])
    first, again = (list(make_examples(rows, recipe("given", share=0.3), seed)) for seed in (1, 2))
    assert 30 < len(first) < 90
    assert [row["pair_id"] for row in first] == [row["pair_id"] for row in again]


def test_the_first_pairs_of_training_take_part_whatever_the_shards():
    pairs = [pair(0, "d5", split="validation" if i == 1 else "train") | {"pair_id": f"p{i}"} for i in range(9)]
    limited = recipe("given", max_rows=4, shuffled_copy=True)
    whole = list(make_examples(known(*pairs), limited, seed=1))
    assert [row["pair_id"] for row in whole] == ["p0", "p0", "p1", "p2", "p2", "p3", "p3", "p4", "p4"]
    shards = [list(make_examples(known(*part), limited, seed=1, before=before))
              for part, before in ((pairs[:4], 0), (pairs[4:], 3))]  # fmt: skip
    assert [row for shard in shards for row in shard] == whole
    drawn = list(make_examples(known(*pairs), recipe("given", max_rows=2, share=0.5), seed=1))
    every = list(make_examples(known(*pairs), recipe("given", share=0.5), seed=1))
    assert [row for row in every if row["split"] == "train"][:2] == [row for row in drawn if row["split"] == "train"]


def ranked_by_both(count, positive_score=1.0):
    """`count` candidates by dense search, in the other order by BM25; cosines fall from 1 by a hundredth."""
    docids = [f"c{i}" for i in range(1, count + 1)]
    places = list(range(1, count + 1))
    scores = [1 - place / 100 for place in places]
    found = candidates_by(docids, places[::-1], places, scores, {"gold": positive_score})
    texts = {docid: f"本文{docid}番" for docid in docids} | {"gold": "正解", "q0": "問い"}
    return whole_source("s", [pair(0, "gold")], texts, {"id-q0": found})


def drawn(known, row):
    (example,) = make_examples(known, StageRecipe.of("finetuning", row, "contrastive", RULES), seed=1)
    return example["negatives"]


def test_jacolbert_is_a_row_of_parameters():
    # Section 2.1: E5's 110 nearest without the first 10, 25 of them drawn; BM25's ranks 11 to 20.
    known = ranked_by_both(110)
    dense = drawn(known, {"negatives": "dense", "window": {"first": 11, "last": 110}, "count": 25, "fill": False})
    assert len(set(dense)) == 25 and set(dense) <= {f"c{i}" for i in range(11, 111)}
    bm25 = drawn(known, {"negatives": "bm25", "window": {"first": 11, "last": 20}, "count": 10, "fill": False})
    assert set(bm25) == {f"c{i}" for i in range(91, 101)}


@pytest.mark.parametrize("count", [63, 15])
def test_ruri_is_another(count):
    negatives = drawn(ranked_by_both(110), {"negatives": "rrf", "window": {"first": 30, "last": 100}, "count": count})
    assert len(set(negatives)) == count and set(negatives) <= {f"c{i}" for i in range(30, 101)}


def test_and_so_is_the_threshold_of_nv_retriever():
    row = {"negatives": "dense", "window": {"first": 1, "last": 110}, "count": 8, "max_score_ratio": 0.95}
    assert set(drawn(ranked_by_both(110), row | {"count": 200})) == {f"c{i}" for i in range(6, 111)}
    assert set(drawn(ranked_by_both(12, 0.97), row)) == {"c8", "c9", "c10", "c11", "c12"}  # below 0.9215
    assert drawn(ranked_by_both(12, 0.1), row) == []


def test_a_query_for_which_dense_search_found_nothing_has_no_negatives_or_those_of_bm25():
    row = {"negatives": "rrf", "window": {"first": 1, "last": 9}, "count": 9, "max_score_ratio": 0.95}
    for docids in ([], ["d1", "d2"]):
        found = found_by_bm25(docids)
        known = whole_source("s", [pair(0, "d0")], TEXTS, {"id-q0": replace(found, positives=np.array(["d0"]))})
        assert set(drawn(known, row)) == set(docids)


def test_a_threshold_on_cosines_needs_dense_search():
    row = {"negatives": "bm25", "max_score_ratio": 0.95}
    with pytest.raises(RecipeError, match="max_score_ratio compares cosines"):
        StageRecipe.of("finetuning", row, "contrastive", RULES)


def test_an_unknown_strategy_is_refused():
    with pytest.raises(RecipeError, match="expected is 'given', 'random', 'bm25', 'dense' or 'rrf'"):
        StageRecipe.of("finetuning", {"negatives": "magic"}, "contrastive", RULES)
