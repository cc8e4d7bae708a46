"""A service of tiny models over a small file of documents."""

import json
from pathlib import Path

from tiny import TEXTS

from ruri_kedro.benchmark.collection import find_collection
from ruri_kedro.service.deployment import COMPARED, MODEL, RERANKER
from ruri_kedro.service.selection import Choice, Selection
from ruri_kedro.service.serve import make_service

LIMITS = {"body_kb": 64, "texts": 16, "chars": 2000, "results": 20, "waiting": 64, "connections": 64, "rate": 10_000.0,
          "burst": 10_000, "timeout_s": 20.0}  # fmt: skip
NEAREST = {"exact_below": 1000, "kind": "flat", "cells": 1, "probes": 1, "links": 8, "effort": 20}
SERVICE = {"host": "127.0.0.1", "port": 0, "hosts": ["testserver"], "model": None, "compared": None, "reranker": None,
           "collection": None, "folder": "indexes", "judgments": "judgments", "results": 5, "depth": 20, "rrf_k": 60,
           "candidates": 8, "max_length": 64, "chunk_tokens": 2048, "batch": 16, "device": "cpu", "threads": 1,
           "nearest": NEAREST, "poll_s": 0.05, "limits": LIMITS}  # fmt: skip
BM25 = {"engine": "bm25s", "analyzer": "sudachi_a", "k1": 0.9, "b": 0.4, "threads": 1, "heap_mb": 256}
TOKENS = {"bits": 2, "centroids": None, "iterations": 2, "seed": 0, "shard_tokens": 1000, "probes": 4,
          "candidates": 100, "rescored": 50, "threads": 1}  # fmt: skip


def write_documents(path: Path, texts=TEXTS) -> Path:
    """A file of documents d0, d1, ..."""
    rows = ({"docid": f"d{number}", "text": text} for number, text in enumerate(texts))
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), "utf-8")
    return path


def start(root: Path, model, compared=None, reranker=None, tell=lambda line: None, **changed):
    """A service whose files lie in `root`, of models by reference."""
    documents = root / "documents.jsonl"
    if not documents.exists():
        write_documents(documents)
    service = SERVICE | {"collection": str(documents)} | changed
    places = {MODEL: model, COMPARED: compared, RERANKER: reranker}
    choices = {place: Choice((str(at),)) if isinstance(at, (str, Path)) else at for place, at in places.items()}
    params = {"service": service, "bm25": BM25, "multi_vector": TOKENS}
    collection = find_collection(service["collection"], {}, lambda: (None, root))
    return make_service(params, Selection(**choices), collection, root, tell)
