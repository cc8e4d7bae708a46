"""Tokens of a second tokenizer added to a first one, and the rows that they have in the weights of a model.

Both tokenizers are of one kind: WordPiece, BPE or SentencePiece's unigram. A text without a letter of the scripts that
are asked for is split as before: no new token fits into it. A tokenizer's description is the JSON value of its
tokenizer.json.
"""

import copy
import json
import unicodedata
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import count, pairwise
from typing import Any, Literal

import torch
from tokenizers import Tokenizer, decoders
from transformers import PreTrainedTokenizerBase

from ruri_kedro.errors import RecipeError

Initial = Literal["mean", "random"]

_MARKS = "▁ "  # a space before a word, of SentencePiece and of a decoded token
_SPACE_BYTE = "Ġ"  # in tokens of bytes


def read_description(tokenizer: Mapping[str, Any]) -> dict[str, Any]:
    """A description as the installed version of tokenizers writes it: older ones wrote merges in another form."""
    return json.loads(Tokenizer.from_str(json.dumps(tokenizer)).to_str())


def added_description(
    first: Mapping[str, Any], second: Mapping[str, Any], scripts: Sequence[str] | None = None
) -> dict[str, Any]:
    """The description of `first` with the tokens of `second` that it has not, behind its own; no id changes.

    scripts: a token is added if it has letters and all of them are of these, by the first word of a character's name
    in Unicode, as Cyrillic or Latin; None: every token is. Tokens that no normalised text contains are left out.
    Raises RecipeError for tokenizers of different kinds, and where nothing is to be added.
    """
    kind, other = (description["model"].get("type") for description in (first, second))
    if kind not in _ADDERS or other != kind:
        raise RecipeError(
            f"base_model.add_vocabulary: the model's tokenizer is {kind}, the one whose tokens are added {other}. "
            f"Both must be of one kind: {', '.join(_ADDERS)}."
        )
    wanted = _wanted(first, second, scripts)
    if not wanted:
        of = f" of letters of {', '.join(scripts)}" if scripts else ""
        raise RecipeError(
            f"base_model.add_vocabulary: the other tokenizer has no token{of} that the model's own has not. Correct "
            "scripts, such as Cyrillic or Latin, or set add_vocabulary to null."
        )
    made = {**copy.deepcopy(dict(first)), "truncation": None, "padding": None}
    _ADDERS[kind](made["model"], second["model"], wanted, _first_free_id(first))
    return made


def _first_free_id(description: Mapping[str, Any]) -> int:
    """The id behind those of all tokens. Raises RecipeError where pieces, whose place is their id, cannot go on."""
    tokens, added = _tokens(description), [token["id"] for token in description["added_tokens"]]
    vocabulary = description["model"]["vocab"]
    last = max([*(vocabulary.values() if isinstance(vocabulary, Mapping) else [len(tokens) - 1]), *added])
    if not isinstance(vocabulary, Mapping) and last >= len(tokens):
        raise RecipeError(
            "base_model.add_vocabulary: special tokens of the model's tokenizer stand behind its pieces, so that none "
            "can be added. Set it to null."
        )
    return last + 1


def _wanted(first: Mapping[str, Any], second: Mapping[str, Any], scripts: Sequence[str] | None) -> list[str]:
    """The tokens to add as `first` would write them, in the order of `second`."""
    known, special = set(_tokens(first)), {token["content"] for token in second["added_tokens"]}
    read, normalizer = _reader(second), Tokenizer.from_str(json.dumps(first)).normalizer
    begins = [script.upper() for script in scripts] if scripts is not None else None
    found = []
    for token in _tokens(second):
        text = read(token).strip(_MARKS)
        if token in special or not text or not _is_of(text, begins):
            continue
        if normalizer is not None and normalizer.normalize_str(text).strip(_MARKS) != text:
            continue
        if (written := _rewritten(token, first, second)) not in known:
            found.append(written)
    return list(dict.fromkeys(found))


def _is_of(text: str, scripts: Sequence[str] | None) -> bool:
    """Whether a text has letters and all of them are of these scripts; any text where none are given."""
    if scripts is None:
        return True
    letters = [character for character in text if character.isalpha()]
    return bool(letters) and all(unicodedata.name(letter, "").split(" ")[0] in scripts for letter in letters)


def _tokens(description: Mapping[str, Any]) -> list[str]:
    """The tokens of a tokenizer's model, in the order of their ids."""
    vocabulary = description["model"]["vocab"]
    if isinstance(vocabulary, Mapping):
        return sorted(vocabulary, key=vocabulary.__getitem__)
    return [piece for piece, _ in vocabulary]


def _reader(description: Mapping[str, Any]) -> Callable[[str], str]:
    """From a token to the text that it stands for."""
    if _is_byte_level(description.get("pre_tokenizer")):
        decoder = decoders.ByteLevel()
        return lambda token: decoder.decode([token])
    prefix = description["model"].get("continuing_subword_prefix") or ""
    return lambda token: token.removeprefix(prefix)


