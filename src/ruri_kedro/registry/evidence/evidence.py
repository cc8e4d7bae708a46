"""What is kept with a registered model so that it can be judged later, and how it is written and read back.

It stands in the folder `evidence` of the logged model. Its manifest holds the SHA-256 of every file of the model and of
the evidence; the manifest's own SHA-256 is a tag of the version.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

from ruri_kedro.benchmark.comparing.comparison import Scores, score_rows, scores_by_query
from ruri_kedro.tables.files import read_json, write_json
from ruri_kedro.tables.manifest import describe_files, differing_files, irregular_entries
from ruri_kedro.tables.store import file_digest

FOLDER = "evidence"
DECISIONS = "promotion"  # folder of the logged model for what is decided about it, after the manifest was made
MANIFEST = f"{FOLDER}/manifest.json"
# MLflow leaves it in a folder that it downloads.
_MLFLOW_NOTE = "registered_model_meta"


@dataclass(frozen=True)
class Trial:
    """What came of loading a model and scoring its probe."""

    error: str | None = None
    deviation: float | None = None  # largest difference to a logged score
    latency_ms: float | None = None  # median of single calls


@dataclass(frozen=True)
class Evidence:
    """What is kept with a registered model, and what promotion finds of its version; None where it is not there."""

    kind: str | None = None  # embedder or reranker
    scores: Scores | None = None
    baselines: Mapping[str, Scores] | None = None  # of other models on the same tests, such as bm25
    tests: Mapping[str, Mapping[str, str]] | None = None  # task: its category and the digest of its texts
    training: Mapping[str, Any] | None = None  # as training_data.training_of_kind
    contamination: Mapping[str, Any] | None = None  # as training_data.contamination_report
    probe: Sequence[Mapping[str, Any]] | None = None  # query, passage and, once the model was asked, score
    card: str | None = None  # Markdown
    # Found in the files of a version.
    signature: bool = False  # of MLflow: what the model takes and gives
    manifest: bool = False
    faults: tuple[str, ...] = ()  # what differs from the manifest
    foreign: tuple[str, ...] = ()  # what is not of this package, or would run code
    size: int | None = None  # bytes of the model's files
    trial: Trial | None = None
    standing: str | None = None  # why the version may not be promoted again

    @property
    def tags(self) -> dict[str, str]:
        """By which MLflow finds the versions made of a commit or of data: git_commit, dvc.<path>, data.<table>."""
        training = self.training or {}
        data = training.get("data", {})
        made = {key: str(value) for key, value in data.items() if key == "git_commit" or key.startswith("dvc.")}
        tables = {key: data[key] for key in ("pairs", "test_texts") if key in data}
        tables |= {stage: row["digest"] for stage, row in training.get("tables", {}).items()}
        return made | {f"data.{table}": digest for table, digest in tables.items()}

    @property
    def documents(self) -> dict[str, Any]:
        """What is kept as JSON, by name of the file."""
        probe = {"kind": self.kind, "pairs": self.probe}
        return {"tests": self.tests, "training": self.training, "contamination": self.contamination, "probe": probe}

    @property
    def tables(self) -> dict[str, list[dict]]:
        """What is kept as rows of SCORES, by name of the file."""
        others = (self.baselines or {}).items()
        return {
            "scores": score_rows(str(self.kind), self.scores or {}),
            "baselines": [row for model, scores in others for row in score_rows(model, scores)],
        }


def write_evidence(root: Path, evidence: Evidence) -> None:
    """Write the documents and tables of evidence into `root`/evidence."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    from ruri_kedro.tables import SCHEMAS

    folder = root / FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    for name, rows in evidence.tables.items():
        pq.write_table(pa.Table.from_pylist(rows, schema=SCHEMAS["scores"]), folder / f"{name}.parquet")
    for name, document in evidence.documents.items():
        write_json(folder / f"{name}.json", document)


def write_manifest(root: Path) -> str:
    """Describe every file below `root` in its manifest; gives the manifest's SHA-256."""
    files = {name: entry for name, entry in describe_files(root).items() if _is_described(name)}
    write_json(root / MANIFEST, {"files": files})
    return file_digest(root / MANIFEST)


