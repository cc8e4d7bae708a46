"""What is kept with a registered model so that it can be judged later, and how it is written and read back.

It stands in the folder `evidence` of the logged model. Its manifest holds the SHA-256 of every file of the model and of
the evidence; the manifest's own SHA-256 is a tag of the version.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

from ruri_kedro.benchmark.comparing.comparison import Scores, scores_by_query
from ruri_kedro.errors import DataError
from ruri_kedro.tables.files import read_json, write_json
from ruri_kedro.tables.manifest import describe_files, differing_files, irregular_entries
from ruri_kedro.tables.store import file_digest

FOLDER = "evidence"
DECISIONS = "promotion"  # folder of the logged model for what is decided about it, after the manifest was made
MANIFEST = f"{FOLDER}/manifest.json"
_SCORES = f"{FOLDER}/scores.parquet"
_BASELINES = f"{FOLDER}/baselines.parquet"
_DOCUMENTS = ("tests", "training", "contamination", "probe")
# MLflow leaves it in a folder that it downloads.
_MLFLOW_NOTE = "registered_model_meta"


@dataclass(frozen=True)
class Dossier:
    """What the evaluation knows of a model when it registers it."""

    scores: Sequence[Mapping[str, Any]]  # rows of SCORES
    tests: Mapping[str, Mapping[str, str]]  # task: its category and the digest of its texts
    training: Mapping[str, Any]  # sources: licence and examples by stage
    contamination: Mapping[str, Any]  # tests that were searched for, and by stage examples and how many of them leak
    probe: Sequence[tuple[str, str]]  # (query, passage)
    card: str  # Markdown
    baselines: Sequence[Mapping[str, Any]] = ()  # rows of SCORES of other models on the same tests, such as BM25


@dataclass(frozen=True)
class Trial:
    """What came of loading a model and scoring its probe."""

    error: str | None = None
    deviation: float | None = None  # largest difference to a logged score
    latency_ms: float | None = None  # median of single calls


@dataclass(frozen=True)
class Evidence:
    """What a version can show; None where a piece of it is not there."""

    kind: str | None = None  # embedder or reranker
    scores: Scores | None = None
    baselines: Mapping[str, Scores] | None = None  # by model, such as bm25
    tests: Mapping[str, Mapping[str, str]] | None = None
    training: Mapping[str, Any] | None = None
    contamination: Mapping[str, Any] | None = None
    probe: Sequence[Mapping[str, Any]] | None = None  # query, passage, score
    card: bool = False
    signature: bool = False  # of MLflow: what the model takes and gives
    manifest: bool = False
    faults: tuple[str, ...] = ()  # what differs from the manifest
    foreign: tuple[str, ...] = ()  # what is not of this package, or would run code
    size: int | None = None  # bytes of the model's files
    trial: Trial | None = None
    standing: str | None = None  # why the version may not be promoted again


def write_dossier(root: Path, dossier: Dossier, kind: str, probe_scores: Sequence[float]) -> None:
    """Write a dossier into `root`/evidence; `probe_scores` are those of its probe."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    from ruri_kedro.tables import SCHEMAS

    (root / FOLDER).mkdir(parents=True, exist_ok=True)
    probe = [
        {"query": query, "passage": passage, "score": float(score)}
        for (query, passage), score in zip(dossier.probe, probe_scores, strict=True)
    ]
    for rows, place in ((dossier.scores, _SCORES), (dossier.baselines, _BASELINES)):
        pq.write_table(pa.Table.from_pylist(list(rows), schema=SCHEMAS["scores"]), root / place)
    documents = {
        "tests": dict(dossier.tests),
        "training": dict(dossier.training),
        "contamination": dict(dossier.contamination),
        "probe": {"kind": kind, "pairs": probe},
    }
    for name in _DOCUMENTS:
        write_json(root / FOLDER / f"{name}.json", documents[name])


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
        return  # whoever follows a link reads what is elsewhere, or does not come back
    manifest = manifest or root / MANIFEST
    if expected is None:
        yield f"the version has no SHA-256 of {MANIFEST}"
    elif not manifest.is_file():
        yield f"{MANIFEST} is missing"
    elif (digest := file_digest(manifest)) != expected:
        yield f"{MANIFEST} has SHA-256 {digest[:12]}…, the version says {expected[:12]}…"
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


def read_evidence(root: Path, expected: str | None, below: str = "") -> dict[str, Any]:
    """The fields of Evidence that stand in a downloaded model; without a manifest none of it is believed."""
    if not (root / MANIFEST).exists():
        return {}
    fields: dict[str, Any] = {"manifest": True, "faults": tuple(check_manifest(root, expected, below))}
    if fields["faults"]:
        return fields
    try:
        return fields | _documents(root)
    # Whoever registers a version writes these files and signs them: they may hold anything.
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, OSError) as error:
        fault = f"the evidence is not as registration writes it ({type(error).__name__}: {error})"
        return fields | {"faults": (fault.splitlines()[0],)}


def _documents(root: Path) -> dict[str, Any]:
    """The fields that stand in the files of the evidence."""
    fields = {name: _document(root, name) for name in ("tests", "training", "contamination")}
    probe = _document(root, "probe") or {}
    files = read_json(root / MANIFEST)["files"]
    return fields | {
        "kind": probe.get("kind"),
        "probe": probe.get("pairs"),
        "scores": _scores(root),
        "baselines": _baselines(root),
        "size": sum(entry["size"] for name, entry in files.items() if not name.startswith(f"{FOLDER}/")),
        "card": any(name.endswith("README.md") for name in files),
    }


def _is_described(name: str) -> bool:
    return name not in (MANIFEST, _MLFLOW_NOTE) and not name.startswith(f"{DECISIONS}/")


def _document(root: Path, name: str) -> Any:
    path = root / FOLDER / f"{name}.json"
    return read_json(path) if path.is_file() else None


def _scores(root: Path) -> Scores | None:
    rows = _rows(root / _SCORES)
    return None if rows is None else _by_query(root / _SCORES, rows)


def _baselines(root: Path) -> dict[str, Scores] | None:
    """None for a version of before they were kept."""
    rows = _rows(root / _BASELINES)
    if rows is None:
        return None
    models = dict.fromkeys(row["model"] for row in rows)
    return {model: _by_query(root / _BASELINES, [row for row in rows if row["model"] == model]) for model in models}


def _rows(path: Path) -> list[dict] | None:
    import pyarrow.parquet as pq

    return pq.read_table(path).to_pylist() if path.is_file() else None


def _by_query(path: Path, rows: Sequence[Mapping[str, Any]]) -> Scores:
    try:
        return scores_by_query(rows)
    except DataError as error:
        raise DataError(f"{path}: {error}") from error
