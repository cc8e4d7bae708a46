"""Where a run comes from: commit, data versions, package versions, and a command that does it again."""

import json
import re
import shlex
import subprocess
from collections.abc import Iterable, Iterator, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import yaml

_PACKAGES = ("ruri-kedro", "torch", "transformers", "sentence-transformers", "tokenizers")


def git_tags(project: Path) -> dict[str, str]:
    """Commit of the project and whether files differ from it; empty outside a git repository."""
    commit = _git(project, "rev-parse", "HEAD")
    if commit is None:
        return {}
    return {"git_commit": commit, "git_dirty": str(bool(_git(project, "status", "--porcelain"))).lower()}


def package_tags() -> dict[str, str]:
    """Versions of the packages that weights depend on."""
    return {f"version.{name}": version(name) for name in _PACKAGES}


def dvc_tags(project: Path, paths: Iterable[Path]) -> dict[str, str]:
    """`dvc.<path>` and its md5 for what DVC tracks at, above or below the given paths.

    Only what a run reads is asked for: the lock entry of a stage that is running is that of the run before.
    """
    wanted = [path.resolve() for path in paths]
    tags = {}
    for tracked, md5 in sorted(dvc_versions(project)):
        if any(tracked.is_relative_to(path) or path.is_relative_to(tracked) for path in wanted):
            tags[f"dvc.{tracked.relative_to(project.resolve()).as_posix()}"] = md5
    return tags


def dvc_versions(project: Path) -> Iterator[tuple[Path, str]]:
    """Path and md5 of each output that `data/**/*.dvc` and `dvc.lock` name."""
    project = project.resolve()
    for file in sorted((project / "data").rglob("*.dvc")):
        if file.is_file():
            yield from _outs(_yaml(file), file.parent)
    lock = project / "dvc.lock"
    if lock.exists():
        for stage in (_yaml(lock).get("stages") or {}).values():
            yield from _outs(stage, project)


def run_command(run: Mapping[str, Any], pipeline: str | None = None) -> str:
    """The `kedro run` that does a run again when pasted into a shell at the project's root.

    `run` is what Kedro hands to `before_pipeline_run`. With `pipeline`, the command is for that pipeline instead,
    in the same environment and with the same parameters.
    """
    words = ["kedro", "run"]
    selection = {"--pipelines": [pipeline]} if pipeline else _selection(run)
    if run.get("env"):
        words += ["--env", str(run["env"])]
    for option, values in selection.items():
        if values:
            words += [option, ",".join(values)]
    runner = re.search(r"\b(\w+Runner)\b(?= object|$)", str(run.get("runner") or ""))
    if runner and runner[1] != "SequentialRunner":
        words += ["--runner", runner[1]]
    if run.get("only_missing_outputs") and not pipeline:
        words += ["--only-missing-outputs"]
    told, untold = _params(run.get("runtime_params") or {})
    if told:
        words += ["--params", ",".join(told)]
    comment = f"  # --params cannot express {', '.join(untold)}" if untold else ""
    return shlex.join(words) + comment


def _selection(run: Mapping[str, Any]) -> dict[str, list[str]]:
    fields = {
        "--pipelines": "pipeline_names",
        "--tags": "tags",
        "--nodes": "node_names",
        "--from-nodes": "from_nodes",
        "--to-nodes": "to_nodes",
        "--from-inputs": "from_inputs",
        "--to-outputs": "to_outputs",
        "--namespaces": "namespaces",
    }
    selection = {option: list(run.get(field) or []) for option, field in fields.items()}
    versions = run.get("load_versions") or {}
    return selection | {"--load-versions": [f"{name}:{value}" for name, value in versions.items()]}


def _params(params: Mapping[str, Any]) -> tuple[list[str], list[str]]:
    """`key=value` words for `--params`, and the keys of values that it cannot express."""
    told, untold = [], []
    for key, value in _leaves(params):
        text = _scalar(value)
        if text is None:
            untold.append(key)
        else:
            told.append(f"{key}={text}")
    return told, untold


def _leaves(params: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in params.items():
        if isinstance(value, Mapping) and value:
            yield from _leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _scalar(value: Any) -> str | None:
    """`value` as Kedro's `--params` reads it back, or None if there is no such text."""
    from omegaconf import OmegaConf

    if not isinstance(value, str | int | float | None):
        return None
    for text in (value if isinstance(value, str) else json.dumps(value), f"'{value}'"):
        if "," in text or text != text.strip():
            continue
        read = OmegaConf.to_container(OmegaConf.from_dotlist([f"value={text}"]))["value"]
        if type(read) is type(value) and read == value:
            return text
    return None


def _outs(entry: Mapping[str, Any], folder: Path) -> Iterator[tuple[Path, str]]:
    for out in entry.get("outs") or []:
        if out.get("md5"):
            yield (folder / out["path"]).resolve(), out["md5"]


def _yaml(path: Path) -> dict[str, Any]:
    return yaml.safe_load(path.read_text("utf-8")) or {}


def _git(project: Path, *arguments: str) -> str | None:
    try:
        done = subprocess.run(["git", *arguments], cwd=project, capture_output=True, text=True, timeout=30)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None
