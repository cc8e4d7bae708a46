"""Vectors and scores by token budget: texts sorted by length, chunks cut by tokens, no padding to waste."""

from collections.abc import Sequence

import numpy as np
import torch
from sentence_transformers import CrossEncoder, SentenceTransformer
from sentence_transformers.base.modules import Normalize
from tqdm import tqdm

from ruri_kedro.models.onednn import fast_linear
from ruri_kedro.models.pairs import PairLayout
from ruri_kedro.models.precision import autocast
from ruri_kedro.models.speed import flat_features, reads_flat
from ruri_kedro.models.tokens import TokenRows, chunk_by_tokens, pad, tokenize
from ruri_kedro.text.prompts import with_prompt


def embed(model: SentenceTransformer, rows: Sequence[np.ndarray]) -> torch.Tensor:
    """Embeddings (rows, dimension) of token rows, as the model's own modules pool them; not normalised.

    A last module that normalises is left out: losses and `encode` do so themselves, and twice would round twice.
    """
    if reads_flat(model):
        return _pooled(model, flat_features(rows, model[0]._flatten_position_offset, model.device))
    features = pad(rows, model.tokenizer.pad_token_id, model.max_seq_length, model.device)
    if "token_type_ids" in model.tokenizer.model_input_names:
        features["token_type_ids"] = torch.zeros_like(features["input_ids"])
    with fast_linear(model.device):
        return _pooled(model, features)


def ends_normalized(model: SentenceTransformer) -> bool:
    """Whether the model's last module brings its vectors to length 1."""
    return isinstance(model[-1], Normalize) and model[-1].module_output_name == "sentence_embedding"


def _pooled(model: SentenceTransformer, features: dict) -> torch.Tensor:
    if not ends_normalized(model):
        return model(features)["sentence_embedding"]
    for module in list(model)[:-1]:
        features = module(features)
    return features["sentence_embedding"]


@torch.inference_mode()
def encode(
    model: SentenceTransformer,
    texts: Sequence[str],
    prompt: str,
    max_length: int | None,
    chunk_tokens: int,
    progress: str | None = None,
    precision: str = "float32",
) -> np.ndarray:
    """L2-normalised embeddings, float32 (texts, dimension), in the order of the texts.

    `prompt` goes in front of every text; `chunk_tokens` bounds the padded tokens of one forward pass; `progress`
    is the label of the progress bar, none without it; `precision` as in `score_pairs`.
    """
    model.eval()
    tokens = tokenize(
        model.tokenizer, [with_prompt(prompt, text) for text in texts], max_length or model.max_seq_length
    )
    return encode_rows(model, [tokens.row(i) for i in range(len(texts))], chunk_tokens, precision, progress)


@torch.inference_mode()
def encode_rows(
    model: SentenceTransformer,
    rows: Sequence[np.ndarray],
    chunk_tokens: int,
    precision: str = "float32",
    progress: str | None = None,
) -> np.ndarray:
    """L2-normalised embeddings of token rows, float32 (rows, dimension); `precision` as in `score_pairs`."""
    lengths = np.fromiter(map(len, rows), np.int64, len(rows))
    vectors = np.empty((len(rows), model.get_embedding_dimension()), dtype=np.float32)
    with progress_bar(progress, len(rows), "text") as bar, autocast(model.device, precision):
        for chunk in chunk_by_tokens(lengths, chunk_tokens):
            out = embed(model, [rows[i] for i in chunk])
            vectors[chunk] = torch.nn.functional.normalize(out.float(), dim=1).cpu().numpy()
            bar.update(len(chunk))
    return vectors


@torch.inference_mode()
def score_pairs(
    model: CrossEncoder,
    pairs: Sequence[tuple[str, str]],
    max_length: int | None,
    chunk_tokens: int,
    progress: str | None = None,
    precision: str = "float32",
) -> np.ndarray:
    """Logits of a cross-encoder for (query, passage) pairs, float32 (pairs,), in their order.

    Each distinct text is tokenised once. `precision`: float32, bfloat16 or float16, of the forward passes.
    """
    model.eval()
    texts = list(dict.fromkeys(text for pair in pairs for text in pair))
    position = {text: i for i, text in enumerate(texts)}
    tokens = tokenize(model.tokenizer, texts, None, special=False)
    queries, passages = (np.array([position[pair[side]] for pair in pairs], dtype=np.int64) for side in (0, 1))
    length = max_length or model.max_length
    return score_rows(model, tokens, queries, passages, length, chunk_tokens, progress, precision)


@torch.inference_mode()
def score_rows(
    model: CrossEncoder,
    tokens: TokenRows,
    queries: np.ndarray,
    passages: np.ndarray,
    max_length: int,
    chunk_tokens: int,
    progress: str | None = None,
    precision: str = "float32",
) -> np.ndarray:
    """Logits for pairs given as rows of `tokens` (made without special tokens), float32 (pairs,)."""
    layout = PairLayout.of(model.tokenizer)
    lengths = layout.lengths(tokens.lengths[queries], tokens.lengths[passages], max_length)
    scores = np.empty(len(queries), dtype=np.float32)
    with progress_bar(progress, len(queries), "pair") as bar, autocast(model.device, precision):
        for chunk in chunk_by_tokens(lengths, chunk_tokens):
            rows = [(tokens.row(queries[i]), tokens.row(passages[i])) for i in chunk]
            scores[chunk] = logits(model, layout, rows, max_length).float().cpu().numpy()
            bar.update(len(chunk))
    return scores


def logits(
    model: CrossEncoder, layout: PairLayout, rows: list[tuple[np.ndarray, np.ndarray]], max_length: int
) -> torch.Tensor:
    """The one logit of each pair, (pairs,), with gradient where it is on."""
    with fast_linear(model.device):
        return model.model(**layout.features(rows, max_length, model.device)).logits.squeeze(-1)


def progress_bar(label: str | None, total: int, unit: str) -> tqdm:
    """A bar with a label; without one it is not shown."""
    return tqdm(total=total, desc=label, unit=unit, disable=True if label is None else None, mininterval=1.0)
