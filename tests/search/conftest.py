"""Real Japanese text for the search tests."""

import gzip
import json
from dataclasses import dataclass
from pathlib import Path

import pytest

JSQUAD = Path(__file__).parents[2].parent / "shared" / "data" / "ja" / "jsquad" / "valid.jsonl.gz"


@dataclass(frozen=True)
class Jsquad:
    documents: dict[str, str]  # docid to title and paragraph
    questions: list[str]
    answers: list[str]  # docid of each question's paragraph


@pytest.fixture(scope="session")
def jsquad() -> Jsquad:
    if not JSQUAD.exists():
        pytest.skip("JSQuAD is not in shared/data")
    with gzip.open(JSQUAD, "rt", encoding="utf-8") as lines:
        rows = [json.loads(line) for line in lines]
    documents = {row["context_id"]: row["context"].replace(" [SEP] ", " ", 1) for row in rows}
    return Jsquad(documents, [row["question"] for row in rows], [row["context_id"] for row in rows])
