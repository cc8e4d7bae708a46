"""The tables of data_engineering on a small made-up corpus, in shards of a few kilobytes, without a Kedro session."""

import json
import random
from pathlib import Path

import yaml
from kedro.io import DataCatalog, MemoryDataset
from kedro.runner import SequentialRunner

from ruri_kedro.corpora import reading
from ruri_kedro.datasets import FolderDataset, RawFolder, TableDataset
from ruri_kedro.pipelines.data_engineering import create_pipeline

PARAMETERS = Path(__file__).resolve().parents[2] / "conf/base/parameters.yml"
TABLES = ("duplicates", "passages", "pairs", "test_texts", "matches", "leaks")
SHARD_CHARS = 20_000
SOURCES = {
    "paragraphs": {"kind": "title_to_text", "path": "paragraphs", "fields": {"title": "title"}, "held_out": 0.1},
    "collection": {"kind": "collection", "path": "paragraphs"},
    "inference": {"kind": "premise_to_hypothesis", "path": "inference.jsonl"},
}
TASKS = {"sts": {"type": "sts", "path": "sts.jsonl"}}


def write_raw(folder: Path) -> None:
    """Two files of paragraphs with repeated and nearly repeated ones; inference rows; tests that hold some of them."""
    rng = random.Random(0)
    letters = [chr(code) for code in range(0x4E00, 0x4E00 + 600)]
    texts = ["".join(rng.choices(letters, k=rng.randint(30, 120))) + "。" for _ in range(1500)]
    texts += [text[:20] + "変" + text[21:] for text in texts[::25]] + texts[::40]
    rng.shuffle(texts)
    rows = [{"title": f"題{number // 3}", "text": text} for number, text in enumerate(texts)]
    (folder / "paragraphs").mkdir(parents=True)
    _write(folder / "paragraphs/0.jsonl", rows[:900])
    _write(folder / "paragraphs/1.jsonl", rows[900:])
    labels = ("entailment", "contradiction")
    inference = [{"premise": texts[n // 2], "hypothesis": texts[-n], "label": labels[n % 2]} for n in range(1, 200)]
    _write(folder / "inference.jsonl", inference)
    _write(
        folder / "sts.jsonl", [{"text1": texts[n], "text2": texts[n + 1], "score": float(n)} for n in range(0, 900, 30)]
    )


def run_tables(root: Path) -> None:
    """Make the tables of `root/raw` below `root`, or continue to make them."""
    reading.SHARD_CHARS = SHARD_CHARS
    given = yaml.safe_load(PARAMETERS.read_text("utf-8"))
    deduplication = given["deduplication"] | {"threshold": 0.8, "scratch": str(root / "scratch")}
    parameters = {
        "sources": SOURCES,
        "tasks": TASKS,
        "development": {},
        "leaks": given["leaks"],
        "deduplication": deduplication,
        "engine": given["engine"],
        "only": given["only"],
        "tested_on": given["tested_on"],
    }
    datasets = {name: TableDataset(filepath=str(root / name), schema=name) for name in TABLES}
    datasets |= {f"params:{name}": MemoryDataset(value) for name, value in parameters.items()}
    folders = {
        "raw": RawFolder(filepath=str(root / "raw")),
        **{name: FolderDataset(filepath=str(root / name)) for name in ("test_sets", "development_sets")},
    }
    catalog = DataCatalog({**datasets, **folders})
    SequentialRunner().run(create_pipeline().to_outputs(*TABLES), catalog)


def _write(path: Path, rows: list[dict]) -> None:
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
