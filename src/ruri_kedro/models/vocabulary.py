"""The vocabulary of a model, changed together with its embeddings: cut to a corpus, or with the tokens of another.

A vocabulary that is cut is SentencePiece's. A unigram tokenizer takes the pieces with the highest sum of
log-probabilities (Kudo, arXiv 1804.10959, Section 3.2).
Pieces that the best split of no text has can be left out, and every text keeps its split. A tokenizer's description is
here the JSON value of its tokenizer.json.
"""

import copy
import json
from collections.abc import Iterable, Mapping, Sequence
from itertools import islice
from typing import Any

import numpy as np
import torch
from sentence_transformers import SentenceTransformer
from tokenizers import Tokenizer
from transformers import PreTrainedTokenizerBase, PreTrainedTokenizerFast

from ruri_kedro.errors import RecipeError
from ruri_kedro.models.added_vocabulary import Initial, added_description, carried_rows, read_description
from ruri_kedro.models.base import ids_below_positions
from ruri_kedro.models.tokens import tokenize

_BATCH = 4096  # texts
_WORD_START = "▁"  # in pieces, for a space before


def cut_vocabulary(model: SentenceTransformer, texts: Iterable[str]) -> SentenceTransformer:
    """The model, changed in place: its tokenizer and embeddings have only the pieces that these texts need.

    The texts are split as before. Other texts are, too, where their pieces are kept; where not, they are split into
    more and shorter ones, since all pieces of a single character stay. Special tokens keep their order and what they
    are for. Raises RecipeError for a tokenizer that is not a unigram one.
    """
    description = describe(model.tokenizer)
    kept = needed_ids(description, used_ids(model.tokenizer, texts), first=ids_below_positions(model))
    rows = model[0].auto_model.get_input_embeddings().weight.detach()[torch.from_numpy(kept)]
    return replace_vocabulary(model, _tokenizer(cut_description(description, kept), model.tokenizer), rows, kept)


def add_vocabulary(
    model: SentenceTransformer,
    other: Mapping[str, Any],
    scripts: Sequence[str] | None = None,
    initial: Initial = "mean",
    seed: int = 0,
) -> SentenceTransformer:
    """The model, changed in place: its tokenizer and embeddings have the tokens of the tokenizer `other` as well.

    other: its description; scripts: as of `added_description`; initial, seed: of the new rows, as of `carried_rows`.
    Tokens that are there keep their ids and rows, so texts without a new token have the vectors that they had. Raises
    RecipeError as `added_description`, and for a tokenizer that is not a fast one.
    """
    tokenizer = model.tokenizer
    if not tokenizer.is_fast:
        raise RecipeError(
            f"base_model.add_vocabulary: the model's tokenizer is {type(tokenizer).__name__}, which has no "
            "tokenizer.json that tokens could be added to. Set it to null."
        )
    first = json.loads(tokenizer.backend_tokenizer.to_str())
    extended = _tokenizer(added_description(first, read_description(other), scripts), tokenizer)
    rows = carried_rows(model[0].auto_model.get_input_embeddings().weight.detach(), tokenizer, extended, initial, seed)
    return replace_vocabulary(model, extended, rows, range(len(tokenizer)))


def describe(tokenizer: PreTrainedTokenizerBase) -> dict[str, Any]:
    """The description of a tokenizer. Raises RecipeError where it is not a unigram one."""
    found = json.loads(tokenizer.backend_tokenizer.to_str()) if tokenizer.is_fast else {"model": {}}
    if (kind := found["model"].get("type")) != "Unigram":
        raise RecipeError(
            f"base_model.vocabulary: corpus, but the model's tokenizer is {kind or type(tokenizer).__name__}, and only "
            "SentencePiece's unigram is cut. Set it to null."
        )
    return found


def used_ids(tokenizer: PreTrainedTokenizerBase, texts: Iterable[str]) -> set[int]:
    """The ids of all pieces that the texts are split into; 4,096 texts are in memory at a time."""
    found: set[int] = set()
    texts = iter(texts)
    while batch := list(islice(texts, _BATCH)):
        found.update(np.unique(tokenize(tokenizer, batch, None, special=False).arrays[0]).tolist())
    return found


