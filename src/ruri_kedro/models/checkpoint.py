"""A checkpoint as a folder that plain classes load: from the hub or local, and no code of it is run."""

import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from ruri_kedro.errors import RecipeError, RuriError
from ruri_kedro.models.foreign_code import refuse_code
from ruri_kedro.tables.files import read_json, write_json

# The last are the lengths and marks of Stanford's ColBERT.
_FILES = ["*.json", "*.jinja", "*.txt", "*.model", "*.safetensors", "artifact.metadata"]
_OTHER_FORMATS = ["onnx/*", "openvino/*"]  # of the same weights

# LINE's class is that of transformers 4.26 under another name; the repository's own configuration says so.
_PLAIN_CLASSES = {"DistilBertJapaneseTokenizer": "BertJapaneseTokenizer"}
_MECAB_DICTIONARIES = ("ipadic", "unidic_lite", "unidic")  # that transformers knows, each a package


@contextmanager
def checkpoint_folder(reference: str | Path, revision: str | None = None) -> Iterator[Path]:
    """The folder of a checkpoint as long as the block lasts; `reference` is a folder or a name on the hub.

    A name needs a pinned `revision`, so that a recipe means the same model tomorrow. Raises RecipeError where the
    checkpoint cannot be had, needs code of its own or a package that is not installed, or has no weights as
    safetensors.
    """
    folder = Path(reference) if Path(reference).is_dir() else _download(str(reference), revision)
    if not any((folder / name).exists() for name in ("config.json", "modules.json")):
        raise RecipeError(f"model '{reference}' cannot be loaded: it has no config.json and no modules.json.")
    refuse_code(folder, reference)
    if not any(folder.rglob("*.safetensors")):
        raise RecipeError(
            f"model '{reference}' has no weights as safetensors here, and others are not read. On the hub the commit "
            "of the pull request 'Adding safetensors variant of this model' often has them: give that as revision."
        )
    names = ("tokenizer_config.json", "config.json")
    try:
        configs = {path: read_json(path) for name in names for path in sorted(folder.rglob(name))}
        for path, config in configs.items():
            if not isinstance(config, Mapping):
                raise ValueError(f"{path.relative_to(folder)} is not a JSON object")
            if path.name == "tokenizer_config.json":
                _check_packages(str(reference), config)
        plain = {path: _plain(path, config) for path, config in configs.items()}
        if plain == configs:
            yield folder
            return
        with tempfile.TemporaryDirectory() as aside:
            shutil.copytree(folder.resolve(), aside, copy_function=os.symlink, dirs_exist_ok=True)
            for path, config in plain.items():
                (Path(aside) / path.relative_to(folder)).unlink()
                write_json(Path(aside) / path.relative_to(folder), config)
            yield Path(aside)
    except RuriError:
        raise
    except (OSError, ValueError) as error:
        raise RecipeError(f"model '{reference}' cannot be loaded: {error}") from error


def read_config(reference: str, name: str, revision: str | None = None) -> dict[str, Any] | None:
    """A file of a model in a folder or on the hub, a JSON object; None where it has none of this name.

    Raises RecipeError where it cannot be had or read.
    """
    from sentence_transformers.util import load_file_path

    try:
        path = load_file_path(reference, name, revision=revision)
        value = read_json(Path(path)) if path else None
    except (OSError, ValueError) as error:
        raise RecipeError(f"model '{reference}' cannot be loaded: {name}: {error}") from error
    if not isinstance(value, dict | None):
        raise RecipeError(f"model '{reference}' cannot be loaded: {name} is not a JSON object.")
    return value


def saved_with_unit_vectors(folder: Path) -> bool:
    """Whether the last module of a sentence-transformers folder brings vectors to length 1."""
    path = folder / "modules.json"
    modules = read_json(path) if path.is_file() else []
    return bool(modules) and modules[-1]["type"].endswith(".Normalize")


def _plain(path: Path, config: Mapping[str, Any]) -> dict[str, Any]:
    """A configuration without reference to code; `refuse_code` has left none but that of tokenizers."""
    if path.name == "tokenizer_config.json":
        return plain_tokenizer(config, _model_type(path.parent))
    return {key: value for key, value in config.items() if key != "auto_map"}


def plain_tokenizer(config: Mapping[str, Any], model_type: str | None) -> dict[str, Any]:
    """The configuration of a tokenizer without reference to code of its own, for the class of transformers it names.

    BERT is told which of two texts a token is of, as it was in pre-training; transformers 5 has dropped that from
    its Japanese tokenizer.
    """
    plain = {key: value for key, value in config.items() if key != "auto_map"}
    name = config.get("tokenizer_class")
    plain |= {"tokenizer_class": _PLAIN_CLASSES.get(name, name)} if name else {}
    if plain.get("tokenizer_class") == "BertJapaneseTokenizer" and model_type == "bert":
        plain.setdefault("model_input_names", ["input_ids", "token_type_ids", "attention_mask"])
    return plain


def _check_packages(reference: str, config: Mapping[str, Any]) -> None:
    """Raises RecipeError if a package is not installed that the tokenizer splits words with."""
    if config.get("word_tokenizer_type") != "mecab":
        return
    dictionary = (config.get("mecab_kwargs") or {}).get("mecab_dic", "unidic_lite")
    packages = ["fugashi", *(name for name in _MECAB_DICTIONARIES if name == dictionary)]
    missing = [name for name in packages if find_spec(name) is None]
    if missing:
        raise RecipeError(
            f"the tokenizer of model '{reference}' needs {' and '.join(missing)}: pip install 'ruri-kedro[japanese]'"
        )


def _model_type(folder: Path) -> str | None:
    config = folder / "config.json"
    return read_json(config).get("model_type") if config.exists() else None


def _download(name: str, revision: str | None) -> Path:
    if not revision:
        raise RecipeError(
            f"model '{name}' is not a local folder and has no revision. Give the commit of the hub repository as "
            "revision, or the path of a folder as name."
        )
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(name, revision=revision, allow_patterns=_FILES, ignore_patterns=_OTHER_FORMATS))
    except (OSError, ValueError) as error:  # of huggingface_hub: no such repository or revision, gated, out of reach
        first = next(iter(str(error).strip().splitlines()), type(error).__name__)
        raise RecipeError(
            f"model '{name}' at revision {revision} cannot be had from the hub: {first} Check name and revision at "
            f"https://huggingface.co/{name}/commits/main and the network, or give a folder with a copy as name."
        ) from error
