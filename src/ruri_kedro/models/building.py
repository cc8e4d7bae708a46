"""Base models: an encoder that a recipe names, made smaller where it says so, or a tiny one built from texts."""

from collections.abc import Callable, Iterable, Mapping
from itertools import chain
from pathlib import Path

from sentence_transformers import SentenceTransformer

from ruri_kedro.errors import RecipeError
from ruri_kedro.models.base import build_encoder, load_base, with_unit_vectors
from ruri_kedro.models.checkpoint import read_config
from ruri_kedro.models.layers import keep_layers
from ruri_kedro.models.settings import AddedVocabulary, BaseModelSettings
from ruri_kedro.models.vocabulary import add_vocabulary, cut_vocabulary

Texts = Callable[[], Iterable[str]]  # those of the corpus, anew at each call


def build_embedder(
    texts: Texts, settings: BaseModelSettings, prompts: Mapping[str, str], seed: int
) -> SentenceTransformer:
    """The encoder that `base_model` names, or a tiny one built from the texts; its vectors have length 1."""
    return with_unit_vectors(base_encoder(texts, settings, prompts, seed))


def base_encoder(
    texts: Texts, settings: BaseModelSettings, prompts: Mapping[str, str], seed: int
) -> SentenceTransformer:
    """The encoder that `base_model` names, with the layers and the vocabulary that it says, or a tiny one.

    Tokenizers are made for the texts and the prompts. Raises RecipeError for an encoder that cannot be had or cut.
    """
    read = chain(texts(), prompts.values())
    if settings.is_built:
        return build_encoder(read, settings.tiny, prompts, seed, settings.pooling)
    model = load_base(settings, prompts)
    if settings.layers is not None:
        keep_layers(model, settings.layers, "base_model.layers")
    if settings.add_vocabulary is not None:
        added = settings.add_vocabulary
        add_vocabulary(model, _tokenizer_of(added), added.scripts, added.initial, seed)
    if settings.vocabulary is not None:
        cut_vocabulary(model, read)
    return model


def _tokenizer_of(added: AddedVocabulary) -> Mapping:
    """The description of the tokenizer whose tokens are added. Raises RecipeError where it cannot be had."""
    place = "base_model.add_vocabulary"
    if added.revision is None and not Path(added.name).is_dir():
        raise RecipeError(
            f"{place}.name: '{added.name}' is not a folder and has no revision. Give the commit of the hub repository "
            "as revision, or the path of a folder."
        )
    found = read_config(added.name, "tokenizer.json", added.revision)
    if found is None:
        raise RecipeError(f"{place}.name: '{added.name}' has no tokenizer.json. Give a tokenizer that has one.")
    return found