def needed_ids(description: Mapping[str, Any], used: Iterable[int], first: int = 0) -> np.ndarray:
    """The ids of the pieces that stay, int64 ascending: the used ones, and those that a tokenizer cannot do without.

    These are special tokens, pieces of a single character or byte, the unlikeliest piece, from which the unigram model
    takes the score of an unknown character, and the `first` ids, which may not change.
    """
    vocabulary = description["model"]["vocab"]
    scores = [score for _, score in vocabulary]
    short = [number for number, (piece, _) in enumerate(vocabulary) if len(piece.removeprefix(_WORD_START)) <= 1]
    in_bytes = [number for number, (piece, _) in enumerate(vocabulary) if _is_byte(piece)]
    unknown = description["model"]["unk_id"]
    kept = {*used, *short, *in_bytes, scores.index(min(scores)), *range(first)}
    kept |= {token["id"] for token in description["added_tokens"]} | ({unknown} - {None})
    return np.array(sorted(kept), np.int64)


def cut_description(description: Mapping[str, Any], kept: Sequence[int] | np.ndarray) -> dict[str, Any]:
    """The description of the tokenizer with the pieces of these ids only; they become 0, 1, 2 and so on."""
    new = {int(old): number for number, old in enumerate(kept)}
    cut = {**copy.deepcopy({key: value for key, value in description.items() if key != "model"}),
           "truncation": None, "padding": None}  # fmt: skip
    vocabulary, unknown = (description["model"][key] for key in ("vocab", "unk_id"))
    cut["model"] = {
        **description["model"],
        "vocab": [vocabulary[old] for old in new if old < len(vocabulary)],
        "unk_id": None if unknown is None else new[unknown],
    }
    for token in cut["added_tokens"]:
        token["id"] = new[token["id"]]
    _renumber(cut["post_processor"] or {}, new)
    return cut


def replace_vocabulary(
    model: SentenceTransformer,
    tokenizer: PreTrainedTokenizerFast,
    rows: torch.Tensor,
    old_ids: Sequence[int] | np.ndarray,
) -> SentenceTransformer:
    """The model, changed in place: this is its tokenizer, its embeddings are `rows` (pieces, width).

    `old_ids` are the ids that the pieces had, by their new ones, as far as they had any.
    """
    new = {int(old): number for number, old in enumerate(old_ids)}
    body = model[0].auto_model
    padding = new.get(body.get_input_embeddings().padding_idx)
    body.set_input_embeddings(torch.nn.Embedding.from_pretrained(rows.clone(), freeze=False, padding_idx=padding))
    body.config.vocab_size = len(rows)
    for key, value in body.config.to_dict().items():
        if key.endswith("_token_id") and isinstance(value, int):
            setattr(body.config, key, new.get(value))
    model[0].processor = tokenizer
    return model


def _tokenizer(description: Mapping[str, Any], like: PreTrainedTokenizerBase) -> PreTrainedTokenizerFast:
    """The described tokenizer with the settings of `like`, of the class that reads tokenizer.json as it is."""
    return PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer.from_str(json.dumps(description)),
        model_max_length=like.model_max_length,
        model_input_names=like.model_input_names,
        padding_side=like.padding_side,
        truncation_side=like.truncation_side,
        clean_up_tokenization_spaces=False,
        **like.special_tokens_map,
    )


def _renumber(processor: Any, new: Mapping[int, int]) -> None:
    """Give the special tokens of a post-processor their new ids, in place."""
    for part in processor.get("processors", ()):  # of a sequence
        _renumber(part, new)
    for token in processor.get("special_tokens", {}).values():  # of a template
        token["ids"] = [new[old] for old in token["ids"]]
    for key in ("cls", "sep"):  # of BERT and RoBERTa: token and id
        if key in processor:
            processor[key][1] = new[processor[key][1]]


def _is_byte(piece: str) -> bool:
    """Whether it is a piece of SentencePiece's byte fallback, as <0x0A>."""
    return len(piece) == 6 and piece.startswith("<0x") and piece.endswith(">")
