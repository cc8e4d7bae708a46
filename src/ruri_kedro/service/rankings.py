"""What each system finds for a query: BM25, the models, both fused, and the first of these reranked."""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass

from ruri_kedro.search.fusion import reciprocal_rank_fusion
from ruri_kedro.search.retriever import Hits
from ruri_kedro.service.deployment import RERANKER, Deployment, Pools, Served
from ruri_kedro.service.inference import QUERY
from ruri_kedro.service.refusals import Refusal
from ruri_kedro.service.settings import ServiceSettings

BM25, FUSED, RERANKED = "bm25", "fused", "reranked"


@dataclass(frozen=True)
class Ranking:
    """Hits of a system, best first; `ms`: milliseconds from the search's start until they were there."""

    system: str
    model: str | None
    hits: Hits
    ms: float


@dataclass(frozen=True)
class Searching:
    """One search after another in a deployment."""

    deployment: Deployment
    pools: Pools
    settings: ServiceSettings

    async def rankings(
        self, query: str, k: int, models: Sequence[Served], systems: Sequence[str] | None = None
    ) -> list[Ranking]:
        """The `k` best of each of the `systems`, by default of all that there are, for these models.

        Raises Refusal (404), with the list, for a system that there is not.
        """
        wanted = self._checked(systems, models)
        start = time.perf_counter()
        depth = max(self.settings.depth, k)
        needs_words = bool(wanted & {BM25, FUSED, RERANKED})
        words, *own = await asyncio.gather(
            self._words(query, depth, start) if needs_words else _nothing(),
            *(self.of_model(query, depth, served, start) for served in models),
        )
        found = [words] if BM25 in wanted else []
        for served, ranking in zip(models, own, strict=True):
            if served.inference.system in wanted:
                found.append(ranking)
            if wanted & {FUSED, RERANKED}:
                docids = [[docid for docid, _ in each.hits] for each in (words, ranking)]
                hits = reciprocal_rank_fusion(docids, self.settings.rrf_k)[:depth]
                fused = Ranking(FUSED, served.label, hits, _ms(start))
                found += [fused] if FUSED in wanted else []
                if RERANKED in wanted:
                    found.append(await self._reranked(query, fused, start))
        return [Ranking(each.system, each.model, each.hits[:k], each.ms) for each in found]

    async def of_model(self, query: str, k: int, served: Served, start: float | None = None) -> Ranking:
        """What a model finds by itself."""
        start = time.perf_counter() if start is None else start
        [(vector, _)] = await served.encode([(QUERY, query)])
        loop = asyncio.get_running_loop()
        [hits] = await loop.run_in_executor(self.pools.vectors, served.search, [vector], k)
        return Ranking(served.inference.system, served.label, hits, _ms(start))

    def systems(self, models: Sequence[Served]) -> list[str]:
        """The systems that there are."""
        own = list(dict.fromkeys(served.inference.system for served in models))
        return [BM25, *own, FUSED, *([RERANKED] if RERANKER in self.deployment.places else [])]

    def _checked(self, systems: Sequence[str] | None, models: Sequence[Served]) -> set[str]:
        there = self.systems(models)
        if systems is not None and not set(systems) <= set(there):
            raise Refusal(404, f"no such system is served. There are: {', '.join(there)}.")
        return set(there if systems is None else systems)

    async def _words(self, query: str, k: int, start: float) -> Ranking:
        loop = asyncio.get_running_loop()
        [hits] = await loop.run_in_executor(self.pools.words, self.deployment.bm25, [query], k)
        return Ranking(BM25, None, hits, _ms(start))

    async def _reranked(self, query: str, fused: Ranking, start: float) -> Ranking:
        docids = [docid for docid, _ in fused.hits[: self.settings.candidates]]
        pairs = [(query, self.deployment.documents.text(docid) or "") for docid in docids]
        scores = await self.deployment.places[RERANKER].score(pairs) if pairs else []
        hits = sorted(zip(docids, scores, strict=True), key=lambda hit: (-hit[1], hit[0]))
        return Ranking(RERANKED, fused.model, hits, _ms(start))


async def _nothing() -> None:
    return None


def _ms(start: float) -> float:
    return round(1000 * (time.perf_counter() - start), 2)
