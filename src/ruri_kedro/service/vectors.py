"""Routes of vectors and scores, in the forms of OpenAI and text-embeddings-inference."""

import asyncio
import base64
import math
from typing import Any

import numpy as np
from fastapi import APIRouter
from fastapi.responses import JSONResponse

from ruri_kedro.service.checked import checked_query, checked_texts
from ruri_kedro.service.deployment import Served
from ruri_kedro.service.inference import Encoded
from ruri_kedro.service.refusals import Refusal
from ruri_kedro.service.requests import EmbeddingsRequest, EmbedRequest, RerankRequest
from ruri_kedro.service.running import Running, Service

router = APIRouter(tags=["vectors and scores"])


@router.post("/v1/embeddings")
async def embeddings(request: EmbeddingsRequest, service: Running) -> JSONResponse:
    """Vectors of texts, of length 1, in OpenAI's form."""
    served = _of_texts(service.deployment.find(request.model))
    texts = [request.input] if isinstance(request.input, str) else request.input
    encoded = await _encoded(service, served, texts, request.prompt_name)
    if request.dimensions not in (None, len(encoded[0][0])):
        raise Refusal(400, f"dimensions: the vectors of this model have {len(encoded[0][0])}.")
    as_text = request.encoding_format == "base64"
    tokens = sum(count for _, count in encoded)
    return JSONResponse(
        {
            "object": "list",
            "model": served.label,
            "data": [
                {
                    "object": "embedding",
                    "index": number,
                    "embedding": _base64(vector) if as_text else vector.tolist(),
                }
                for number, (vector, _) in enumerate(encoded)
            ],
            "usage": {"prompt_tokens": tokens, "total_tokens": tokens},
        }
    )


@router.post("/embed")
async def embed(request: EmbedRequest, service: Running) -> JSONResponse:
    """Vectors of texts, of length 1, in the form of text-embeddings-inference."""
    served = _of_texts(service.deployment.model)
    texts = [request.inputs] if isinstance(request.inputs, str) else request.inputs
    if not request.normalize:
        raise Refusal(422, "normalize: false, but vectors have length 1 here.")
    if not request.truncate:
        await _check_lengths(service, served, texts, request.prompt_name)
    return JSONResponse([vector.tolist() for vector, _ in await _encoded(service, served, texts, request.prompt_name)])


@router.post("/rerank")
async def rerank(request: RerankRequest, service: Running) -> Any:
    """Texts in the order of their scores for a query, the best first.

    `documents` are answered with {results: [{index, relevance_score}]}, `texts` as by text-embeddings-inference
    with [{index, score}].
    """
    given = request.texts if request.texts is not None else request.documents
    if given is None or None not in (request.texts, request.documents):
        raise Refusal(422, "one of `documents` and `texts` is needed.")
    if not request.truncate:
        raise Refusal(422, "truncate: false, but longer texts are cut here.")
    query, texts = checked_query(request.query, service.settings.limits), checked_texts(given, service.settings.limits)
    served = _scorer(service, request.model)
    scores = await served.score([(query, text) for text in texts])
    # A cross-encoder's logits become probabilities; MaxSim has no such form.
    if served.inference.system == "reranked" and not request.raw_scores:
        scores = [1 / (1 + math.exp(-score)) if score > -700 else 0.0 for score in scores]
    order = sorted(range(len(texts)), key=lambda number: (-scores[number], number))[: request.top_n]
    if request.texts is not None:
        extra = [{"text": texts[i]} if request.return_text else {} for i in order]
        return [{"index": i, "score": scores[i], **more} for i, more in zip(order, extra, strict=True)]
    extra = [{"document": {"text": texts[i]}} if request.return_documents else {} for i in order]
    results = [{"index": i, "relevance_score": scores[i], **more} for i, more in zip(order, extra, strict=True)]
    return {"model": served.label, "results": results}


def _of_texts(served: Served) -> Served:
    if served.inference.system != "dense":
        raise Refusal(400, f"model '{served.label}' has a vector for each token, not one for a text.")
    return served


def _scorer(service: Service, name: str | None) -> Served:
    found = service.deployment.scorer()
    if name not in (None, "champion", found.label) and name not in found.chosen.names:
        raise Refusal(404, f"no such reranker is served. There is: {found.label}.")
    return found


async def _encoded(service: Service, served: Served, texts: list[str], prompt: str | None) -> list[Encoded]:
    return await served.encode(_items(service, served, texts, prompt))


def _items(service: Service, served: Served, texts: list[str], prompt: str | None) -> list[tuple[str, str]]:
    known = served.inference.prompts
    if prompt is not None and prompt not in known:
        raise Refusal(422, f"prompt_name: the model has no such prompt. It has: {', '.join(sorted(known)) or 'none'}.")
    return [(prompt or "", text) for text in checked_texts(texts, service.settings.limits)]


async def _check_lengths(service: Service, served: Served, texts: list[str], prompt: str | None) -> None:
    items = _items(service, served, texts, prompt)
    loop = asyncio.get_running_loop()
    lengths = await loop.run_in_executor(service.loader.pools.models, served.inference.lengths, items)
    if max(lengths) > served.inference.max_length:
        raise Refusal(
            413, f"text {int(np.argmax(lengths))}: {max(lengths)} tokens, allowed are {served.inference.max_length}."
        )


def _base64(vector: np.ndarray) -> str:
    return base64.b64encode(vector.astype("<f4").tobytes()).decode("ascii")
