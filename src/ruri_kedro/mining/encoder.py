"""The encoder of a mining run with its cache: no text is encoded twice by the same model."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from ruri_kedro.engines.engine import Engine
from ruri_kedro.models.reference import EncoderReference
from ruri_kedro.recipe.annotations import Params
from ruri_kedro.tables.code import behaviour_digest
from ruri_kedro.tables.store import key_of

if TYPE_CHECKING:
    from ruri_kedro.search.dense.embeddings import EmbeddingCache, Embeddings

# Queries are few: float16 would save nothing and could change the order of near ties.
_DTYPES = {"query": "float32", "document": "float16"}


@dataclass(frozen=True)
class CachedEncoder:
    """A model, loaded at its first use, and where its embeddings are kept."""

    model: EncoderReference
    digest: str  # of the model
    prompts: Params
    encoding: Params
    cache_settings: Params

    @staticmethod
    def of(pretrained: Path, mining: Params, prompts: Params, encoding: Params) -> "CachedEncoder":
        """The encoder that `mining.encoder` names, by default the pre-trained one."""
        model = EncoderReference.of(mining["encoder"], pretrained, encoding["device"])
        return CachedEncoder(model, model.digest(), prompts, encoding, mining["cache"])

    def key(self, role: str) -> str:
        """Key of all that a text's embedding depends on besides the text."""
        read = [self.encoding[name] for name in ("max_length", "precision")]
        code = behaviour_digest(EncoderReference)
        return key_of(model=self.digest, prompt=self.prompts[role], read=read, dtype=_DTYPES[role], code=code)

    def cache(self, role: str) -> "EmbeddingCache":
        """The embeddings there are for a role (query or document)."""
        from ruri_kedro.search.dense.embeddings import EmbeddingCache

        folder = Path(self.cache_settings["folder"]) / self.key(role)
        return EmbeddingCache(folder, self.cache_settings["block"], _DTYPES[role])

    def encode(self, role: str, label: str) -> Callable:
        """encode(texts) for a role, with a label for the progress bar."""
        return self.model.encode_with(self.prompts[role], self.encoding, label)

    def embed(self, role: str, label: str, texts: Iterable[tuple[str, str]]) -> "Embeddings":
        """Embeddings of (id, text) rows; what the cache has is not encoded again."""
        from ruri_kedro.search.dense.embeddings import embed_texts

        return embed_texts(texts, self.cache(role), self.encode(role, label))

    def fill(self, role: str, label: str, texts: Iterable[tuple[str, str]], engine: Engine) -> None:
        """Encode (id, text) rows that the cache does not have."""
        from ruri_kedro.search.dense.embeddings import encode_texts

        encode_texts(texts, self.cache(role), self.encode(role, label), engine)


@dataclass(frozen=True)
class EmbeddedCollection:
    """The embeddings of a collection that `build_embeddings` listed in `folder`, opened at their first use."""

    folder: Path
    encoder: CachedEncoder

    @cached_property
    def embeddings(self) -> "Embeddings":
        """Raises DataError if they are not complete."""
        from ruri_kedro.search.dense.embeddings import load_embeddings

        return load_embeddings(self.folder, self.encoder.cache("document"))
