"""Token ids of (query, passage) pairs for cross-encoders, put together from texts that were tokenised once."""

from dataclasses import dataclass

import numpy as np
import torch
from transformers import PreTrainedTokenizerBase

from ruri_kedro.models.tokens import pad


@dataclass(frozen=True)
class PairLayout:
    """The special tokens a tokenizer puts before, between and after two texts, and its token types if it has any."""

    before: np.ndarray
    between: np.ndarray
    after: np.ndarray
    pad_id: int
    has_types: bool
    is_fast: bool  # tokenizers in Rust halve two long texts another way than those in Python

    @staticmethod
    def of(tokenizer: PreTrainedTokenizerBase) -> "PairLayout":
        """Read off the tokenizer's own encoding of one pair."""
        first, second = (tokenizer(text, add_special_tokens=False)["input_ids"] for text in ("あ", "い"))
        encoded = tokenizer("あ", "い")
        ids = encoded["input_ids"]
        start = next(i for i in range(len(ids)) if ids[i : i + len(first)] == first)
        middle = next(i for i in range(start + len(first), len(ids)) if ids[i : i + len(second)] == second)
        return PairLayout(
            before=np.asarray(ids[:start], np.int32),
            between=np.asarray(ids[start + len(first) : middle], np.int32),
            after=np.asarray(ids[middle + len(second) :], np.int32),
            pad_id=tokenizer.pad_token_id,
            has_types="token_type_ids" in tokenizer.model_input_names,
            is_fast=tokenizer.is_fast,
        )

    def lengths(self, query: np.ndarray, passage: np.ndarray, max_length: int) -> np.ndarray:
        """Tokens of each pair after truncation, given the tokens of its two texts."""
        special = len(self.before) + len(self.between) + len(self.after)
        return np.minimum(query + passage + special, max_length)

    def join(self, query: np.ndarray, passage: np.ndarray, max_length: int) -> tuple[np.ndarray, int]:
        """Ids of one pair and where its second part begins. The longer text is cut first, token by token."""
        room = max_length - len(self.before) - len(self.between) - len(self.after)
        excess = len(query) + len(passage) - room
        if excess > 0:
            query, passage = _cut_longest_first(query, passage, room, self.is_fast)
        head = np.concatenate([self.before, query, self.between])
        return np.concatenate([head, passage, self.after]), len(head)

    def features(
        self, pairs: list[tuple[np.ndarray, np.ndarray]], max_length: int, device: torch.device | str
    ) -> dict[str, torch.Tensor]:
        """Padded model inputs of the pairs, int64 (pairs, padded_length)."""
        joined = [self.join(query, passage, max_length) for query, passage in pairs]
        features = pad([ids for ids, _ in joined], self.pad_id, max_length, device)
        if self.has_types:
            starts = torch.tensor([start for _, start in joined]).to(device, non_blocking=True)
            positions = torch.arange(features["input_ids"].shape[1], device=device)
            types = (positions >= starts[:, None]) & (features["attention_mask"] > 0)
            features["token_type_ids"] = types.long()
        return features


def _cut_longest_first(
    query: np.ndarray, passage: np.ndarray, room: int, is_fast: bool
) -> tuple[np.ndarray, np.ndarray]:
    """What the "longest_first" truncation of the tokenizer leaves of two texts."""
    shorter = min(len(query), len(passage))
    if shorter * 2 <= room:
        keep = room - shorter
        return (query, passage[:keep]) if len(query) <= len(passage) else (query[:keep], passage)
    to_query = not is_fast or len(query) > len(passage)  # the odd token
    share = room - room // 2 if to_query else room // 2
    return query[:share], passage[: room - share]
