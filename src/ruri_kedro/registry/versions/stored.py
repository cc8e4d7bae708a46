"""The folder of a registered version: where the model is in it, and what it may hold.

Whoever registers a version decides what is in its folder. MLflow's loaders run what they find there: classes and
pickles that `MLmodel` names, code beside the model, code that the model's own files name. So only what
`registry.models` writes, or a version of this package wrote, may be there.
"""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

import yaml

from ruri_kedro.errors import RegistryError
from ruri_kedro.models.foreign_code import code_faults
from ruri_kedro.models.kinds import KINDS, stored_kinds
from ruri_kedro.recipe.addresses import resolve
from ruri_kedro.tables.files import read_json
from ruri_kedro.tables.manifest import irregular_entries
from ruri_kedro.tables.store import file_digest

# Where MLflow puts the folder of a model: a SentenceTransformer, and what a pyfunc model is logged with.
EMBEDDER = KINDS["embedder"].folder
_ARTIFACTS = "artifacts"
RERANKER_CODE = str(KINDS["cross_encoder"].code)
MULTI_VECTOR_CODE = str(KINDS["multi_vector"].code)
# SHA-256 of every content that these files have had. Versions keep the code they were registered with.
MULTI_VECTOR_CODES = ("ff642418abdee6066dfe3e2a051c08360c9766ace66ca2fcfd26d496c5c11dea",)
RERANKER_CODES = (
    "6696ee67692400fd4769612b6d20705e73280791442669a06ac49a9916a3a7fc",  # 0.1
    "ed3e9e8e82775c4b7d236f7f135e658b4c43c9175bceb0a2eaf672453f30e47f",
)

_AT_ROOT = ("MLmodel", "conda.yaml", "python_env.yaml", "requirements.txt", "constraints.txt", "input_example.json",
            "serving_input_example.json", "registered_model_meta")  # fmt: skip
# Kinds of files, of a model and by the other folders they stand in.
_OF_A_MODEL = (".json", ".jinja", ".txt", ".model", ".safetensors", ".md")
_SUFFIXES = {"evidence": (".json", ".parquet"), "promotion": (".json", ".md")}
_REQUIREMENT = re.compile(r"[A-Za-z0-9][\w.-]*==[\w.!+]+")
_ENVIRONMENT = {"conda": "conda.yaml", "virtualenv": "python_env.yaml"}


def model_part(root: Path) -> Path | None:
    """The folder of the model; None where there is none, or more than one."""
    names = ("modules.json", "config.json")
    found = [path for path in _folders(root) if any((path / name).is_file() for name in names)]
    return found[0] if len(found) == 1 else None


def kind_of(root: Path) -> str:
    """The kind of the version, as its evidence calls it.

    Raises RegistryError where it says none, or the folder is of another kind.
    """
    path = root / "evidence/probe.json"
    said = read_json(path) if path.is_file() else None
    kind = said.get("kind") if isinstance(said, Mapping) else None
    part = model_part(root)
    if part is None or kind not in kinds_of_part(part):
        raise RegistryError(f"{path}: kind '{kind}' is not that of the model beside it. Register the model again.")
    return kind


def kinds_of_part(part: Path) -> tuple[str, ...]:
    """The kinds that a model can be of by the place of its folder, as evidence calls them."""
    return tuple(kind.word for kind in stored_kinds(part))


def foreign_faults(root: Path, below: str = "") -> Iterator[str]:
    """What in the folder of a version is not of this package, or would run code when it is loaded, a text each.

    With `below` only that folder or file is looked at: the others need not have been downloaded.
    """
    if odd := list(irregular_entries(root / below) if (root / below).is_dir() else ()):
        yield from odd
        return  # a link leads to files elsewhere
    start = root / below
    for path in [start] if start.is_file() else sorted(path for path in start.rglob("*") if path.is_file()):
        yield from _file_faults(path, PurePosixPath(path.relative_to(root).as_posix()))
    for folder in _models_in(root, start):
        yield from (f"{folder.relative_to(root).as_posix()}/{fault}" for fault in code_faults(folder, trusting=True))
    if not below and not (root / "MLmodel").is_file():
        yield "MLmodel is missing"


def _folders(root: Path) -> list[Path]:
    """The folders in which a model of any kind would stand."""
    patterns = dict.fromkeys(kind.folder for kind in KINDS.values())
    return [path for pattern in patterns for path in sorted(root.glob(pattern))]


def _models_in(root: Path, start: Path) -> list[Path]:
    """The folders of models in the folder `start`, which may be a part of one."""
    models = [path for path in _folders(root) if path.is_dir()]
    inside = [path for path in models if path.is_relative_to(start)]
    part = start.is_dir() and any(start.is_relative_to(path) for path in models)
    return inside or ([start] if part else [])


def _file_faults(path: Path, name: PurePosixPath) -> Iterator[str]:
    """What is wrong with a file by its name, and with the content of those that MLflow itself reads."""
    homes = {PurePosixPath(kind.folder).parts[0] for kind in KINDS.values()}
    allowed = _OF_A_MODEL if name.parts[0] in homes else _SUFFIXES.get(name.parts[0], ())
    code = {kind.code: kind.code_digests for kind in KINDS.values() if kind.code and kind.code_digests}
    known = str(name) in (*_AT_ROOT, *code) if len(name.parts) == 1 else name.suffix in allowed
    if not known:
        yield f"{name} is not a file that registration writes"
    elif str(name) in code and (digest := file_digest(path)) not in resolve(code[str(name)]):
        yield f"{name} is not this package's code (SHA-256 {digest[:12]})"
    elif check := _CHECKS.get(str(name)):
        try:
            text = path.read_text("utf-8")
            yield from (f"{name}: {fault}" for fault in check(text))
        except (ValueError, TypeError, AttributeError, KeyError, IndexError, RecursionError, yaml.YAMLError):
            yield f"{name} is not as registration writes it"


