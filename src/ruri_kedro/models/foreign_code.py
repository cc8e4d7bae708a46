"""What in a model's folder would run code that came with it, and how a folder is opened so that none is run.

Loaders of transformers and sentence-transformers run Python code that the files of a model name (`auto_map`, classes
in `modules.json`), fetch programs for attention from the hub, and unpickle weights, each if the caller or a file lets
them. No torch is imported here.
"""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ruri_kedro.errors import RecipeError
from ruri_kedro.tables.files import read_json

# Data that are read as such, some of them large; every other JSON file may be a configuration.
_DATA = ("tokenizer.json", "vocab.json")
_SHOWN = 3

_PACKAGES = "base|sentence_transformer|cross_encoder|multi_vector_encoder|sparse_encoder"
_CLASSES = (
    "Asym|BoW|CLIPModel|CNN|Dense|Dropout|HierarchicalTokenPooling|LambdaTokenPooling|LayerNorm|LogitScore|LSTM|"
    "MLMTransformer|MultiVectorMask|Normalize|Pooling|Router|SparseAutoEncoder|SparseStaticEmbedding|SpladePooling|"
    "StaticEmbedding|Transformer|WeightedLayerPooling|WordEmbeddings|WordWeights"
)
# Also under the names that older versions wrote, such as sentence_transformers.models.Pooling.
_MODULE = re.compile(
    rf"sentence_transformers\.(({_PACKAGES})\.)?(modules|models)(\.\w+)?\.({_CLASSES})"
    # sentence-transformers takes a class of its own for this one, of PyLate.
    r"|pylate\.models\.Dense\.Dense"
)
_TOKENIZER = re.compile(r"sentence_transformers\.(sentence_transformer\.modules|models)\.tokenizer\.[\w.]+Tokenizer")
_ACTIVATION = re.compile(r"torch\.nn\.(modules\.(activation|linear)\.)?[A-Z]\w*")


def refuse_code(folder: Path, reference: str | Path | None = None) -> None:
    """Raise RecipeError where a model needs code of its own; it names the files. `reference`: as the recipe has it."""
    if faults := list(code_faults(folder)):
        more = f"; and {len(faults) - _SHOWN} more" if len(faults) > _SHOWN else ""
        raise RecipeError(
            f"model '{reference or folder}' cannot be loaded: {'; '.join(faults[:_SHOWN])}{more}. Code that comes with "
            "a model is never run. Give a model that the classes of transformers and sentence-transformers read "
            "without it, or take the entry out of a copy of the folder, if they do."
        )


def open_model(kind: type, folder: str | Path, model_kwargs: Mapping[str, Any] | None = None, **options: Any) -> Any:
    """The SentenceTransformer, CrossEncoder or MultiVectorEncoder (`kind`) of a folder, its weights from safetensors.

    `options` are those of the class. Raises RecipeError as `refuse_code`.
    """
    refuse_code(Path(folder))
    model_kwargs = {"use_safetensors": True, **(model_kwargs or {})}
    return kind(str(folder), trust_remote_code=False, model_kwargs=model_kwargs, **options)


def code_faults(folder: Path, trusting: bool = False) -> Iterator[str]:
    """What of a model's folder would run code, a text each; nothing where plain classes read it.

    With `trusting` also what `trust_remote_code=False` keeps from running, for loaders that do not set it.
    """
    for path in sorted([*folder.rglob("*.json"), *folder.rglob("artifact.metadata")]):
        if path.name in _DATA or not path.is_file():
            continue
        name = path.relative_to(folder).as_posix()
        try:
            value = read_json(path)
        except (ValueError, RecursionError):
            # Whatever a loader makes of it, it is no code; a version that was registered has no such file.
            if trusting:
                yield f"{name} is not JSON"
            continue
        yield from (f"{name}: {fault}" for fault in _faults(path.name, value, trusting))
        if path.name == "modules.json":
            yield from _pickled(path.parent, value)
        if path.name == "adapter_config.json":
            yield f"{name}: an adapter for another model, which it names; merge it into the model"


