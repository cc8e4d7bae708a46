"""What a training has learnt, measured on held-out examples while it goes on."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from heapq import nsmallest

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch
from sentence_transformers import CrossEncoder, SentenceTransformer

from ruri_kedro.models.forward import encode_rows, score_rows
from ruri_kedro.models.layers import train_mode
from ruri_kedro.recipe.objectives import LABELLED
from ruri_kedro.tables import Table
from ruri_kedro.training.data import ANCHOR, POSITIVE, TrainingSet

_DEPTH = 10  # of nDCG

HeldOut = Callable[[], Mapping[str, float]]


def held_out_rows(examples: Table, count: int) -> list[dict]:
    """The held-out examples with the lowest ids: ids are digests, so these are a sample of all sources."""

    def rows() -> Iterator[dict]:
        for batch in examples.batches():
            yield from pa.Table.from_batches([batch]).filter(pc.equal(batch["split"], "validation")).to_pylist()

    return nsmallest(count, rows(), key=lambda row: row["example_id"])


def of_embedder(model: SentenceTransformer, data: TrainingSet, chunk_tokens: int, precision: str) -> HeldOut:
    """Alignment and uniformity of a bi-encoder, and nDCG@10 of anchors searched for among the positives of all.

    Of labelled pairs, which are not positives, Spearman's correlation of cosines and labels.
    """
    # An anchor and a positive that are read alike are one text here, where nothing is dropped out.
    read = [data.tokens.row(text) for text in data.texts[:, (ANCHOR, POSITIVE)].T.flat]
    numbers: dict[bytes, int] = {}
    places = np.array([numbers.setdefault(row.tobytes(), len(numbers)) for row in read])
    distinct = [np.frombuffer(row, np.int32) for row in numbers]
    is_labelled = np.array([objective in LABELLED for objective in data.objectives], bool)[data.groups]
    positives = data.identities[~is_labelled, POSITIVE]
    same = positives[:, None] == positives[None, :]

    def measures() -> dict[str, float]:
        with reading(model):
            vectors = encode_rows(model, distinct, chunk_tokens, precision)
        a, p = vectors[places[: len(data)]], vectors[places[len(data) :]]
        found = {"held_out/uniformity": uniformity(vectors)}
        if is_labelled.any():
            cosines = (a[is_labelled] * p[is_labelled]).sum(axis=1)
            found["held_out/spearman"] = rank_correlation(cosines, data.labels[is_labelled])
        if not is_labelled.all():
            a, p = a[~is_labelled], p[~is_labelled]
            scores = a @ p.T
            found["held_out/alignment"] = alignment(a, p)
            found["held_out/ndcg_at_10"] = ndcg(np.diag(scores), scores, ~same)
        return found

    return measures


def of_reranker(model: CrossEncoder, data: TrainingSet, max_length: int, chunk_tokens: int, precision: str) -> HeldOut:
    """nDCG@10 of a cross-encoder that orders each example's own passages."""
    passages = data.texts[:, POSITIVE:]
    present = passages >= 0
    queries = np.broadcast_to(data.texts[:, ANCHOR, None], passages.shape)

    def measures() -> dict[str, float]:
        scores = np.zeros(passages.shape, np.float32)
        with reading(model):
            scores[present] = score_rows(
                model, data.tokens, queries[present], passages[present], max_length, chunk_tokens, precision=precision
            )
        return {"held_out/ndcg_at_10": ndcg(scores[:, 0], scores[:, 1:], present[:, 1:])}

    return measures


def alignment(anchors: np.ndarray, positives: np.ndarray) -> float:
    """Mean squared distance of normalised pairs, (b, d) each (arXiv 2005.10242, Section 4.1.1, alpha 2)."""
    return float(np.square(anchors - positives).sum(axis=1).mean())


def uniformity(vectors: np.ndarray) -> float:
    """Log of the mean of exp(-2 * squared distance) over pairs of normalised vectors (m, d) (the same, 4.1.2, t 2)."""
    cosines = (vectors @ vectors.T)[np.triu_indices(len(vectors), 1)].astype(np.float64)
    return float(np.log(np.exp(-2 * (2 - 2 * cosines)).mean())) if len(cosines) else 0.0


def rank_correlation(cosines: np.ndarray, labels: np.ndarray) -> float:
    """Spearman's correlation of (b,) cosines and labels; 0 where either are all alike, so that there is no order."""
    from scipy.stats import spearmanr

    return float(spearmanr(cosines, labels).statistic) if np.ptp(cosines) > 0 and np.ptp(labels) > 0 else 0.0


def ndcg(own: np.ndarray, scores: np.ndarray, others: np.ndarray) -> float:
    """Mean nDCG@10 of one relevant passage each, with score `own` (b,), among the `others` (b, c) of `scores` (b, c).

    An equal score counts as a better one, and so does NaN: a model which tells nothing apart gets nothing.
    """
    ranks = (~(scores < own[:, None]) & others).sum(axis=1)
    return float(np.where(ranks < _DEPTH, 1 / np.log2(ranks + 2), 0.0).mean())


@contextmanager
def reading(model: torch.nn.Module) -> Iterator[None]:
    """In this context the model drops nothing out."""
    model.eval()
    try:
        yield
    finally:
        train_mode(model)
