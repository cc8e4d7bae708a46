"""Mining by a late interaction model: a collection is an index of token vectors, a document's score is MaxSim."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ruri_kedro.engines.engine import Engine
from ruri_kedro.models.reference import EncoderReference
from ruri_kedro.recipe.annotations import Params
from ruri_kedro.recipe.parse import parse
from ruri_kedro.tables.store import key_of

if TYPE_CHECKING:
    from ruri_kedro.search.multi_vector.retriever import MultiVectorRetriever
    from ruri_kedro.search.retriever import Hits

_BLOCK = 256  # documents encoded together

# (numbers of queries, docids of each) -> MaxSim of each, None for a document that is not in the collection.
ScoreDocuments = Callable[[Sequence[int], Sequence[Sequence[str]]], list[list[float | None]]]


@dataclass(frozen=True)
class TokenEncoder:
    """A late interaction model, loaded at its first use, and how its indexes are built and searched."""

    model: EncoderReference
    digest: str  # of the model
    prompts: Params  # by role; none: the model's own
    encoding: Params
    settings: Params  # parameters `multi_vector`

    @staticmethod
    def of(pretrained: Path, mining: Params, encoding: Params, settings: Params | None) -> "TokenEncoder | None":
        """The encoder that `mining.encoder` names, by default the pre-trained one; None if it is of another kind."""
        row = mining["encoder"]
        model = EncoderReference.of(row, pretrained, encoding["device"])
        if not model.is_multi_vector:
            return None
        return TokenEncoder(model, model.digest(), row.get("prompts") or {}, encoding, settings or {})

    def key(self) -> str:
        """Key of all that token vectors depend on besides the text."""
        return key_of(model=self.digest, prompts=dict(self.prompts), precision=self.encoding["precision"])

    def retriever(self, folder: Path, engine: Engine = map) -> "MultiVectorRetriever":
        """The index of a collection in `folder`."""
        from ruri_kedro.search.multi_vector.retriever import MultiVectorRetriever
        from ruri_kedro.search.multi_vector.settings import MultiVectorSettings

        read = {name: self.encoding[name] for name in ("chunk_tokens", "precision")}
        encode = partial(self.model.token_vectors, prompts=dict(self.prompts), **read)
        settings = parse(MultiVectorSettings, self.settings, "multi_vector")
        query, document = (partial(encode, task=task) for task in ("query", "document"))
        return MultiVectorRetriever(folder, settings, self.digest, query, document, _BLOCK, engine)

    def build(
        self, documents: Iterable[tuple[str, str]], folder: Path, key: str, engine: Engine, most: int | None
    ) -> None:
        """Index (docid, text) pairs unless they are indexed with this `key`; a killed call is continued."""
        self.retriever(folder, engine).build(documents, key_of(key=key, encoder=self.key()), most)

    def score(self, pairs: Sequence[tuple[str, str]]) -> list[float]:
        """MaxSim of (query, passage) pairs."""
        late = self.model.late(self.prompts, self.encoding["chunk_tokens"], self.encoding["precision"])
        return late.score(pairs).tolist()


@dataclass(frozen=True)
class IndexedCollection:
    """A collection that `TokenEncoder.build` has indexed in `folder`."""

    folder: Path
    encoder: TokenEncoder

    def search(self, queries: Sequence[str], k: int) -> tuple[list["Hits"], ScoreDocuments]:
        """The hits of each query, and a function that scores documents of the collection for them."""
        from ruri_kedro.search.multi_vector.search import Searcher

        retriever = self.encoder.retriever(self.folder)
        searcher = Searcher(self.folder, retriever.settings, retriever.model)
        vectors: Sequence[Any] = retriever.encode_query(list(queries))

        def score(numbers: Sequence[int], docids: Sequence[Sequence[str]]) -> list[list[float | None]]:
            return searcher.scores([vectors[number] for number in numbers], docids)

        return list(searcher.search(vectors, k)), score
