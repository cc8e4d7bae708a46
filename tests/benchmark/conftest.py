"""Small raw files, a small task, and an encoder that needs no model."""

import gzip
import itertools
import json
import zlib
from pathlib import Path

import numpy as np
import pytest

from ruri_kedro.benchmark.tasks.retrieval import RetrievalTask

SHARED = Path(__file__).parents[2].parent / "shared" / "data"


@pytest.fixture
def shared_data() -> Path:
    """The evaluation data that lie beside the repository."""
    if not SHARED.is_dir():
        pytest.skip("the evaluation data (../shared/data) are not here")
    return SHARED


@pytest.fixture
def write_jsonl(tmp_path):
    """A function that writes rows to a file below tmp_path, gzipped by its name."""

    def write(name: str, rows: list[dict]) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        data = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode("utf-8")
        path.write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
        return path

    return write


@pytest.fixture
def capitals() -> RetrievalTask:
    corpus = {
        "jp": "日本の首都は東京です。",
        "fr": "フランスの首都はパリです。",
        "it": "イタリアの首都はローマです。",
        "food": "寿司は日本の料理です。",
    }
    queries = {"q1": "日本の首都は?", "q2": "フランスの首都は?", "q3": "イタリアの首都は?"}
    return RetrievalTask("capitals", queries, corpus, {"q1": {"jp": 1}, "q2": {"fr": 1}, "q3": {"it": 1}})


@pytest.fixture
def encode():
    """Counts of characters and pairs of characters in hashed places, with length 1."""

    def vectors(texts: list[str], role: str) -> np.ndarray:
        counts = np.zeros((len(texts), 256), dtype=np.float32)
        for row, text in zip(counts, texts, strict=True):
            for gram in [*text, *map("".join, itertools.pairwise(text))]:
                row[zlib.crc32(gram.encode()) % 256] += 1
        return counts / np.linalg.norm(counts, axis=1, keepdims=True)

    return vectors
