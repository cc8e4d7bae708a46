"""MaxSim, the score of late interaction (ColBERT, arXiv 2004.12832, Eq. 3): for each token of a query its similarity
to the most similar token of a document, summed.

Token vectors of many texts stand one behind the other, without padding: (tokens, d), with the tokens of each text in
`lengths` (texts,). The similarities of all tokens are never in memory together: a block of them is one matrix product,
of which the highest are kept, with their places where a gradient is wanted.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch.autograd.function import once_differentiable

from ruri_kedro.models.onednn import fast_linear
from ruri_kedro.models.tokens import places_of

# Tokens of queries and of documents in a block: 4 MiB of similarities, which stay in the cache of a processor.
_BLOCK = {"cpu": (256, 4096), "cuda": (8192, 16384)}
_LOWEST = -1.0  # cosine; that of every token to a document without tokens


def max_sim(
    queries: torch.Tensor, query_lengths: np.ndarray, documents: torch.Tensor, document_lengths: np.ndarray
) -> torch.Tensor:
    """MaxSim of every query with every document, float32 (queries, documents), with gradient where it is on.

    queries, documents: (tokens, d), of length 1; lengths: (texts,) of each. A query without tokens scores 0, a document
    without tokens -1 for each token of the query.
    """
    asked, given = _BLOCK.get(documents.device.type, _BLOCK["cuda"])
    total = int(query_lengths.sum())
    blocks = [
        _Block(slice(start, min(start + asked, total)), numbers, numbers)
        for numbers in _runs(document_lengths, given)
        for start in range(0, total, asked)
    ]
    return _scores(queries, query_lengths, documents, document_lengths, blocks, len(document_lengths))


def max_sim_of(
    queries: torch.Tensor,
    query_lengths: np.ndarray,
    documents: torch.Tensor,
    document_lengths: np.ndarray,
    candidates: np.ndarray,
) -> torch.Tensor:
    """MaxSim of each query with documents of its own, float32 (queries, c); otherwise as `max_sim`.

    candidates: int64 (queries, c), numbers of documents, -1 for none, which scores 0.
    """
    blocks = []
    for stop, length, numbers in zip(np.cumsum(query_lengths), query_lengths, candidates, strict=True):
        columns = np.flatnonzero(numbers >= 0)
        blocks.append(_Block(slice(int(stop - length), int(stop)), numbers[columns], columns))
    return _scores(queries, query_lengths, documents, document_lengths, blocks, candidates.shape[1])


@dataclass(frozen=True)
class _Block:
    """Some tokens of queries, and the documents that they meet."""

    tokens: slice  # of the queries
    documents: np.ndarray  # int64, numbers
    columns: np.ndarray  # int64, of the scores: one for each of the documents


def _runs(lengths: np.ndarray, budget: int) -> Iterator[np.ndarray]:
    """Numbers of consecutive texts whose lengths add up to at most `budget`; a longer one is alone."""
    start = total = 0
    for number, length in enumerate(lengths.tolist()):
        if number > start and total + length > budget:
            yield np.arange(start, number)
            start, total = number, 0
        total += length
    if start < len(lengths):
        yield np.arange(start, len(lengths))


def _scores(
    queries: torch.Tensor,
    query_lengths: np.ndarray,
    documents: torch.Tensor,
    document_lengths: np.ndarray,
    blocks: Sequence[_Block],
    columns: int,
) -> torch.Tensor:
    wanted = torch.is_grad_enabled() and (queries.requires_grad or documents.requires_grad)
    if wanted:
        best = _Best.apply(queries, documents, document_lengths, blocks, columns)
    else:
        best, _ = _best(queries, documents, document_lengths, blocks, columns, placed=False)
    owners = torch.from_numpy(np.repeat(np.arange(len(query_lengths)), query_lengths)).to(queries.device)
    return best.new_zeros(len(query_lengths), columns).index_add(0, owners, best.T)


class _Best(torch.autograd.Function):
    """The similarity of each token of the queries to the most similar of each column's document, (columns, tokens)."""

    @staticmethod
    def forward(ctx, queries, documents, lengths: np.ndarray, blocks: Iterable[_Block], columns: int) -> torch.Tensor:
        best, places = _best(queries, documents, lengths, blocks, columns, placed=True)
        ctx.save_for_backward(queries, documents, places)
        return best

    @staticmethod
    @once_differentiable
    def backward(ctx, gradient: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, None, None, None]:
        queries, documents, places = ctx.saved_tensors
        of_queries, of_documents = torch.zeros_like(queries), torch.zeros_like(documents)
        for weights, there in zip(gradient, places, strict=True):
            tokens = torch.nonzero(there >= 0)[:, 0]
            rows, factors = there[tokens].long(), weights[tokens, None]
            of_queries.index_add_(0, tokens, factors * documents[rows])
            of_documents.index_add_(0, rows, factors * queries[tokens])
        return of_queries, of_documents, None, None, None


def _best(
    queries: torch.Tensor,
    documents: torch.Tensor,
    lengths: np.ndarray,
    blocks: Iterable[_Block],
    columns: int,
    placed: bool,
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """What `_Best` gives, and with `placed` the tokens of the documents that it is of, int32 (columns, tokens).

    Where a query does not meet a column's document, or that one has no tokens, the place is -1.
    """
    starts = np.cumsum(lengths) - lengths
    best = queries.new_zeros(columns, len(queries))
    places = queries.new_full(best.shape, -1, dtype=torch.int32) if placed else None
    for block in blocks:
        parts = lengths[block.documents].tolist()
        rows = places_of(starts[block.documents], lengths[block.documents])
        with fast_linear(queries.device):
            similar = F.linear(_rows(documents, rows), queries[block.tokens])  # (document tokens, query tokens)
        for column, start, part in zip(block.columns, starts[block.documents], similar.split(parts), strict=True):
            if not len(part):
                best[column, block.tokens] = _LOWEST
            elif places is None:
                torch.amax(part, dim=0, out=best[column, block.tokens])
            else:
                best[column, block.tokens], place = part.max(dim=0)
                places[column, block.tokens] = place + start
    return best, places


def _rows(documents: torch.Tensor, rows: np.ndarray) -> torch.Tensor:
    """These rows of the documents; of consecutive ones no copy."""
    if len(rows) and (np.diff(rows) == 1).all():
        return documents[rows[0] : rows[-1] + 1]
    return documents[torch.from_numpy(rows).to(documents.device)]
