"""The real project on a cut of the shipped corpus: the repository's configuration and an environment `cut`."""

import gzip
import json
import os
import shutil
import subprocess
from pathlib import Path

from kedro_project import KEDRO, REPOSITORY

from ruri_kedro.tables.raw import write_rows

SAMPLE = REPOSITORY / "data/01_raw/sample"

GLOBALS = "recipe: cut\nraw_root: data/01_raw/cut\nseed: 42\n"

PARAMETERS = """
base_model: {tiny: {vocab_size: 2000, hidden_size: 32, intermediate_size: 48, heads: 2}}
bm25: {heap_mb: 256}
mining:
  supervised:
    window: {first: 5, last: 40}
    negatives: {reranking_stage1: 3, reranking_stage2: 3, finetuning: 3}
pretraining: {batch_size: 32, epochs: 1, checkpoint_steps: 2}
reranking:
  stage1: {batch_size: 4, checkpoint_steps: 2}
  stage2: {batch_size: 4, checkpoint_steps: 2}
finetuning: {batch_size: 16, threshold: 0.0, checkpoint_steps: 2}
evaluation: {rerank_queries: 10}
"""


def make_cut_project(root: Path) -> Path:
    """Write the project into `root`; give `root`."""
    shutil.copytree(REPOSITORY / "conf", root / "conf")
    shutil.copy(REPOSITORY / "pyproject.toml", root / "pyproject.toml")
    (root / "src").mkdir()
    sources = (REPOSITORY / "conf/base/parameters_sources.yml").read_text("utf-8")
    cut = root / "conf/cut"
    cut.mkdir()
    (cut / "globals.yml").write_text(GLOBALS, encoding="utf-8")
    (cut / "parameters.yml").write_text(PARAMETERS, encoding="utf-8")
    named = sources.replace("  sample:\n", "  cut:\n")
    (cut / "parameters_sources.yml").write_text(named, encoding="utf-8")
    write_cut(root / "data/01_raw/cut")
    return root


def write_cut(folder: Path) -> None:
    """The first rows of each file of the sample, and the articles their questions are about."""
    sizes = {"questions": {"train": 120, "validation": 20, "test": 30}, "inference": {"train": 120, "validation": 20},
             "edits": {"train": 60}, "news": {"train": 60, "validation": 10}, "sts": {"test": 40}}  # fmt: skip
    wanted: set[str] = set()
    for name, splits in sizes.items():
        for split, count in splits.items():
            rows = read(SAMPLE / name / f"{split}.jsonl.gz")[:count]
            write(folder / name / f"{split}.jsonl.gz", rows)
            wanted |= {row["context_id"].split("-")[0] for row in rows if "context_id" in row}
    articles = read(SAMPLE / "articles.jsonl.gz")
    chosen = [row for number, row in enumerate(articles) if row["article_id"] in wanted or number % 40 == 0]
    write(folder / "articles.jsonl.gz", chosen)


def read(path: Path) -> list[dict]:
    """Rows of a gzipped JSON Lines file."""
    with gzip.open(path, "rt", encoding="utf-8") as handle:
        return [json.loads(line) for line in handle]


def write(path: Path, rows: list[dict]) -> None:
    """Rows as gzipped JSON Lines, the same bytes whenever they are written."""
    write_rows(path, rows)


def own_environment() -> dict[str, str]:
    """Variables for a process of the project."""
    # mlflow.set_tracking_uri, which other tests call, leaves its mark in the environment.
    own = {name: value for name, value in os.environ.items() if not name.startswith("MLFLOW_")}
    return own | {"OMP_NUM_THREADS": "1", "COLUMNS": "200"}


def kedro(project: Path, *arguments: str, **popen) -> subprocess.Popen:
    """A started `kedro` command in the project, its output to be read as text."""
    return subprocess.Popen(
        [KEDRO, *arguments],
        cwd=project,
        env=own_environment(),
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        **popen,
    )


def run_kedro(project: Path, *arguments: str) -> str:
    """Output of a `kedro` command that must succeed."""
    process = kedro(project, *arguments)
    try:
        output, _ = process.communicate(timeout=1500)
    finally:
        process.kill()
    assert process.returncode == 0, output
    return output
