"""What is served at a moment, and how another model takes the place of one without a pause."""

import logging
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from ruri_kedro.errors import RecipeError
from ruri_kedro.recipe.addresses import resolve
from ruri_kedro.search.bm25.index import BM25Settings
from ruri_kedro.search.multi_vector.settings import MultiVectorSettings
from ruri_kedro.search.retriever import Hits
from ruri_kedro.service.batching import Batcher
from ruri_kedro.service.indexes import Search, bm25_index
from ruri_kedro.service.metrics import Metrics
from ruri_kedro.service.refusals import Refusal
from ruri_kedro.service.selection import Chosen
from ruri_kedro.service.settings import ServiceSettings
from ruri_kedro.service.stored_documents import Documents

logger = logging.getLogger(__name__)

MODEL, COMPARED, RERANKER = "model", "compared", "reranker"  # places
CHAMPION = "champion"  # what a request may call the model that is served


@dataclass(frozen=True)
class Served:
    """A model in a place of the service; `search` of one that searches, `encode` and `score` of one that does that."""

    chosen: Chosen
    digest: str
    inference: Any
    search: Search | None
    encode: Batcher | None
    score: Batcher | None

    @property
    def label(self) -> str:
        """What it is called in answers."""
        return self.chosen.label


@dataclass(frozen=True)
class Deployment:
    """A collection, its index of words, and models by place."""

    documents: Documents
    bm25: Callable[[list[str], int], list[Hits]]
    places: Mapping[str, Served]

    @property
    def model(self) -> Served:
        """The one that answers where a request names none."""
        return self.places[MODEL]

    def labels(self) -> dict[str, str]:
        """What each model is called, by place."""
        return {place: served.label for place, served in self.places.items()}

    def find(self, name: str | None) -> Served:
        """The model that a request names. Raises Refusal (404), with the list, for another one."""
        if name in (None, CHAMPION):
            return self.model
        candidates = [self.places[place] for place in (MODEL, COMPARED) if place in self.places]
        for served in candidates:
            if name == served.label or name in served.chosen.names:
                return served
        there = [CHAMPION, *(served.label for served in candidates)]
        raise Refusal(404, f"no such model is served. There are: {', '.join(dict.fromkeys(there))}.")

    def scorer(self) -> Served:
        """The model that orders texts: the reranker, else one of late interaction. Raises Refusal (404) without one."""
        for place in (RERANKER, MODEL, COMPARED):
            if place in self.places and self.places[place].score is not None:
                return self.places[place]
        raise Refusal(404, "no reranker is served.")


def _set_threads(threads: int) -> None:
    import torch

    torch.set_num_threads(threads)


@dataclass
class Pools:
    """Threads, one for each kind of work: BM25 and words, search among vectors, forward passes."""

    threads: int
    words: ThreadPoolExecutor = field(default_factory=partial(ThreadPoolExecutor, 1, "words"))
    vectors: ThreadPoolExecutor = field(default_factory=partial(ThreadPoolExecutor, 1, "vectors"))
    models: ThreadPoolExecutor = field(init=False)

    def __post_init__(self) -> None:
        self.models = ThreadPoolExecutor(1, "models", _set_threads, (self.threads,))

    def close(self) -> None:
        """End the threads; what has not begun is dropped."""
        for pool in (self.words, self.vectors, self.models):
            pool.shutdown(wait=False, cancel_futures=True)


@dataclass(frozen=True)
class Loader:
    """Makes a deployment of chosen models: loads them, and builds or opens their indexes."""

    documents: Documents
    bm25: BM25Settings
    tokens: MultiVectorSettings
    settings: ServiceSettings
    root: Path  # of the indexes
    pools: Pools
    metrics: Metrics

    def load(self, chosen: Mapping[str, Chosen], before: Deployment | None = None) -> Deployment:
        """What is chosen, by place; models of `before` are kept where they are the same. It may take long."""
        # The words' own thread opens their index: Lucene wants each thread to be known to it. Java starts meanwhile.
        opening = None if before else self.pools.words.submit(bm25_index, self.documents, self.bm25)
        _set_threads(self.settings.threads)
        there = {served.chosen.reference: served for served in before.places.values()} if before else {}
        places: dict[str, Served] = {}
        for place, one in chosen.items():
            old = there.get(one.reference)
            searches = place != RERANKER
            if old is not None and (old.search is not None) == searches:
                places[place] = Served(one, old.digest, old.inference, old.search, old.encode, old.score)
            else:
                places[place] = self._served(one, searches)
        return Deployment(self.documents, before.bm25 if before else opening.result(), places)

    def _served(self, chosen: Chosen, searches: bool) -> Served:
        saved, kind = chosen.open(self.settings.device)
        inference = resolve(kind.inference)(saved, self.settings)
        if searches and not hasattr(inference, "encode"):
            raise RecipeError(f"model '{chosen.label}' scores pairs and cannot search. Give it as --reranker.")
        if not searches and not hasattr(inference, "score"):
            raise RecipeError(f"model '{chosen.label}' gives no scores for pairs. Give it as --model or --with.")
        search = inference.index(self.documents, self.root, self.tokens) if searches else None
        encode, score = (self._batcher(inference, deed) for deed in ("encode", "score"))
        served = Served(chosen, saved.revision, inference, search, encode, score)
        # The first pass of a model is slow; nobody is to wait for it.
        warm = (
            partial(inference.encode, [("query", "東京")]) if searches else partial(inference.score, [("東京", "京都")])
        )
        self.pools.models.submit(warm).result()
        return served

    def _batcher(self, inference: Any, deed: str) -> Batcher | None:
        if not hasattr(inference, deed):
            return None
        told = partial(self.metrics.batch, deed)
        return Batcher(
            getattr(inference, deed), self.settings.batch, self.settings.limits.waiting, self.pools.models, told
        )
