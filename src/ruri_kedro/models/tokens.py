"""Token ids, made once: ragged rows, padding, and chunks cut by a budget of tokens."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from transformers import PreTrainedTokenizerBase

_BATCH = 4096
_MULTIPLE = 8  # tensor cores want it as well
_PASS_TOKENS = 24  # that one more forward pass on a CPU takes as long as: two threads, width 384, four layers


def _none() -> np.ndarray:
    return np.zeros(0, np.int32)


@dataclass(frozen=True)
class TokenRows:
    """Token ids of many texts. Each text's ids stand in one of several arrays, which may be mapped from disk."""

    arrays: Sequence[np.ndarray]  # int32, the ids of many texts one after the other, uncut and without special tokens
    places: np.ndarray  # int32 (rows,), which of the arrays
    starts: np.ndarray  # int64 (rows,)
    lengths: np.ndarray  # int64 (rows,), tokens of a row as a model reads it: cut, and with special tokens
    before: np.ndarray = field(default_factory=_none)  # special tokens of every row
    after: np.ndarray = field(default_factory=_none)

    def row(self, index: int) -> np.ndarray:
        """Ids of one row."""
        start, length = self.starts[index], self.lengths[index] - len(self.before) - len(self.after)
        ids = self.arrays[self.places[index]][start : start + length]
        return np.concatenate([self.before, ids, self.after]) if len(self.before) or len(self.after) else ids

    @staticmethod
    def of(rows: Sequence[np.ndarray | list[int]]) -> "TokenRows":
        """Rows put one after the other in memory."""
        lengths = np.fromiter(map(len, rows), np.int64, len(rows))
        ids = np.concatenate([np.asarray(row, dtype=np.int32) for row in rows]) if rows else _none()
        return TokenRows([ids], np.zeros(len(rows), np.int32), np.cumsum(lengths) - lengths, lengths)


def tokenize(
    tokenizer: PreTrainedTokenizerBase, texts: Sequence[str], max_length: int | None, special: bool = True
) -> TokenRows:
    """Token ids of the texts, cut to `max_length` tokens, with the model's special tokens unless told otherwise."""
    rows: list[list[int]] = []
    for start in range(0, len(texts), _BATCH):
        encoded = tokenizer(
            list(texts[start : start + _BATCH]),
            truncation=max_length is not None,
            max_length=max_length,
            add_special_tokens=special,
            return_attention_mask=False,
            return_token_type_ids=False,
            verbose=False,  # texts longer than the model are cut where pairs are joined
        )
        rows.extend(encoded["input_ids"])
    return TokenRows.of(rows)


def padded_length(longest: int, limit: int | None = None) -> int:
    """Tokens that rows, the longest of `longest`, are padded to: a multiple of 8, unless a `limit` is in between.

    So the shapes of chunks are few. oneDNN makes code for each and keeps it, and memory that one chunk frees fits the
    next: two steps of 4,096 pairs take 1.0 GiB, 1.9 with every length.
    """
    return max(longest, min(-(-longest // _MULTIPLE) * _MULTIPLE, limit or np.iinfo(np.int64).max))


def forward_chunks(lengths: np.ndarray, budget: int, device: torch.device) -> list[np.ndarray]:
    """Positions of `lengths` of each forward pass: on a CPU padding takes time, on a GPU passes do.

    64 questions and their passages in passes of 4,096 tokens: 30% of the tokens are padding, or 5% in 6 passes.
    """
    on_cpu = device.type == "cpu"
    return chunk_by_padding(lengths, budget, _PASS_TOKENS) if on_cpu else chunk_by_tokens(lengths, budget)


def chunk_by_tokens(lengths: np.ndarray, budget: int) -> list[np.ndarray]:
    """Positions of `lengths`, longest first, cut into chunks of at most `budget` tokens after padding.

    A row longer than the budget is a chunk of its own. Ties keep their order, so the chunks are a function of the
    lengths.
    """
    order = np.argsort(-lengths, kind="stable")
    chunks: list[np.ndarray] = []
    start = 0
    while start < len(order):
        longest = max(padded_length(int(lengths[order[start]])), 1)
        stop = start + max(budget // longest, 1)
        chunks.append(order[start:stop])
        start = stop
    return chunks


def chunk_by_padding(lengths: np.ndarray, budget: int, per_chunk: int) -> list[np.ndarray]:
    """As `chunk_by_tokens`, but with more chunks where those have less padding: of few texts of very unlike lengths.

    The sum of the padded tokens, with `per_chunk` tokens more for each chunk, is the smallest that there is (dynamic
    programming over the rows in order of length). Takes time quadratic in the rows of a chunk.
    """
    order = np.argsort(-lengths, kind="stable")
    padded = [max(padded_length(length), 1) for length in lengths[order].tolist()]
    least = [0]  # cost of the first rows, by their number
    starts = []  # where the last chunk of these begins
    for stop in range(1, len(padded) + 1):
        cost, start = least[stop - 1] + padded[stop - 1] + per_chunk, stop - 1
        for first in range(stop - 2, -1, -1):
            tokens = padded[first] * (stop - first)
            if tokens > budget:
                break
            if least[first] + tokens + per_chunk < cost:
                cost, start = least[first] + tokens + per_chunk, first
        least.append(cost)
        starts.append(start)
    chunks, stop = [], len(padded)
    while stop:
        chunks.append(order[starts[stop - 1] : stop])
        stop = starts[stop - 1]
    return chunks[::-1]


def pad(
    rows: Sequence[np.ndarray], pad_id: int, limit: int | None, device: torch.device | str = "cpu"
) -> dict[str, torch.Tensor]:
    """`input_ids` and `attention_mask`, int64 (rows, padded_length); `limit`: tokens that the model can read."""
    lengths = np.fromiter((len(row) for row in rows), dtype=np.int64, count=len(rows))
    mask = np.arange(padded_length(int(lengths.max()), limit)) < lengths[:, None]
    ids = np.full(mask.shape, pad_id, dtype=np.int64)
    ids[mask] = np.concatenate(rows)
    features = {"input_ids": torch.from_numpy(ids), "attention_mask": torch.from_numpy(mask.astype(np.int64))}
    return {name: tensor.to(device, non_blocking=True) for name, tensor in features.items()}


def places_of(starts: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """Rows of the tokens of texts that begin at `starts` and have `lengths`, int64 (sum of the lengths,)."""
    inside = np.arange(int(lengths.sum())) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    return np.repeat(starts, lengths) + inside
