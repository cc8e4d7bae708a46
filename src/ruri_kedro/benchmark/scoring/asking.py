"""How the benchmark asks a model of each kind: with the settings of an evaluation, or as those do who download it.

A model is loaded by `load` when it is first asked. Of `evaluation`, the parameters of this name, a kind reads what it
has a use for: late interaction, whose lengths are the model's own, `chunk_tokens` and `exact_documents`, and `index`,
TokenIndexes, where collections are searched through one.
"""

from collections.abc import Callable, Mapping
from functools import cache, partial
from typing import Any

import numpy as np

from ruri_kedro.benchmark.scoring.models import Embedder, MultiVector, Reranker

Load = Callable[[], Any]


def embedder(name: str, load: Load, prompts: Mapping[str, str], evaluation: Mapping[str, Any]) -> Embedder:
    """A SentenceTransformer, with a prompt for each role of texts."""
    model = cache(load)

    def encoded(texts: list[str], role: str) -> np.ndarray:
        from ruri_kedro.models.forward import encode

        length = evaluation["max_length_of"].get(role, evaluation["max_length"])
        return encode(model(), texts, prompts[role], length, evaluation["chunk_tokens"])

    return Embedder(name, encoded)


def cross_encoder(name: str, load: Load, prompts: Mapping[str, str], evaluation: Mapping[str, Any]) -> Reranker:
    """A CrossEncoder, which has no prompts."""
    model = cache(load)

    def scored(pairs: list[tuple[str, str]]) -> np.ndarray:
        from ruri_kedro.models.forward import score_pairs

        return score_pairs(model(), pairs, evaluation["max_length"], evaluation["chunk_tokens"])

    return Reranker(name, scored)


def multi_vector(name: str, load: Load, prompts: Mapping[str, str], evaluation: Mapping[str, Any]) -> MultiVector:
    """A MultiVectorEncoder; a role without a prompt has the model's own."""

    @cache
    def late() -> Any:
        from ruri_kedro.models.late_interaction import LateInteraction

        return LateInteraction(load(), evaluation["chunk_tokens"], prompts)

    index = evaluation.get("index")
    return MultiVector(
        name,
        lambda pairs: late().score(pairs),
        lambda queries, passages: late().search(queries, passages),
        evaluation["exact_documents"],
        index and partial(index.find, late),
    )


def served_embedder(model: Any) -> Embedder:
    """A loaded SentenceTransformer, by its own method and prompts."""

    def encoded(texts: list[str], role: str) -> np.ndarray:
        prompt = role if role in model.prompts else None
        return model.encode(texts, prompt_name=prompt, normalize_embeddings=True, convert_to_numpy=True)

    return Embedder("model", encoded)


def served_cross_encoder(model: Any) -> Reranker:
    """A loaded CrossEncoder, by its own method."""
    return Reranker("model", model.predict)


def served_multi_vector(model: Any) -> Reranker:
    """A loaded MultiVectorEncoder, by its own methods and prompts."""

    def scored(pairs: list[tuple[str, str]]) -> np.ndarray:
        queries, passages = map(list, zip(*pairs, strict=True))
        scores = model.similarity_pairwise(model.encode_query(queries), model.encode_document(passages))
        return scores.cpu().numpy()

    return Reranker("model", scored)
