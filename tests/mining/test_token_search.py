"""Mining by a late interaction model, beside sentence-transformers' own MaxSim."""

from functools import partial

import numpy as np
import pytest
from sentence_transformers import MultiVectorEncoder
from tiny import TEXTS, save_tiny_late

from ruri_kedro.datasets import FolderDataset
from ruri_kedro.mining import searches
from ruri_kedro.mining.dry_run import encoder_of, search_estimates
from ruri_kedro.models import late_interaction as late
from ruri_kedro.recipe.stages import mined_stages
from ruri_kedro.tables import SCHEMAS, Part, write_table

STAGES = mined_stages("supervised")
SOURCES = {
    "asked": {"kind": "title_to_text", "path": "x", "collection": "texts",
              "stages": {"finetuning": {"negatives": "rrf"}}},
    "texts": {"kind": "collection", "path": "x"},
}  # fmt: skip
BM25 = {"engine": "bm25s", "analyzer": "sudachi_a", "k1": 0.9, "b": 0.4, "threads": 1, "heap_mb": 64}
PROMPTS = {"query": "of the recipe", "document": "of the recipe"}
ENCODING = {"max_length": 8, "chunk_tokens": 512, "precision": "float32", "device": "cpu"}
INDEX = {"bits": 4, "centroids": None, "iterations": 4, "seed": 0, "shard_tokens": 100, "probes": 8,
         "candidates": 100, "rescored": 50, "threads": 1}  # fmt: skip
QUERIES = 6


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return save_tiny_late(tmp_path_factory.mktemp("late") / "model")


@pytest.fixture
def tables(tmp_path):
    """Passages and pairs."""

    def passage(source, docid, text):
        return {"docid": docid, "source": source, "title": "", "section": "", "text": text}

    # The positive of an even query is in the collection, that of an odd one is a passage of the source alone.
    own = [passage("asked", f"a{i}", TEXTS[i][:9]) for i in range(QUERIES)]
    own += [passage("asked", f"d{i}" if i % 2 == 0 else f"own{i}", TEXTS[i]) for i in range(QUERIES)]
    passages = {"asked": own, "texts": [passage("texts", f"d{i}", text) for i, text in enumerate(TEXTS)]}
    pairs = [{"pair_id": f"p{i}", "query_id": f"q{i}", "source": "asked", "split": "train", "anchor": f"a{i}",
              "positive": own[QUERIES + i]["docid"], "given_negatives": [], "answers": [], "origin": "given"}
             for i in range(QUERIES)]  # fmt: skip
    return [
        write_table(tmp_path / "passages", SCHEMAS["passages"],
                    {name: Part(name, lambda rows=rows: [rows]) for name, rows in passages.items()}),
        write_table(tmp_path / "pairs", SCHEMAS["pairs"],
                    {"asked": Part("k", lambda: [pairs]), "texts": Part("k", list)}),
    ]  # fmt: skip


@pytest.fixture
def mining(tmp_path):
    """Parameters `mining.supervised`."""
    return {
        "encoder": {"name": None, "prompts": None}, "cache": {"folder": str(tmp_path / "cache"), "block": 9},
        "nearest": {"exact_below": 100, "kind": "flat", "cells": 1, "probes": 1, "links": 1, "effort": 1},
        "shard_rows": 4, "depth": 8, "rrf_k": 60, "negatives": 2, "fill": True, "window": {"first": 1, "last": 8},
        "mine_window": None, "max_mined": 0, "min_answer_chars": 2, "max_score_ratio": None,
    }  # fmt: skip


@pytest.fixture
def mine(model, tables, mining, tmp_path):
    """A function that searches the collection: rows of the table candidates, by query."""

    def run():
        common = (model, SOURCES, mining, BM25, PROMPTS, ENCODING, "local", INDEX)
        indexes, collections = (FolderDataset(filepath=str(tmp_path / name)) for name in ("indexes", "embeddings"))
        indexes.save(searches.build_indexes(*tables, SOURCES, mining, BM25, STAGES))
        collections.save(searches.embed_collections(*tables, *common, stages=STAGES))
        found = searches.search(*tables, indexes.load(), collections.load(), *common, stages=STAGES)
        table = write_table(tmp_path / "candidates", SCHEMAS["candidates"], found)
        return {row["query_id"]: row for row in table.iter_rows()}

    return run


def test_every_candidate_and_positive_is_ranked_and_scored_by_max_sim(mine, model):
    own = MultiVectorEncoder(str(model), device="cpu")
    asked = own.encode_query([text[:9] for text in TEXTS[:QUERIES]])
    scores = own.similarity(asked, own.encode_document(TEXTS)).numpy()
    rows = mine()
    assert len(rows) == QUERIES
    for number in range(QUERIES):
        row = rows[f"q{number}"]
        expected = {docid: scores[number, int(docid[1:])] for docid in row["docids"]}
        assert np.allclose(row["dense_scores"], list(expected.values()), atol=0.3)
        dense = [d for _, d in sorted(zip(row["dense_ranks"], row["docids"], strict=True)) if _]
        assert len(dense) == 8 and any(row["bm25_ranks"])
        best = [f"d{place}" for place in np.argsort(-scores[number])[:12]]
        assert len(set(dense) & set(best)) >= 7
        tolerance = 1e-3 if number % 2 else 0.3  # a text that is not in the index is scored as it is
        assert row["positive_scores"] == pytest.approx([scores[number, number]], abs=tolerance)


def test_what_was_indexed_and_searched_is_not_done_again(mine, monkeypatch):
    first = mine()
    monkeypatch.setattr(late, "encode_tokens", lambda *_: pytest.fail("a text was encoded again"))
    assert mine() == first


def test_a_dry_run_tells_what_encoding_costs(model, tables, mining):
    encoder = partial(encoder_of, model, mining, PROMPTS, ENCODING, INDEX)
    found = list(search_estimates(*tables, SOURCES, mining, BM25, encoder, STAGES, False))
    named = {estimate.name: estimate for estimate in found}
    assert {"token vectors of texts", "token vectors of asked", "BM25 index of texts"} <= named.keys()
    assert named["token vectors of texts"].amount == f"{len(TEXTS)} passages"
