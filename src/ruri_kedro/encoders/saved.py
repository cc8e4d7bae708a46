"""An embedding model as it was saved, by this project or another: its own modules, nothing put on top.

No torch is imported here before the model is needed.
"""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from ruri_kedro.encoders.reference import folder_digest
from ruri_kedro.errors import RecipeError

if TYPE_CHECKING:
    import numpy as np
    from sentence_transformers import SentenceTransformer


@dataclass(frozen=True)
class SavedModel:
    """Where the model is, and what it is called in results."""

    name: str  # owner/model
    revision: str  # commit on the hub, or digest of the folder
    source: str  # folder, or name on the hub
    device: str = "auto"  # auto, cpu or cuda

    @staticmethod
    def of(reference: str, device: str = "auto", name: str | None = None) -> "SavedModel":
        """The model in a folder, or on the hub as `owner/model@revision`; RecipeError where it is neither.

        `name` is what a folder's model is called, by default `local/<folder>`.
        """
        digest = folder_digest(Path(reference))
        if digest is not None:
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
        import torch

        from ruri_kedro.encoders.base import load_encoder

        is_folder = Path(self.source).is_dir()
        device = ("cuda" if torch.cuda.is_available() else "cpu") if self.device == "auto" else self.device
        return load_encoder(self.source, revision=None if is_folder else self.revision).to(device)

    def encode(self, texts: list[str], prompt: str, max_length: int, chunk_tokens: int) -> "np.ndarray":
        """L2-normalised embeddings, float32 (texts, dimension); `max_length` is cut to what the model can read."""
        from ruri_kedro.encoders.encode import encode

        limit = min(max_length, self.model.max_seq_length or max_length)
        return encode(self.model, texts, prompt, limit, chunk_tokens, progress="texts")
