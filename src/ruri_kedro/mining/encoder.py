"""The encoder of a mining run with its cache: no text is encoded twice by the same model."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from ruri_kedro.corpora.source import Source
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
    has_prompts: bool = False  # of its own, which go before those of the sources

    @staticmethod
    def of(pretrained: Path, mining: Params, prompts: Params, encoding: Params) -> "CachedEncoder":
        """The encoder that `mining.encoder` names, by default the pre-trained one, with its prompts and length."""
        row = mining["encoder"]
        model = EncoderReference.of(row, pretrained, encoding["device"])
        own = row.get("prompts")
        read = encoding_of(row, encoding)
        return CachedEncoder(model, model.digest(), own or prompts, read, mining["cache"], own is not None)

    def of_source(self, source: Source) -> "CachedEncoder":
        """The encoder as it reads the texts of a source: by its own prompts, the source's, or the recipe's."""
        return self if self.has_prompts else replace(self, prompts=source.prompts_or(self.prompts))

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


def encoding_of(encoder: Params, encoding: Params) -> Params:
    """The block `encoding` with the length that an encoder reads, where it has one of its own."""
    return encoding if encoder.get("max_length") is None else {**encoding, "max_length": encoder["max_length"]}


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
