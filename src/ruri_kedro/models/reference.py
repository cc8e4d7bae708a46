"""A model by reference: a folder of this project, or a name with a revision; loaded when it is first needed.

No torch is imported here: a node may know which model it would use without loading it.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ruri_kedro.errors import RecipeError
from ruri_kedro.models.foreign_code import refuse_code
from ruri_kedro.tables.checksums import MANIFEST, read_checked
from ruri_kedro.tables.store import file_digest
from ruri_kedro.text.hashing import digest_json

if TYPE_CHECKING:
    import numpy as np
    from sentence_transformers import MultiVectorEncoder, SentenceTransformer

    from ruri_kedro.models.late_interaction import LateInteraction


@dataclass(frozen=True)
class EncoderReference:
    """Where an encoder is to be had."""

    name: str
    revision: str | None = None
    device: str = "auto"

    @staticmethod
    def of(row: Mapping[str, Any], default: Path, device: str = "auto") -> "EncoderReference":
        """The encoder that `{name, revision}` names; without a name the folder `default`.

        Raises RecipeError for a name without revision, and for a folder that needs code of its own.
        """
        if row.get("name") is None:
            return EncoderReference(str(default), device=device)
        if not Path(row["name"]).is_dir() and not row.get("revision"):
            raise RecipeError(
                f"model '{row['name']}' is not a local folder and has no revision. Pin the commit on the hub."
            )
        refuse_code(Path(row["name"]))
        return EncoderReference(row["name"], row.get("revision"), device)

    def digest(self) -> str:
        """Digest of the model's files, or of name and revision if it is on the hub."""
        return folder_digest(Path(self.name)) or digest_json([self.name, self.revision])

    @cached_property
    def model(self) -> "SentenceTransformer":
        """The model, loaded and on its device."""
        from ruri_kedro.models.base import device_kind, load_encoder

        return load_encoder(self.name, revision=self.revision).to(device_kind(self.device))

    @cached_property
    def is_multi_vector(self) -> bool:
        """Whether it has a vector for each token (late interaction)."""
        from ruri_kedro.models.multi_vector import is_multi_vector

        return is_multi_vector(self.name, self.revision)

    @cached_property
    def _multi_vector(self) -> "MultiVectorEncoder":
        from ruri_kedro.models.base import device_kind
        from ruri_kedro.models.multi_vector import load_multi_vector

        return load_multi_vector(self.name, self.revision).to(device_kind(self.device))

    def late(self, prompts: Mapping[str, str], chunk_tokens: int, precision: str) -> "LateInteraction":
        """Scores of a late interaction model, loaded and on its device; `prompts` by role, else its own."""
        from ruri_kedro.models.late_interaction import LateInteraction

        return LateInteraction(self._multi_vector, chunk_tokens, prompts, precision)

    def token_vectors(
        self, texts: list[str], task: str, prompts: Mapping[str, str], chunk_tokens: int, precision: str
    ) -> "list[np.ndarray]":
        """The vectors of each text's tokens, (tokens, d) float32; `task` is query or document."""
        return self.late(prompts, chunk_tokens, precision).vectors(texts, task)

    def encode(
        self,
        texts: list[str],
        prompt: str,
        max_length: int,
        chunk_tokens: int,
        label: str | None,
        precision: str = "float32",
    ) -> "np.ndarray":
        """L2-normalised embeddings, float32 (texts, dimension), of forward passes in `precision`."""
        from ruri_kedro.models.forward import encode

        return encode(self.model, texts, prompt, max_length, chunk_tokens, label, precision)

    def encode_with(self, prompt: str, encoding: Mapping[str, Any], label: str | None) -> Callable[..., "np.ndarray"]:
        """`encode` of texts alone, with the rest as the recipe's block `encoding` has it."""
        read = {name: encoding[name] for name in ("max_length", "chunk_tokens", "precision")}
        return partial(self.encode, prompt=prompt, label=label, **read)


def folder_digest(folder: Path) -> str | None:
    """Digest of a model folder by its manifest, or by names and sizes of its files; None if it is no folder."""
    if not folder.is_dir():
        return None
    manifest = folder / MANIFEST
    if manifest.exists():
        return digest_json(read_checked(manifest)["files"])
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return digest_json([[path.relative_to(folder).as_posix(), file_digest(path)] for path in files])