def check_manifest(root: Path, expected: str | None, below: str = "", manifest: Path | None = None) -> Iterator[str]:
    """What differs from the manifest of a downloaded model, a text each.

    `expected` is the manifest's SHA-256: nothing is read of a manifest that has another one. With `below` only that
    folder (`name/`) or file is looked at: the others need not have been downloaded. `manifest` is where the manifest
    is, if not in its place below `root`.
    """
    if odd := list(irregular_entries(root / below) if (root / below).is_dir() else ()):
        yield from odd
        return  # a link leads to files elsewhere, or to a file without an end
    manifest = manifest or root / MANIFEST
    if expected is None:
        yield f"the version has no SHA-256 of {MANIFEST}"
    elif not manifest.is_file():
        yield f"{MANIFEST} is missing"
    elif (digest := file_digest(manifest)) != expected:
        yield f"{MANIFEST} has SHA-256 {digest[:12]}, the version says {expected[:12]}"
    elif (files := _described(manifest)) is None:
        yield f"{MANIFEST} is not as registration writes it"
    else:
        yield from differing_files(root, {name: entry for name, entry in files.items() if name.startswith(below)})
        found = (path.relative_to(root).as_posix() for path in sorted((root / below).rglob("*")) if path.is_file())
        for name in found:
            if _is_described(name) and name not in files:
                yield f"{name} is not in the manifest"


def _described(manifest: Path) -> dict[str, Mapping[str, Any]] | None:
    """Size and SHA-256 by name of the files of a manifest; None where it has another form or names files elsewhere."""
    try:
        files = read_json(manifest)["files"]
        parts = [part for name in files for part in (*PurePosixPath(name).parts, *PureWindowsPath(name).parts)]
        sound = all(type(e["size"]) is int and isinstance(e["sha256"], str) for e in files.values())
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None
    # The first part of an absolute path is its root.
    inside = not any(part == ".." or part.endswith(("/", "\\", ":")) for part in parts)
    return files if sound and inside else None


def read_evidence(root: Path, expected: str | None, below: str = "") -> Evidence:
    """What stands in a downloaded model; nothing of it is read where files differ from the manifest, or without one.

    `expected` and `below` are those of `check_manifest`.
    """
    if not (root / MANIFEST).exists():
        return Evidence()
    if faults := tuple(check_manifest(root, expected, below)):
        return Evidence(manifest=True, faults=faults)
    try:
        return _read(root)
    # Whoever registers a version writes these files and signs them: they may hold anything.
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, OSError) as error:
        fault = f"the evidence is not as registration writes it ({type(error).__name__}: {error})"
        return Evidence(manifest=True, faults=(fault.splitlines()[0],))


def _read(root: Path) -> Evidence:
    files = read_json(root / MANIFEST)["files"]
    documents = {name: _document(root, name) for name in Evidence().documents}
    probe = documents.pop("probe") or {}
    scores, baselines = (_rows(root, name) for name in Evidence().tables)
    by_model: dict[str, list[dict]] = {}
    for row in baselines or ():
        by_model.setdefault(row["model"], []).append(row)
    cards = [root / name for name in files if name.endswith("README.md")]
    return Evidence(
        **documents,
        kind=probe.get("kind"),
        probe=probe.get("pairs"),
        scores=None if scores is None else scores_by_query(scores),
        # None for a version of before they were kept.
        baselines=None if baselines is None else {model: scores_by_query(rows) for model, rows in by_model.items()},
        card=next((path.read_text("utf-8") for path in cards if path.is_file()), None),
        size=sum(entry["size"] for name, entry in files.items() if not name.startswith(f"{FOLDER}/")),
        manifest=True,
    )


def _is_described(name: str) -> bool:
    return name not in (MANIFEST, _MLFLOW_NOTE) and not name.startswith(f"{DECISIONS}/")


def _document(root: Path, name: str) -> Any:
    path = root / FOLDER / f"{name}.json"
    return read_json(path) if path.is_file() else None


def _rows(root: Path, name: str) -> list[dict] | None:
    import pyarrow.parquet as pq

    path = root / FOLDER / f"{name}.parquet"
    return pq.read_table(path).to_pylist() if path.is_file() else None
