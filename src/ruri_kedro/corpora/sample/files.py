"""Gzipped JSON Lines whose bytes depend on nothing but the rows."""

import gzip
import json
import os
from collections.abc import Iterable
from pathlib import Path


def write_rows(path: Path, rows: Iterable[dict]) -> Path:
    """Write one JSON object per line to ``path``, beside it first and then renamed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(path.name + ".part")
    # No file name and no time in the gzip header, or equal rows would give unequal bytes.
    with open(beside, "wb") as raw, gzip.GzipFile("", "wb", 9, raw, mtime=0) as packed:
        for row in rows:
            packed.write(json.dumps(row, ensure_ascii=False).encode() + b"\n")
    os.replace(beside, path)
    return path


def read_rows(path: Path) -> list[dict]:
    """The rows of a file that ``write_rows`` wrote."""
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]
