"""Collections of tasks searched through an index of token vectors: one for each collection and model, which is kept."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ruri_kedro.recipe.parse import parse
from ruri_kedro.tables.store import key_of
from ruri_kedro.text.hashing import digest_all, stable_id

if TYPE_CHECKING:
    from ruri_kedro.models.late_interaction import LateInteraction

_BLOCK = 256  # documents encoded together; what a killed evaluation encodes again is `shard_tokens` at most


@dataclass(frozen=True)
class TokenIndexes:
    """Where the indexes of a model are, and how they are built and searched; the folder may be removed at any time."""

    folder: Path
    settings: Mapping[str, Any]  # parameters `multi_vector`
    model: str  # digest

    @staticmethod
    def of(evaluation: Mapping[str, Any], settings: Mapping[str, Any], model: str) -> "TokenIndexes | None":
        """By the parameters `evaluation` and `multi_vector`; None where collections are searched exactly."""
        if evaluation["multi_vector"] == "exact":
            return None
        return TokenIndexes(Path(evaluation["indexes"]), settings, model)

    def find(
        self, late: Callable[[], "LateInteraction"], documents: Mapping[str, str], queries: Sequence[str], depth: int
    ) -> list[list[tuple[str, float]]]:
        """(docid, MaxSim) of the first `depth` of documents, by docid, for each query; an index that is there is used.

        `late` gives the model.
        """
        from ruri_kedro.search.multi_vector.retriever import MultiVectorRetriever
        from ruri_kedro.search.multi_vector.settings import MultiVectorSettings

        settings = parse(MultiVectorSettings, self.settings, "multi_vector")
        texts = digest_all(stable_id(docid, text) for docid, text in documents.items())
        key = key_of(documents=texts, prompts=dict(late().prompts))
        name = key_of(key=key, model=self.model, built_with=settings.built_with)
        query, document = (partial(late().vectors, task=task) for task in ("query", "document"))
        retriever = MultiVectorRetriever(self.folder / name, settings, self.model, query, document, _BLOCK)
        retriever.build(documents.items(), key, len(documents))
        return list(retriever.search(queries, depth))
