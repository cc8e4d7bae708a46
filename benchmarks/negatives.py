"""What it costs to change how negatives are chosen: seconds of each change beside those of the first mining.

    python benchmarks/negatives.py            # all paragraphs and training questions of the shipped corpus
    python benchmarks/negatives.py --quick    # 2,000 paragraphs, 500 questions

One JSON line per figure: `peer` is the first mining (index, encode, search, choose), `limit` 5% of it. The encoder has
random weights and the size of the shipped recipe's; a larger one makes the first mining slower and the changes no
slower. Checks that no change encodes, indexes or searches.
"""

import argparse
import gzip
import json
import tempfile
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from ruri_kedro.datasets import FolderDataset
from ruri_kedro.mining import searches as searching
from ruri_kedro.models.base import TinySettings, build_encoder
from ruri_kedro.pipelines.negative_mining import nodes
from ruri_kedro.tables import SCHEMAS, Part, Table, write_table
from ruri_kedro.text.hashing import stable_id

SAMPLE = Path(__file__).resolve().parents[1] / "data/01_raw/sample"
STAGES = {"finetuning": {"negatives": "rrf"}}
SOURCES = {"questions": {"kind": "question_to_passage", "path": "questions", "stages": STAGES}}
MODEL = TinySettings(
    vocab_size=16_000, max_piece_chars=8, hidden_size=128, intermediate_size=256, layers=2, heads=4, max_length=512,
    dropout=0.0, initializer_range=0.01,
)  # fmt: skip
PROMPTS = {"query": "クエリ: ", "document": "文章: "}
ENCODING = {"max_length": 256, "chunk_tokens": 4096, "precision": "float32", "device": "cpu"}
BM25 = {"engine": "lucene", "analyzer": "ja", "k1": 0.9, "b": 0.4, "threads": 2, "heap_mb": 1024}
MINING = {
    "encoder": {"name": None},
    "nearest": {"exact_below": 10**6, "kind": "flat", "cells": 1, "probes": 1, "links": 1, "effort": 1},
    "shard_rows": 10_000, "depth": 100, "rrf_k": 60, "window": {"first": 30, "last": 100},
    "mine_window": {"first": 1, "last": 100}, "max_mined": 1, "min_answer_chars": 2, "fill": True, "negatives": 15,
}  # fmt: skip
CHANGES = {
    "window": {"window": {"first": 11, "last": 60}},
    "count": {"negatives": 7},
    "threshold": {"max_score_ratio": 0.95},
}


def rows(name: str) -> Iterator[dict]:
    with gzip.open(SAMPLE / name, "rt", encoding="utf-8") as lines:
        yield from map(json.loads, lines)


def tables(folder: Path, paragraphs: int | None, questions: int | None) -> dict[str, Table]:
    """Passages and pairs of the corpus, without leaks."""
    asked = list(islice(rows("questions/train.jsonl.gz"), questions))
    sections = (section for article in rows("articles.jsonl.gz") for section in article["sections"])
    others = islice((text for section in sections for text in section["paragraphs"]), paragraphs)
    texts = dict.fromkeys([*(row["context"] for row in asked), *others, *(row["question"] for row in asked)])
    passages = [
        {"docid": stable_id(text), "source": "questions", "title": "", "section": "", "text": text} for text in texts
    ]
    pairs = [
        {"pair_id": stable_id(row["qid"]), "query_id": stable_id(row["question"]), "source": "questions",
         "split": "train", "anchor": stable_id(row["question"]), "positive": stable_id(row["context"]),
         "given_negatives": [], "answers": row["answers"], "origin": "given"}
        for row in asked
    ]  # fmt: skip
    content = {"passages": passages, "pairs": pairs, "leaks": [], "matches": []}
    return {
        name: write_table(
            folder / name, SCHEMAS[name], {"questions": Part(name, lambda made=made: [made] if made else [])}
        )
        for name, made in content.items()
    }


def mine(folder: Path, made: dict[str, Table], mining: dict) -> float:
    """Seconds from tables to examples, with what earlier calls left in the folder."""
    start = time.perf_counter()
    passages, pairs, leaks, matches = made.values()
    indexes = FolderDataset(filepath=str(folder / "indexes"))
    indexes.save(searching.build_indexes(passages, pairs, SOURCES, mining, BM25, searching.SUPERVISED_STAGES))
    embeddings = FolderDataset(filepath=str(folder / "embeddings"))
    model = folder / "model"
    embeddings.save(searching.embed_collections(passages, pairs, model, SOURCES, mining, BM25, PROMPTS, ENCODING))
    found = searching.search(
        passages, pairs, indexes.load(), embeddings.load(), model, SOURCES, mining, BM25, PROMPTS, ENCODING
    )
    candidates = write_table(folder / "candidates", SCHEMAS["candidates"], found)
    mined = nodes.mine_positives(passages, pairs, leaks, matches, candidates, SOURCES, mining, 42)
    mined_pairs = write_table(folder / "mined_pairs", SCHEMAS["pairs"], mined)
    chosen = nodes.choose_examples(
        passages, pairs, leaks, matches, candidates, SOURCES, mining, 42, mined_pairs, stage="finetuning"
    )
    write_table(folder / "examples", SCHEMAS["examples"], chosen)
    return time.perf_counter() - start


def written(folder: Path) -> dict[Path, int]:
    """When each file of an index, a cache or the candidates was written, without the marks of whole folders."""
    kept = (folder / name for name in ("indexes", "embeddings", "cache", "candidates", "mined_pairs"))
    return {path: path.stat().st_mtime_ns for root in kept for path in root.glob("*/**/*") if path.is_file()}


def measure(folder: Path, paragraphs: int | None, questions: int | None) -> None:
    made = tables(folder, paragraphs, questions)
    texts = (row["text"] for row in islice(made["passages"].iter_rows(columns=["text"]), 5000))
    build_encoder(texts, MODEL, PROMPTS, 42).save_pretrained(str(folder / "model"))
    mining = MINING | {"cache": {"folder": str(folder / "cache"), "block": 65536}}
    first = mine(folder, made, mining)
    before = written(folder)
    for case, change in CHANGES.items():
        seconds = mine(folder, made, mining | change)
        if written(folder) != before:
            raise SystemExit(f"{case}: an index, an embedding or a candidate was written again.")
        figure = {
            "bench": "negatives",
            "case": case,
            "ours": seconds,
            "peer": first,
            "limit": 0.05 * first,
            "unit": "s",
        }
        print(json.dumps({name: round(v, 3) if isinstance(v, float) else v for name, v in figure.items()}), flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    quick = parser.parse_args().quick
    with tempfile.TemporaryDirectory() as workspace:
        measure(Path(workspace), 2000 if quick else None, 500 if quick else None)
