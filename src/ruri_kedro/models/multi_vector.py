"""Multi-vector models, of late interaction: a vector for each token (ColBERT, arXiv 2004.12832).

They are sentence-transformers' MultiVectorEncoder, which also reads the folders of PyLate and of Stanford's ColBERT
(JaColBERT). Prompts, lengths and the tokens that have no vector are the model's own.
"""

import unicodedata
from collections.abc import Iterable, Mapping
from heapq import nsmallest
from pathlib import Path

import numpy as np
import torch
from sentence_transformers import MultiVectorEncoder
from sentence_transformers.base.modules import Normalize, Transformer
from sentence_transformers.base.modules.dense import Dense
from sentence_transformers.multi_vector_encoder.modules import MultiVectorMask
from transformers import PreTrainedTokenizerBase

from ruri_kedro.errors import RecipeError
from ruri_kedro.models.building import Texts, base_encoder
from ruri_kedro.models.checkpoint import checkpoint_folder, read_config
from ruri_kedro.models.foreign_code import open_model
from ruri_kedro.models.settings import BaseModelSettings
from ruri_kedro.models.token_vectors import Side, encode_tokens
from ruri_kedro.text.hashing import stable_id

_TOKENS = "token_embeddings"  # what modules of sentence-transformers call them
_CHUNK_TOKENS = 4096  # padded tokens of one forward pass while the projection is made
_PIECE_MARKS = ("▁", "##")  # that tokenizers put before a piece


def is_multi_vector(reference: str, revision: str | None = None) -> bool:
    """Whether a model is of late interaction, by what sentence-transformers, PyLate or Stanford's code wrote of it."""
    names = ("config.json", "config_sentence_transformers.json")
    config, own = (read_config(reference, name, revision) or {} for name in names)
    # PyLate's first versions named no type, but the marks in front of queries and documents.
    marked = own.get("model_type") in ("MultiVectorEncoder", "ColBERT") or "query_prefix" in own
    return marked or "HF_ColBERT" in (config.get("architectures") or [])


def load_multi_vector(reference: str | Path, revision: str | None = None) -> MultiVectorEncoder:
    """A multi-vector model from a folder, or from the hub at a pinned revision; RecipeError as `load_encoder`."""
    with checkpoint_folder(reference, revision) as folder:
        return open_model(MultiVectorEncoder, folder, device="cpu", model_kwargs={"dtype": torch.float32})


def start_multi_vector(folder: Path, prompts: Mapping[str, str], max_length: int, seed: int) -> MultiVectorEncoder:
    """The multi-vector model in the folder, with the recipe's prompts."""
    model = load_multi_vector(folder)
    model.prompts.update(prompts)
    return model


def build_multi_vector(
    texts: Texts, settings: BaseModelSettings, prompts: Mapping[str, str], seed: int
) -> MultiVectorEncoder:
    """A multi-vector model of any encoder: its token vectors, projected to `settings.dimensions`, of length 1.

    The projection begins as the PCA of the tokens of some of the `texts`, so that the model is of use untrained. A base
    that is a multi-vector model already is loaded as it is. Raises RecipeError for parameters that do not fit the base.
    """
    for name in ("pooling", "training_head"):
        if getattr(settings, name) is not None:
            raise RecipeError(f"base_model.{name}: {getattr(settings, name)}, but the model has no pooling. Set null.")
    if settings.name is not None and is_multi_vector(settings.name, settings.revision):
        for name in ("layers", "vocabulary"):
            if getattr(settings, name) is not None:
                raise RecipeError(
                    f"base_model.{name}: is given, but '{settings.name}' is a multi-vector model already, which is "
                    "loaded as it is. Set it to null."
                )
        model = load_multi_vector(settings.name, settings.revision)
        model.prompts.update(prompts)
        return model
    transformer = base_encoder(texts, settings, prompts, seed)[0]
    if not isinstance(transformer, Transformer):
        raise RecipeError(f"base_model.name: {settings.name} has no vectors of tokens, its first module is another.")
    if settings.marks:
        _add_marks(transformer, prompts)
    _set_lengths(transformer, settings)
    masks = list(_masks(transformer.tokenizer, settings, prompts))
    width, modules = transformer.get_embedding_dimension(), [transformer, *masks, Normalize(_TOKENS)]
    if settings.dimensions is not None:
        if settings.dimensions > width:
            raise RecipeError(f"base_model.dimensions: {settings.dimensions}, but the encoder has {width} at most.")
        whole = MultiVectorEncoder(modules=modules, prompts=dict(prompts), device="cpu")
        # Of vectors of length 1: untrained E5 on JSQuAD, 741 questions, R@1 0.891, of vectors as they are 0.885.
        projection = _projection(_sample(whole, texts, settings, seed), settings.dimensions)
        modules[1:1] = [Normalize(_TOKENS), projection]
    return MultiVectorEncoder(modules=modules, prompts=dict(prompts), device="cpu", similarity_fn_name="maxsim")


