"""Routes of search: all systems side by side, the tokens behind a score, judgments, blind comparisons."""

import asyncio
from typing import Any

from fastapi import APIRouter

from ruri_kedro.service.checked import checked_count, checked_query
from ruri_kedro.service.deployment import COMPARED
from ruri_kedro.service.judgments import qid_of
from ruri_kedro.service.marks import marks
from ruri_kedro.service.rankings import Ranking
from ruri_kedro.service.refusals import Refusal
from ruri_kedro.service.requests import (
    BlindRequest,
    JudgmentRequest,
    SearchRequest,
    SimilaritiesRequest,
    VoteRequest,
)
from ruri_kedro.service.running import Running, Service

router = APIRouter(tags=["search"])


@router.post("/search")
async def search(request: SearchRequest, service: Running) -> dict[str, Any]:
    """The best documents for a query, by each system."""
    query = checked_query(request.query, service.settings.limits)
    k = checked_count(request.k or service.settings.results, service.settings.limits)
    searching, deployment = service.searching, service.deployment
    models = [deployment.find(request.model)]
    if request.compare:
        models = list(dict.fromkeys([*models, deployment.places.get(COMPARED, models[0])]))
    rankings = await searching.rankings(query, k, models, request.systems)
    documents = await _documents(service, query, rankings, request.texts, request.marks)
    judged = await asyncio.to_thread(service.judgments.of, query)
    return {
        "query": query,
        "qid": qid_of(query),
        "collection": deployment.documents.name,
        "rankings": [
            {
                "system": ranking.system,
                "model": ranking.model,
                "ms": ranking.ms,
                "hits": [
                    {"rank": rank, "docid": docid, "score": score}
                    for rank, (docid, score) in enumerate(ranking.hits, start=1)
                ],
            }
            for ranking in rankings
        ],
        "documents": documents,
        "judgments": judged,
    }


@router.post("/similarities")
async def similarities(request: SimilaritiesRequest, service: Running) -> dict[str, Any]:
    """Cosines of the tokens of a query with those of a document: what MaxSim takes the highest of."""
    query = checked_query(request.query, service.settings.limits)
    served = service.deployment.find(request.model)
    text = service.deployment.documents.text(request.docid)
    if text is None:
        raise Refusal(404, "the collection has no such document.")
    if not hasattr(served.inference, "similarities"):
        raise Refusal(400, f"model '{served.label}' has no vectors of tokens.")
    loop = asyncio.get_running_loop()
    pool = service.loader.pools.models
    return await loop.run_in_executor(pool, served.inference.similarities, query, text)


@router.post("/judgments")
async def judge(request: JudgmentRequest, service: Running) -> dict[str, Any]:
    """Keep what somebody says of a result, in a TREC qrels file."""
    query = checked_query(request.query, service.settings.limits)
    await asyncio.to_thread(service.judgments.judge, query, request.docid, request.relevance)
    return {"qid": qid_of(query), "docid": request.docid, "relevance": request.relevance}


@router.post("/blind")
async def blind(request: BlindRequest, service: Running) -> dict[str, Any]:
    """What each of two models finds, in random order and without names."""
    query = checked_query(request.query, service.settings.limits)
    k = checked_count(request.k or service.settings.results, service.settings.limits)
    searching, deployment = service.searching, service.deployment
    if COMPARED not in deployment.places:
        raise Refusal(400, "two models are needed. Start the service with --with.")
    pair = (deployment.model, deployment.places[COMPARED])
    if pair[0].label == pair[1].label:
        raise Refusal(400, "both models are the same one at present.")
    found = await asyncio.gather(*(searching.of_model(query, k, served) for served in pair))
    by_label = {ranking.model: ranking for ranking in found}
    key, order = service.votes.begin(query, (pair[0].label, pair[1].label))
    sides = [by_label[label] for label in order]
    return {
        "id": key,
        "query": query,
        "left": [docid for docid, _ in sides[0].hits],
        "right": [docid for docid, _ in sides[1].hits],
        "documents": await _documents(service, query, sides, True, True),
    }


@router.post("/blind/vote")
async def vote(request: VoteRequest, service: Running) -> dict[str, Any]:
    """Keep a vote: which model stood where, wins and ties of the two until now, the p-value of the sign test."""
    return await asyncio.to_thread(service.votes.vote, request.id, request.choice)


async def _documents(
    service: Service, query: str, rankings: list[Ranking], with_texts: bool, with_marks: bool
) -> dict[str, Any]:
    """The texts of all hits by docid, and where the query's words are in them."""
    if not with_texts:
        return {}
    docids = dict.fromkeys(docid for ranking in rankings for docid, _ in ranking.hits)
    texts = {docid: service.deployment.documents.text(docid) or "" for docid in docids}
    marked: dict[str, list[tuple[int, int]]] = {}
    if with_marks:
        loop = asyncio.get_running_loop()
        marked = await loop.run_in_executor(service.loader.pools.words, marks, query, texts)
    return {docid: {"text": text, "marks": marked.get(docid, [])} for docid, text in texts.items()}
