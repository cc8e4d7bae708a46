"""BM25 by the interface that all retrievers have."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from ruri_kedro.search.bm25.index import BM25Settings, build_index, search
from ruri_kedro.search.retriever import Hits


@dataclass(frozen=True)
class BM25Retriever:
    """`build_index` and `search` with their folder and settings."""

    folder: Path
    settings: BM25Settings

    def build(self, documents: Iterable[tuple[str, str]], key: str, most: int | None = None) -> None:
        """As `Retriever.build`."""
        build_index(documents, self.folder, self.settings, key, most)

    def search(self, queries: Sequence[str], k: int) -> Iterator[Hits]:
        """As `Retriever.search`."""
        return search(self.folder, queries, k, self.settings)