def _is_byte_level(part: Mapping[str, Any] | None) -> bool:
    """Whether a pre-tokenizer turns texts into bytes."""
    if not part:
        return False
    return part["type"] == "ByteLevel" or any(map(_is_byte_level, part.get("pretokenizers", ())))


def _rewritten(token: str, first: Mapping[str, Any], second: Mapping[str, Any]) -> str:
    """A token of the second tokenizer with the first one's mark of a piece that begins no word."""
    own, other = (description["model"].get("continuing_subword_prefix") or "" for description in (first, second))
    return own + token.removeprefix(other) if other and token.startswith(other) else token


def _add_pieces(model: dict[str, Any], other: Mapping[str, Any], wanted: Sequence[str], free: int) -> None:
    """To a unigram model; the score of an unknown character, which goes by the lowest of all, stays."""
    scores, lowest = dict(other["vocab"]), min(score for _, score in model["vocab"])
    model["vocab"] += [[piece, max(scores[piece], lowest)] for piece in wanted]


def _add_words(model: dict[str, Any], other: Mapping[str, Any], wanted: Sequence[str], free: int) -> None:
    """To WordPiece, which takes the longest that fits."""
    model["vocab"] |= dict(zip(wanted, count(free), strict=False))


def _add_merges(model: dict[str, Any], other: Mapping[str, Any], wanted: Sequence[str], free: int) -> None:
    """To BPE, whose own merges go first: a wanted token is merged from the pieces that all merges before it leave.

    The other tokenizer's own merges would not do: theirs are of pieces that the first one's may have merged otherwise.
    """
    ranks = {tuple(pair): rank for rank, pair in enumerate(model["merges"])}
    for token in wanted:
        pieces = _merged(list(token), ranks)
        while len(pieces) > 1 and (pieces[0] + pieces[1]).strip(_MARKS + _SPACE_BYTE):
            ranks.setdefault((pieces[0], pieces[1]), len(ranks))
            pieces = [pieces[0] + pieces[1], *pieces[2:]]
            if pieces[0] not in model["vocab"]:
                model["vocab"][pieces[0]] = free
                free += 1
    model["merges"] = [list(pair) for pair in ranks]


def _merged(pieces: list[str], ranks: Mapping[tuple[str, str], int]) -> list[str]:
    """What BPE makes of characters: always the pair of the lowest rank is merged (Sennrich, arXiv 1508.07909)."""
    while len(pieces) > 1:
        pairs = list(pairwise(pieces))
        best = min(range(len(pairs)), key=lambda place: ranks.get(pairs[place], len(ranks)))
        if pairs[best] not in ranks:
            break
        pieces = [*pieces[:best], "".join(pairs[best]), *pieces[best + 2 :]]
    return pieces


_ADDERS = {"Unigram": _add_pieces, "WordPiece": _add_words, "BPE": _add_merges}


def carried_rows(
    rows: torch.Tensor, old: PreTrainedTokenizerBase, new: PreTrainedTokenizerBase, initial: Initial, seed: int
) -> torch.Tensor:
    """Rows (tokens of `new`, ...) in place of `rows` (tokens of `old` or more, ...), such as embeddings or biases.

    A token that `old` has keeps its row. The others begin with the mean of the rows of the tokens by which `old` spells
    them, of all where it knows none of their characters; or, `initial` random, with draws from a normal distribution
    that has mean and deviation of the rows.
    """
    known, tokens = old.get_vocab(), new.get_vocab()
    made = torch.empty((max(tokens.values()) + 1, *rows.shape[1:]), dtype=rows.dtype)
    own = rows[: len(known)]
    mean = own.mean(dim=0)
    if initial == "random":
        draws = torch.randn(made.shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float32)
        made[:] = mean + own.std(dim=0) * draws.to(rows.dtype)
    elif missing := tokens.keys() - known.keys():
        spell = _speller(old)
        for token in missing:
            spelt = spell(token)
            made[tokens[token]] = rows[spelt].mean(dim=0) if spelt else mean
    kept = [token for token in tokens if token in known]
    made[[tokens[token] for token in kept]] = rows[[known[token] for token in kept]]
    return made


def _speller(tokenizer: PreTrainedTokenizerBase) -> Callable[[str], list[int]]:
    """From a token of another tokenizer to the ids of the tokens by which this one spells it, without the unknown."""
    backend = tokenizer.backend_tokenizer
    prefix = getattr(backend.model, "continuing_subword_prefix", None) or ""
    vocabulary, unknown = tokenizer.get_vocab(), tokenizer.unk_token_id

    def spell(token: str) -> list[int]:
        if prefix and token.startswith(prefix):
            return list(_longest(token.removeprefix(prefix), prefix, vocabulary))
        return [part.id for part in backend.model.tokenize(token) if part.id != unknown]

    return spell


def _longest(text: str, prefix: str, vocabulary: Mapping[str, int]) -> Iterable[int]:
    """The ids of WordPiece for the rest of a word: always the longest token that fits; none for what none fits."""
    while text:
        fitting = (size for size in range(len(text), 0, -1) if prefix + text[:size] in vocabulary)
        size = next(fitting, 0)
        if size:
            yield vocabulary[prefix + text[:size]]
        text = text[max(size, 1) :]
