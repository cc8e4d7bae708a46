"""An embedding model as it was saved, by this project or another: its own modules, nothing put on top.

No torch is imported here before the model is needed.
"""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from ruri_kedro.errors import RecipeError
from ruri_kedro.models.checkpoint import read_config
from ruri_kedro.models.foreign_code import refuse_code
from ruri_kedro.models.reference import folder_digest
from ruri_kedro.tables.files import read_json

if TYPE_CHECKING:
    import numpy as np
    from sentence_transformers import CrossEncoder, MultiVectorEncoder, SentenceTransformer


@dataclass(frozen=True)
class SavedModel:
    """Where the model is, and what it is called in results."""

    name: str  # owner/model
    revision: str  # commit on the hub, or digest of the folder
    source: str  # folder, or name on the hub
    device: str = "auto"  # auto, cpu or cuda

    @staticmethod
    def of(reference: str, device: str = "auto", name: str | None = None) -> "SavedModel":
        """The model in a folder, or on the hub as `owner/model@revision`.

        Raises RecipeError where it is neither, and for a folder that needs code of its own.
        `name` is what a folder's model is called, by default `local/<folder>`.
        """
        digest = folder_digest(Path(reference))
        if digest is not None:
            refuse_code(Path(reference))
            return SavedModel(name or f"local/{Path(reference).resolve().name}", digest, reference, device)
        source, _, revision = reference.rpartition("@")
        if not revision or source.count("/") != 1:
            raise RecipeError(
                f"model '{reference}': no folder of this name. Give a folder, models:/<name>@<alias> or "
                "models:/<name>/<version> of the registry, or <owner>/<model>@<commit> of the hub."
            )
        return SavedModel(source, revision, source, device)

    @cached_property
    def model(self) -> "SentenceTransformer":
        """The model, loaded and on its device."""
        from ruri_kedro.models.base import load_encoder

        return load_encoder(self.source, revision=self._hub_revision).to(self._torch_device)

    @cached_property
    def prompts(self) -> dict[str, str]:
        """The prompts that were saved with it, by name; the model itself is not loaded."""
        from sentence_transformers.util import load_file_path

        try:
            path = load_file_path(self.source, "config_sentence_transformers.json", revision=self._hub_revision)
        except OSError as error:
            raise RecipeError(f"model '{self.source}' cannot be loaded: {error}") from error
        return (read_json(Path(path)).get("prompts") or {}) if path else {}

    @cached_property
    def is_cross_encoder(self) -> bool:
        """Whether it gives a score to a pair of texts: its architecture is one of classification."""
        folder = Path(self.source)
        if (folder / "modules.json").is_file() and not (folder / "config.json").is_file():
            return False  # modules that are not a transformer in the folder itself
        config = read_config(self.source, "config.json", self._hub_revision)
        if config is None:
            raise RecipeError(f"model '{self.source}' cannot be loaded: it has no config.json.")
        return any(name.endswith("ForSequenceClassification") for name in config.get("architectures") or [])

    @cached_property
    def cross_encoder(self) -> "CrossEncoder":
        """The cross-encoder, loaded and on its device."""
        from ruri_kedro.models.base import load_cross_encoder

        return load_cross_encoder(self.source, revision=self._hub_revision).to(self._torch_device)

    @cached_property
    def is_multi_vector(self) -> bool:
        """Whether it gives a vector to each token, to be compared by late interaction."""
        from ruri_kedro.models.multi_vector import is_multi_vector

        return is_multi_vector(self.source, self._hub_revision)

    @cached_property
    def multi_vector(self) -> "MultiVectorEncoder":
        """The late interaction model, loaded and on its device."""
        from ruri_kedro.models.multi_vector import load_multi_vector

        return load_multi_vector(self.source, self._hub_revision).to(self._torch_device)

    def encode(self, texts: list[str], prompt: str, max_length: int, chunk_tokens: int) -> "np.ndarray":
        """L2-normalised embeddings, float32 (texts, dimension); `max_length` is cut to what the model can read."""
        from ruri_kedro.models.forward import encode

        limit = min(max_length, self.model.max_seq_length or max_length)
        return encode(self.model, texts, prompt, limit, chunk_tokens, progress="texts")

    def token_vectors(self, texts: list[str], task: str, chunk_tokens: int, precision: str) -> "list[np.ndarray]":
        """Of a late interaction model the vectors of each text, (tokens, d) float32; `task` is query or document."""
        from ruri_kedro.models.late_interaction import LateInteraction

        return LateInteraction(self.multi_vector, chunk_tokens, precision=precision).vectors(texts, task)

    @property
    def _hub_revision(self) -> str | None:
        return None if Path(self.source).is_dir() else self.revision

    @property
    def _torch_device(self) -> str:
        from ruri_kedro.models.base import device_kind

        return device_kind(self.device)