def _mlmodel(text: str) -> Iterator[str]:
    """What MLflow would load by other means than the kinds of model that are registered."""
    flavors = yaml.safe_load(text)["flavors"]
    # Of the kinds whose flavours are all there those with the most; of several it is the one that fits.
    known = [resolve(kind.flavors) for kind in KINDS.values()]
    whole = [wanted for wanted in known if wanted.keys() - {"python_function"} <= flavors.keys()]
    most = max(map(len, whole), default=0)
    faults = [list(_flavor_faults(flavors, wanted)) for wanted in whole or known if len(wanted) >= most]
    yield from min(faults, key=bool)


def _flavor_faults(flavors: Mapping[str, Any], wanted: Mapping[str, Any]) -> Iterator[str]:
    """What differs from the flavours that registration writes for a kind."""
    for flavor, found in flavors.items():
        if flavor not in wanted:
            yield f"flavour '{flavor}' is not one that registration writes"
            continue
        for key, value in found.items():
            if key not in wanted[flavor]:
                yield f"{flavor}.{key} is not a key that registration writes"
            elif not wanted[flavor][key](value):
                yield f"{flavor}.{key} is {str(value)[:80]!r}, which registration does not write"
        # Without them MLflow takes what it holds for the default.
        for key in ("loader_module", "model_code_path"):
            if key in wanted[flavor] and key not in found:
                yield f"{flavor}.{key} is missing"
    if "python_function" not in flavors:
        yield "flavour python_function is missing"


def _is(*values: Any) -> Any:
    return lambda value: value in values


def _is_text(value: Any) -> bool:
    return value is None or isinstance(value, str)


def _is_code(name: str) -> Any:
    """MLflow takes the last part of the path, whatever the system it was logged on."""
    return lambda value: isinstance(value, str) and re.split(r"[/\\]", value)[-1] == name


def _are_artifacts(value: Any) -> bool:
    return list(value) == ["model"] and re.fullmatch(rf"{_ARTIFACTS}/(?!\.)[^/\\]+", value["model"]["path"]) is not None


_SHARED = {"env": _is(_ENVIRONMENT), "python_version": _is_text, "code": _is(None), "model_config": _is(None, {})}
EMBEDDER_FLAVORS = {
    "python_function": {**_SHARED, "data": _is(EMBEDDER), "loader_module": _is("mlflow.sentence_transformers")},
    "sentence_transformers": {
        "code": _is(None),
        "pipeline_model_type": _is_text,
        "sentence_transformers_version": _is_text,
        "source_model_name": _is_text,
    },
}


def _from_code(name: str) -> dict[str, dict[str, Any]]:
    """The flavours of a pyfunc model whose code is the file `name`."""
    return {
        "python_function": {
            **_SHARED,
            "artifacts": _are_artifacts,
            "cloudpickle_version": _is_text,
            "loader_module": _is("mlflow.pyfunc.loaders.code_model"),
            "model_code_path": _is_code(name),
            "streamable": _is(False),
        }
    }


RERANKER_FLAVORS, MULTI_VECTOR_FLAVORS = _from_code(RERANKER_CODE), _from_code(MULTI_VECTOR_CODE)


def _requirements(text: str) -> Iterator[str]:
    """What pip would install from elsewhere than the package index, which runs its code."""
    for line in text.splitlines():
        if line.strip() and not _REQUIREMENT.fullmatch(line.strip()):
            yield f"'{line.strip()[:80]}' is not a package with its version"


def _conda(text: str) -> Iterator[str]:
    found = yaml.safe_load(text)
    if extra := set(found) - {"name", "channels", "dependencies"}:
        yield f"{', '.join(map(str, extra))} is not a key that registration writes"
    if found["channels"] != ["conda-forge"]:
        yield f"channels are {found['channels']}, not conda-forge alone"
    for line in found["dependencies"]:
        if isinstance(line, Mapping):
            yield from _requirements("\n".join(line["pip"]))
        elif not re.fullmatch(r"(python|pip)([=<>]=?[\w.]+)?", line):
            yield f"'{line[:80]}' is not Python or pip"


def _python_env(text: str) -> Iterator[str]:
    found = yaml.safe_load(text)
    if extra := set(found) - {"python", "build_dependencies", "dependencies"}:
        yield f"{', '.join(map(str, extra))} is not a key that registration writes"
    for line in found["build_dependencies"]:
        if not re.fullmatch(r"(pip|setuptools|wheel)(==[\w.]+)?", line):
            yield f"'{line[:80]}' is not pip, setuptools or wheel"
    if found["dependencies"] != ["-r requirements.txt"]:
        yield f"dependencies are {found['dependencies']}, not those of requirements.txt"


_CHECKS = {
    "MLmodel": _mlmodel,
    "requirements.txt": _requirements,
    "constraints.txt": _requirements,
    "conda.yaml": _conda,
    "python_env.yaml": _python_env,
}
