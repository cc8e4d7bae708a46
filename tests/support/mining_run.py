"""The tables of negative_mining on those of `table_run`, in shards of a hundred pairs, by a made-up encoder."""

from pathlib import Path

import numpy as np

from ruri_kedro.datasets import FolderDataset
from ruri_kedro.mining import searches as searching
from ruri_kedro.models.reference import EncoderReference
from ruri_kedro.pipelines.negative_mining import nodes
from ruri_kedro.recipe.stages import mined_stages
from ruri_kedro.tables import SCHEMAS, Table, write_table

STAGES = mined_stages("supervised")
TABLES = ("candidates", "mined_pairs", "examples")
SOURCES = {
    "paragraphs": {
        "kind": "title_to_text",
        "path": "paragraphs",
        "stages": {"finetuning": [{"negatives": "rrf"}, {"negatives": "random", "objective": "contrastive"}]},
    },
    "inference": {
        "kind": "premise_to_hypothesis",
        "path": "inference.jsonl",
        "collection": "collection",
        "stages": {"finetuning": {"negatives": "bm25"}},
    },
    "collection": {"kind": "collection", "path": "paragraphs"},
}
BM25 = {"engine": "bm25s", "analyzer": "sudachi_a", "k1": 0.9, "b": 0.4, "threads": 1, "heap_mb": 64}
PROMPTS = {"query": "問: ", "document": "文: "}
ENCODING = {"max_length": 32, "chunk_tokens": 512, "precision": "float32", "device": "cpu"}


def _encode(self, texts, prompt, max_length, chunk_tokens, label, precision):
    vectors = np.array([np.random.default_rng([ord(c) for c in text[:20]]).normal(size=8) for text in texts])
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def run_mining(root: Path) -> None:
    """Make the tables from those of data_engineering below `root`, or continue to make them."""
    EncoderReference.encode = _encode
    (root / "model").mkdir(exist_ok=True)
    mine(root)


def mine(root: Path, engine: str = "local") -> None:
    """As `run_mining`, by the encoder in `root/model`."""
    mining = {
        "encoder": {"name": None}, "cache": {"folder": str(root / "cache"), "block": 200},
        "nearest": {"exact_below": 10**6, "kind": "flat", "cells": 1, "probes": 1, "links": 1, "effort": 1},
        "shard_rows": 100, "depth": 20, "rrf_k": 60, "window": {"first": 3, "last": 20},
        "mine_window": {"first": 1, "last": 20}, "max_mined": 1, "min_answer_chars": 1, "fill": True, "negatives": 3,
    }  # fmt: skip
    passages, pairs, leaks, matches = (Table(root / n, SCHEMAS[n]) for n in ("passages", "pairs", "leaks", "matches"))
    indexes, embeddings = (FolderDataset(filepath=str(root / name)) for name in ("indexes", "embeddings"))
    indexes.save(searching.build_indexes(passages, pairs, SOURCES, mining, BM25, STAGES))
    common = (root / "model", SOURCES, mining, BM25, PROMPTS, ENCODING)
    embeddings.save(searching.embed_collections(passages, pairs, *common, engine, stages=STAGES))
    found = searching.search(passages, pairs, indexes.load(), embeddings.load(), *common, engine, stages=STAGES)
    candidates = write_table(root / "candidates", SCHEMAS["candidates"], found)
    given = (passages, pairs, leaks, matches, candidates, SOURCES, mining, 1)
    mined = write_table(root / "mined_pairs", SCHEMAS["pairs"], nodes.mine_positives(*given))
    chosen = nodes.choose_examples(*given, mined, stage="finetuning")
    write_table(root / "examples", SCHEMAS["examples"], chosen)