def _faults(file: str, value: Any, trusting: bool) -> Iterator[str]:
    """What is wrong with the JSON value of a file."""
    for name in _modules(file, value):
        if not (isinstance(name, str) and _MODULE.fullmatch(name)):
            yield f"'{name}' is not a module of sentence-transformers"
    for key, found in _entries(value):
        if key == "auto_map" and found and (trusting or not _is_replaced(file, found)):
            yield f"auto_map names Python code ({_first(found)})"
        elif key in _KEYS and (reason := _KEYS[key](found)):
            yield f"{key} ({_first(found)}) {reason}"


def _modules(file: str, value: Any) -> list[Any]:
    """The classes of modules that a file names."""
    if file == "modules.json":
        rows = value if isinstance(value, list) else []
        return [row.get("type") if isinstance(row, Mapping) else row for row in rows]
    if isinstance(value, Mapping) and isinstance(value.get("types"), Mapping) and "structure" in value:  # a Router
        return list(value["types"].values())
    return []


def _pickled(folder: Path, modules: Any) -> Iterator[str]:
    """Modules whose weights would be unpickled."""
    for row in modules if isinstance(modules, list) else []:
        path = row.get("path") if isinstance(row, Mapping) else None
        part = folder / path if isinstance(path, str) else folder
        pickled = sorted(part.glob("pytorch_model*.bin"))
        if pickled and not any(part.glob("*.safetensors")):
            yield f"{pickled[0].relative_to(folder)}: pickled weights, and none as safetensors"


def _is_replaced(file: str, auto_map: Any) -> bool:
    """Whether it is of a tokenizer, for which `checkpoint_folder` takes the class of transformers."""
    return file == "tokenizer_config.json" or (isinstance(auto_map, Mapping) and set(auto_map) == {"AutoTokenizer"})


def _entries(value: Any) -> Iterator[tuple[str, Any]]:
    """Every key of a JSON value with what it has, at any depth."""
    waiting = [value]
    while waiting:
        part = waiting.pop()
        if isinstance(part, Mapping):
            yield from part.items()
            waiting.extend(part.values())
        elif isinstance(part, list):
            waiting.extend(part)


def _first(value: Any) -> str:
    """A name of code, without the lists and mappings around it."""
    while isinstance(value, Mapping | list) and value:
        value = next(iter(value.values() if isinstance(value, Mapping) else value))
    return str(value)[:80]


def _code(value: Any) -> str | None:
    return "names Python code" if value else None


def _class(allowed: re.Pattern) -> Any:
    """Of a dotted name whether it is an allowed class; plain words are names of the library that reads them."""

    def reason(value: Any) -> str | None:
        dotted = isinstance(value, str) and "." in value
        return "is a class that a model may not name" if dotted and not allowed.fullmatch(value) else None

    return reason


def _kernel(value: Any) -> str | None:
    names = value.values() if isinstance(value, Mapping) else [value]
    return "names a program of the hub" if any(isinstance(name, str) and "/" in name for name in names) else None


def _kernels(value: Any) -> str | None:
    return "takes programs of the hub" if value else None


def _sudachi(value: Any) -> str | None:
    return "names files of Sudachi, which may load a program library" if value is not None else None


def _unpickling(value: Any) -> str | None:
    return "lets weights be unpickled" if value is False else None


def _weights(value: Any) -> str | None:
    plain = value is None or (isinstance(value, str) and value.endswith((".safetensors", ".safetensors.index.json")))
    return None if plain else "names weights that are not safetensors"


# Keys of any configuration, each with a function that says why its value is refused.
_KEYS = {
    "custom_pipelines": _code,
    "custom_generate": _code,
    "tokenizer_class": _class(_TOKENIZER),
    "activation_function": _class(_ACTIVATION),
    "activation_fn": _class(_ACTIVATION),
    "sbert_ce_default_activation_function": _class(_ACTIVATION),
    "attn_implementation": _kernel,
    "_attn_implementation": _kernel,
    "_attn_implementation_internal": _kernel,
    "experts_implementation": _kernel,
    "_experts_implementation": _kernel,
    "use_kernels": _kernels,
    "kernel_config": _kernels,
    "sudachi_config_path": _sudachi,
    "sudachi_resource_dir": _sudachi,
    "weights_only": _unpickling,
    "transformers_weights": _weights,
}
