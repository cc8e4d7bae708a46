"""Parameters of `synthesis` for tests: the shipped ones, small and fast, against a given server."""

from pathlib import Path
from typing import Any

import yaml
from kedro_project import REPOSITORY

from ruri_kedro.corpora.synthesis.settings import ModelSettings

QUESTIONS, INFERENCE = "autowikiqa", "autowikinli"


def parameters(folder: Path, url: str = "http://127.0.0.1:9/v1", **given: Any) -> dict[str, Any]:
    """The shipped parameters with the journal in `folder`; `given` replaces or, for mappings, updates."""
    text = (REPOSITORY / "conf/base/parameters_synthesis.yml").read_text("utf-8")
    shipped = yaml.safe_load(text.replace("${seed}", "42").replace("${globals:recipe}", "test"))["synthesis"]
    shipped["journal"] = str(folder / "journal.jsonl")
    small = {
        "model": {"name": "swallow", "base_url": url, "timeout": 120},
        "requests": {"workers": 4, "tries": 2, "first_wait": 0.001, "longest_wait": 0.01, "max_failures": 3},
        "sets": {name: {"count": 20} for name in (QUESTIONS, INFERENCE)},
    }
    return update(update(shipped, small), given)


def model_settings(backend: str, name: str, options: dict[str, Any], **given: Any) -> ModelSettings:
    """A model that writes; what is not given is as in the shipped parameters."""
    shipped = {"revision": None, "device": "auto", "base_url": "http://localhost:8000/v1", "timeout": 300.0,
               "api_key_env": None}  # fmt: skip
    return ModelSettings(backend=backend, name=name, options=options, **shipped | given)


def update(row: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """`row` with the changes, key by key at every depth."""
    merged = dict(row)
    for key, value in changes.items():
        is_nested = isinstance(value, dict) and isinstance(row.get(key), dict)
        merged[key] = update(row[key], value) if is_nested else value
    return merged
