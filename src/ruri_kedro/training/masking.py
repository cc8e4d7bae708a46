"""Texts as blocks of tokens, and which of them are to be guessed (BERT, arXiv 1810.04805, Section 3.1)."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from transformers import PreTrainedTokenizerBase

from ruri_kedro.errors import RecipeError
from ruri_kedro.models.masked import word_starts
from ruri_kedro.models.tokens import TokenRows

_MASKED, _REPLACED = 0.8, 0.1  # of the tokens to be guessed; the rest stays


def packed(tokens: TokenRows, order: Sequence[int] | np.ndarray, length: int) -> list[np.ndarray]:
    """The rows one behind the other in this order, cut into blocks of `length` tokens, int32.

    Each row has its special tokens, so that a block shows where a text begins. What is left at the end is in no block,
    unless there is no other.
    """
    stream = np.concatenate([tokens.row(row) for row in order]) if len(order) else np.zeros(0, np.int32)
    length = min(length, len(stream))
    return [stream[start : start + length] for start in range(0, len(stream) - length + 1, length)] if length else []


@dataclass(frozen=True)
class Masking:
    """How tokens are hidden. ids: of the tokenizer."""

    share: float  # of the tokens of a block that are no special ones
    max_word_pieces: int  # a longer word is hidden piece by piece
    mask_id: int
    starts: np.ndarray  # bool by id, whether a token begins a word
    special: np.ndarray  # bool by id

    @staticmethod
    def of(tokenizer: PreTrainedTokenizerBase, share: float, max_word_pieces: int) -> "Masking":
        """Raises RecipeError for a tokenizer without a mask."""
        if tokenizer.mask_token_id is None:
            raise RecipeError("adaptation: the model's tokenizer has no mask. Take no source into this stage.")
        starts = word_starts(tokenizer)
        special = np.zeros(len(starts), bool)
        special[tokenizer.all_special_ids] = True
        return Masking(share, max_word_pieces, tokenizer.mask_token_id, starts, special)

    def hide(self, block: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """The block as the model reads it, and the places, ascending, whose tokens it has to guess.

        Words are taken in random order until `share` of the tokens are; one that would exceed it is passed over. At
        least one token is taken, unless all are special.
        """
        words = self._words(block)
        budget = max(round(self.share * sum(map(len, words))), 1)
        taken: list[int] = []
        for number in rng.permutation(len(words)):
            if len(taken) + len(words[number]) <= budget:
                taken += words[number].tolist()
        if not taken and words:
            taken = [int(words[0][0])]
        places = np.sort(np.array(taken, np.int64))
        draws, others = rng.random(len(places)), rng.choice(np.flatnonzero(~self.special), len(places))
        seen = block.copy()
        seen[places[draws < _MASKED]] = self.mask_id
        replaced = (draws >= _MASKED) & (draws < _MASKED + _REPLACED)
        seen[places[replaced]] = others[replaced]
        return seen, places

    def _words(self, block: np.ndarray) -> list[np.ndarray]:
        """The places of each word; special tokens are in none."""
        special = self.special[block]
        begins = self.starts[block] | special | np.concatenate([[True], special[:-1]])
        words = np.split(np.arange(len(block)), np.flatnonzero(begins)[1:])
        kept = [word for word in words if not special[word[0]]]
        return [part for word in kept for part in ([word] if len(word) <= self.max_word_pieces else word[:, None])]
