"""Registered models: logged with signature and metrics, found again by name and alias."""

import logging
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

from ruri_kedro.errors import RegistryError
from ruri_kedro.models.foreign_code import open_model
from ruri_kedro.models.kinds import KINDS
from ruri_kedro.registry.evidence.evidence import FOLDER, Evidence, write_evidence, write_manifest
from ruri_kedro.registry.runs.tracking import active_run_id, metric_name, mlflow_client
from ruri_kedro.registry.versions import registration
from ruri_kedro.registry.versions.probe import scored_probe
from ruri_kedro.registry.versions.registered import DECISION, PREFIX, SIGNED, logged_model_id, numbers
from ruri_kedro.registry.versions.registration import RESULT
from ruri_kedro.registry.versions.stored import MULTI_VECTOR_CODE, RERANKER_CODE, foreign_faults

logger = logging.getLogger(__name__)

CARD = "README.md"
# log_model copies to the model all metrics of the run that stand at its step: there are none at this one.
_NO_STEP = -1
# Examples of what a model takes.
_QUERY, _PASSAGE = "日本で一番高い山は？", "富士山は日本の最高峰である。"
_RERANKER_CODE = Path(__file__).with_name(RERANKER_CODE)
_MULTI_VECTOR_CODE = Path(__file__).with_name(MULTI_VECTOR_CODE)


@dataclass(frozen=True)
class Registered:
    """One version of a registered model."""

    name: str
    version: int
    aliases: tuple[str, ...]
    metrics: Mapping[str, float]
    decision: str = ""  # of its last promotion

    def __str__(self) -> str:
        aliases = f" ({', '.join(self.aliases)})" if self.aliases else ""
        return f"{self.name} version {self.version}{aliases}"


def register_embedder(path: Path, name: str, metrics: Mapping[str, float], evidence: Evidence) -> int:
    """Log the SentenceTransformer in the folder `path` to the open run and register it as `name`.

    `metrics` are its test metrics, attached to the logged model; the alias `challenger` then points to the new version,
    whose number is returned. The evidence is logged beside the model, with a manifest of all its files; its card is the
    README.md of the model and the description of the version. What is registered with the same evidence already is not
    registered again: the alias then points to that version. As a pyfunc the model takes texts and
    `params={"prompt_name": ...}`. Raises RegistryError without an open run.
    """
    import mlflow.sentence_transformers
    from sentence_transformers import SentenceTransformer

    def log(folder: Path, **logged_as: Any) -> tuple[Any, Any]:
        model = open_model(SentenceTransformer, folder, device="cpu")
        info = mlflow.sentence_transformers.log_model(
            model,
            name="embedder",
            signature=_embedder_signature(model),
            input_example=[_QUERY],
            pip_requirements=requirements(),
            **logged_as,
        )
        return info, model

    return _register("embedder", path, name, metrics, evidence, log)


def register_reranker(path: Path, name: str, metrics: Mapping[str, float], evidence: Evidence) -> int:
    """Log the CrossEncoder in the folder `path` to the open run and register it as `name`.

    It is a pyfunc "model from code" that takes a frame with columns query and passage and gives scores:
    MLflow's own flavour would load it back as a bi-encoder. Otherwise as `register_embedder`.
    """
    import mlflow.pyfunc
    import pandas as pd
    from sentence_transformers import CrossEncoder

    def log(folder: Path, **logged_as: Any) -> tuple[Any, Any]:
        info = mlflow.pyfunc.log_model(
            name="reranker",
            python_model=str(_RERANKER_CODE),
            artifacts={"model": str(folder)},
            signature=_reranker_signature(),
            input_example=pd.DataFrame({"query": [_QUERY], "passage": [_PASSAGE]}),
            pip_requirements=requirements(),
            **logged_as,
        )
        return info, open_model(CrossEncoder, path, device="cpu")

    return _register("cross_encoder", path, name, metrics, evidence, log)


def register_multi_vector(path: Path, name: str, metrics: Mapping[str, float], evidence: Evidence) -> int:
    """Log the MultiVectorEncoder in the folder `path` to the open run and register it as `name`.

    It is a pyfunc "model from code": texts in, a list of token vectors for each out, of documents or with
    `params={"task": "query"}` of queries; with `params={"task": "rerank", "query": ...}` the scores of the texts for
    that query. Otherwise as `register_embedder`.
    """
    import mlflow.pyfunc
    from sentence_transformers import MultiVectorEncoder

    def log(folder: Path, **logged_as: Any) -> tuple[Any, Any]:
        info = mlflow.pyfunc.log_model(
            name="multi_vector",
            python_model=str(_MULTI_VECTOR_CODE),
            artifacts={"model": str(folder)},
            signature=_multi_vector_signature(),
            input_example=[_PASSAGE],
            pip_requirements=requirements(),
            **logged_as,
        )
        return info, open_model(MultiVectorEncoder, path, device="cpu")

    return _register("multi_vector", path, name, metrics, evidence, log)


def requirements() -> list[str]:
    """The packages that load a model, at the versions installed here."""
    # A local version such as +cpu names a build that the package index does not have.
    names = ("mlflow", "sentence-transformers", "transformers", "torch")
    return [f"{name}=={version(name).split('+')[0]}" for name in names]


def registered_by(run_id: str) -> list[Registered]:
    """The versions that a run registered, or found registered already, by name and number."""
    client = mlflow_client()
    made = {(version.name, int(version.version)) for version in client.search_model_versions(f"run_id='{run_id}'")}
    tags = client.get_run(run_id).data.tags
    found = {(key.removeprefix(RESULT), int(value)) for key, value in tags.items() if key.startswith(RESULT)}
    there = {(name, number) for name, number in found - made if number in numbers(name)}
    return [_describe(client, name, number) for name, number in sorted(made | there)]