def _add_marks(transformer: Transformer, prompts: Mapping[str, str]) -> None:
    """Make each prompt without its spaces a token of its own, which begins as the mean of all tokens.

    The tokenizer's special tokens are left whole by it, as ColBERT's [Q] and [D] have to be.
    """
    tokenizer, marks = transformer.tokenizer, [prompt.strip() for prompt in prompts.values() if prompt.strip()]
    new = [mark for mark in dict.fromkeys(marks) if mark not in tokenizer.get_vocab()]
    tokenizer.add_special_tokens({"additional_special_tokens": marks}, replace_extra_special_tokens=False)
    if new:
        known = transformer.model.get_input_embeddings().weight.detach()
        mean = known.mean(dim=0)
        table = transformer.model.resize_token_embeddings(len(tokenizer), mean_resizing=False).weight
        with torch.no_grad():
            table[tokenizer.convert_tokens_to_ids(new)] = mean


def _set_lengths(transformer: Transformer, settings: BaseModelSettings) -> None:
    limit = transformer.max_seq_length or max(settings.query_length, settings.document_length)
    for name in ("query_length", "document_length"):
        if getattr(settings, name) > limit:
            raise RecipeError(f"base_model.{name}: {getattr(settings, name)}, but the model reads {limit} tokens.")
        setattr(transformer, name, getattr(settings, name))
    if length := settings.expansion_length:
        strategy = "fixed" if length == settings.query_length else "min"
        try:
            transformer.query_expansion = {"strategy": strategy, "attend": False, "length": length}
        except ValueError as error:
            raise RecipeError(f"base_model.query_expansion: {settings.query_expansion}. {error}") from error


def _masks(
    tokenizer: PreTrainedTokenizerBase, settings: BaseModelSettings, prompts: Mapping[str, str]
) -> Iterable[MultiVectorMask]:
    """What says which tokens have a vector; without words all of them have."""
    yield MultiVectorMask(punctuation_pieces(tokenizer) if settings.skip else [])
    if settings.skip_query:
        special = settings.skip_query == "prompt_and_special"
        ids = tokenizer(prompts.get("query", ""), add_special_tokens=special)["input_ids"]
        yield MultiVectorMask(tokenizer.convert_ids_to_tokens(ids), skiplist_tasks=["query"])


def punctuation_pieces(tokenizer: PreTrainedTokenizerBase) -> list[str]:
    """The pieces of a vocabulary that are punctuation alone, in order."""

    def is_punctuation(piece: str) -> bool:
        for mark in _PIECE_MARKS:
            piece = piece.removeprefix(mark) or piece
        return bool(piece) and all(unicodedata.category(char).startswith("P") for char in piece)

    return sorted(piece for piece in tokenizer.get_vocab() if is_punctuation(piece))


def _sample(model: MultiVectorEncoder, texts: Texts, settings: BaseModelSettings, seed: int) -> np.ndarray:
    """Token vectors of some texts, which the seed draws whatever their order, (tokens, width)."""
    drawn = nsmallest(settings.projection_passages, {*texts()}, key=lambda text: stable_id(str(seed), text))
    return encode_tokens(model, drawn, Side.of(model, "document"), _CHUNK_TOKENS, progress="tokens for the PCA").vectors


def _projection(vectors: np.ndarray, dimensions: int) -> Dense:
    """The first principal components of vectors (tokens, width), centred, as a layer."""
    mean = vectors.mean(axis=0, dtype=np.float64)
    covariance = (vectors.T @ vectors) / len(vectors) - np.outer(mean, mean)
    components = np.linalg.eigh(covariance.astype(np.float64))[1][:, ::-1][:, :dimensions].T
    # Of a component and its negative the one whose largest entry is positive, so that the same vectors give the same.
    largest = np.abs(components).argmax(axis=1)
    components = components * np.sign(components[np.arange(dimensions), largest])[:, None]
    weight, bias = (torch.tensor(values, dtype=torch.float32) for values in (components, -components @ mean))
    return Dense(vectors.shape[1], dimensions, activation_function=torch.nn.Identity(), init_weight=weight,
                 init_bias=torch.nn.Parameter(bias), module_input_name=_TOKENS)  # fmt: skip