def list_registered(prefix: str = PREFIX) -> list[Registered]:
    """The newest version and every version with an alias of each registered model whose name starts so."""
    client = mlflow_client()
    listed = []
    for model in _models(client, prefix):
        newest = client.search_model_versions(f"name='{model.name}'", max_results=1, order_by=["version_number DESC"])
        numbers = {int(v.version) for v in newest} | {int(number) for number in model.aliases.values()}
        listed += [_describe(client, model.name, number) for number in sorted(numbers)]
    return listed


def registered_names(prefix: str = PREFIX) -> list[str]:
    """The registered models whose name starts so."""
    return [model.name for model in _models(mlflow_client(), prefix)]


def _models(client: Any, prefix: str) -> list[Any]:
    return client.search_registered_models(f"name LIKE '{prefix}%'", max_results=1000)


def registered(name: str, number: int) -> Registered:
    """A version by name and number."""
    return _describe(mlflow_client(), name, number)


def _describe(client: Any, name: str, number: int | str) -> Registered:
    found = client.get_model_version(name, str(number))
    model_id = logged_model_id(found)
    logged = client.get_logged_model(model_id) if model_id else None
    metrics = {metric.key: metric.value for metric in (logged.metrics or [])} if logged else {}
    return Registered(name, int(found.version), tuple(sorted(found.aliases)), metrics, found.tags.get(DECISION, ""))


def _require_run(name: str) -> None:
    if active_run_id() is None:
        raise RegistryError(
            f"'{name}' cannot be registered: no MLflow run is open. Run inside `kedro run` with tracking enabled "
            f"for the pipeline (disable_tracking in mlflow.yml), or open a run with mlflow.start_run()."
        )


def _register(
    kind: str,
    path: Path,
    name: str,
    metrics: Mapping[str, float],
    evidence: Evidence,
    log: Callable[..., tuple[Any, Any]],
) -> int:
    """Log a model by `log`, which gives what MLflow says of it and the model loaded, and make its version.

    The order of the steps, and what is left of those that are killed, stand in `registration`.
    """
    import mlflow

    _require_run(name)
    registration.clear_leftovers(name)
    evidence = replace(evidence, kind=KINDS[kind].word)

    # The same content again is the version that is there.
    content = registration.content_of(path, evidence, metrics)
    if (number := registration.find_same(name, content)) is not None:
        logger.info("%s version %d is the same model with the same evidence: not registered again.", name, number)
        registration.point_to(name, number)
        return number

    # All that belongs to the version, before there is one.
    tags = {**evidence.tags, registration.CONTENT: content}
    with _with_card(path, str(evidence.card)) as folder:
        info, model = log(folder, tags={**tags, registration.PENDING: name}, step=_NO_STEP)
    tags[SIGNED] = _attach(info.model_id, model, evidence)
    mlflow.log_metrics({metric_name(key): float(value) for key, value in metrics.items()}, model_id=info.model_id)

    # The version, then the alias: whoever follows it finds a version that is complete.
    number = registration.make_version(name, info.model_id, tags, str(evidence.card))
    registration.point_to(name, number)
    return number


@contextmanager
def _with_card(path: Path, card: str) -> Iterator[Path]:
    """A copy of the model folder that has the card as its README.md."""
    with tempfile.TemporaryDirectory() as parent:
        folder = Path(parent) / path.name
        # Its own manifest is of the folder as it was; that of the version takes its place.
        shutil.copytree(path, folder, ignore=shutil.ignore_patterns("manifest.json"))
        (folder / CARD).write_text(card, encoding="utf-8")
        yield folder


def _attach(model_id: str, model: Any, evidence: Evidence) -> str:
    """Log evidence with a model, with the scores of its probe and a manifest of all files, whose SHA-256 it gives."""
    import mlflow.artifacts

    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        mlflow.artifacts.download_artifacts(f"models:/{model_id}", dst_path=folder)
        # What would be refused when it is loaded is said now.
        if faults := list(foreign_faults(root)):
            raise RegistryError(f"the {evidence.kind} cannot be registered: {'; '.join(faults[:5])}.")
        write_evidence(root, replace(evidence, probe=scored_probe(str(evidence.kind), model, evidence.probe or ())))
        digest = write_manifest(root)
        mlflow_client().log_model_artifacts(model_id, str(root / FOLDER), FOLDER)
    return digest


def _embedder_signature(model: Any) -> Any:
    import numpy as np
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, ParamSchema, ParamSpec, Schema, TensorSpec

    width = model.get_embedding_dimension()
    prompt = "document" if "document" in model.prompts else None
    return ModelSignature(
        inputs=Schema([ColSpec("string")]),
        outputs=Schema([TensorSpec(np.dtype("float32"), (-1, width))]),
        params=ParamSchema([ParamSpec("prompt_name", "string", prompt)]),
    )


def _multi_vector_signature() -> Any:
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, ParamSchema, ParamSpec, Schema
    from mlflow.types.schema import AnyType

    return ModelSignature(
        inputs=Schema([ColSpec("string")]),
        outputs=Schema([ColSpec(AnyType())]),
        params=ParamSchema([ParamSpec("task", "string", "document"), ParamSpec("query", "string", "")]),
    )


def _reranker_signature() -> Any:
    import numpy as np
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, Schema, TensorSpec

    return ModelSignature(
        inputs=Schema([ColSpec("string", "query"), ColSpec("string", "passage")]),
        outputs=Schema([TensorSpec(np.dtype("float32"), (-1,))]),
    )
