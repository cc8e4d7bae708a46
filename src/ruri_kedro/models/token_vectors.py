"""Vectors of tokens by token budget, one behind the other: what a multi-vector model makes of texts."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from sentence_transformers import MultiVectorEncoder
from sentence_transformers.multi_vector_encoder.modules import MultiVectorMask

from ruri_kedro.models.forward import progress_bar
from ruri_kedro.models.onednn import fast_linear
from ruri_kedro.models.precision import autocast
from ruri_kedro.models.tokens import chunk_by_tokens, pad, places_of, tokenize
from ruri_kedro.text.prompts import with_prompt


@dataclass(frozen=True)
class TokenVectors:
    """Vectors of many texts."""

    vectors: np.ndarray  # float32 (tokens, d), of length 1, those of one text behind those of the text before
    lengths: np.ndarray  # int64 (texts,)

    def of(self, number: int) -> np.ndarray:
        """Those of one text, (tokens, d)."""
        stop = int(self.lengths[: number + 1].sum())
        return self.vectors[stop - int(self.lengths[number]) : stop]


@dataclass(frozen=True)
class Side:
    """How a multi-vector model reads its queries, or its documents, as MultiVectorEncoder does."""

    task: str  # query or document
    prompt: str
    length: int | None  # tokens to which texts are cut, special tokens and prompt included
    floor: int = 0  # tokens that shorter texts are filled up to
    filler: int = 0  # id of the token that fills them
    attend: bool = False  # whether other tokens see these

    @staticmethod
    def of(model: MultiVectorEncoder, task: str) -> "Side":
        """The side of a model by its name, query or document."""
        transformer, prompts = model[0], model.prompts
        names = ("query",) if task == "query" else ("document", "passage", "corpus")
        prompt = next((prompts[name] for name in names if name in prompts), None) or ""
        length = getattr(transformer, f"{task}_length", None) or model.max_seq_length
        expansion = getattr(transformer, "query_expansion", None) if task == "query" else None
        if expansion is None:
            return Side(task, prompt, length)
        floor, tokenizer = expansion["length"], model.tokenizer
        length = floor if expansion["strategy"] == "fixed" else max(length or floor, floor)
        filler = tokenizer.convert_tokens_to_ids(expansion["token"]) if expansion["token"] else tokenizer.mask_token_id
        return Side(task, prompt, length, floor, tokenizer.eos_token_id if filler is None else filler,
                    expansion["attend"])  # fmt: skip

    def features(
        self, model: MultiVectorEncoder, rows: Sequence[np.ndarray], device: torch.device | str
    ) -> dict[str, torch.Tensor]:
        """Padded model inputs of token rows, (rows, padded length)."""
        filled = [np.append(row, np.full(max(self.floor - len(row), 0), self.filler, row.dtype)) for row in rows]
        features = pad(filled, model.tokenizer.pad_token_id, model.max_seq_length, device)
        if "token_type_ids" in model.tokenizer.model_input_names:
            features["token_type_ids"] = torch.zeros_like(features["input_ids"])
        if self.floor:
            lengths = torch.tensor([len(row) for row in rows], device=device)[:, None]
            positions = torch.arange(features["input_ids"].shape[1], device=device)
            expansion = (positions >= lengths) & (positions < self.floor)
            features["query_expansion_positions"] = expansion
            if not self.attend:
                features["attention_mask"] = features["attention_mask"].masked_fill(expansion, 0)
        return features

    def read_lengths(self, lengths: np.ndarray) -> np.ndarray:
        """Tokens that the model reads of rows of these lengths."""
        return np.maximum(lengths, self.floor)


def vector_lengths(model: MultiVectorEncoder, rows: Sequence[np.ndarray], side: Side) -> np.ndarray:
    """How many vectors each token row has, int64 (rows,); the model itself is not run."""
    features = side.features(model, rows, "cpu")
    for module in model:
        if isinstance(module, MultiVectorMask):
            features = module(features, task=side.task)
    return features["attention_mask"].bool().sum(dim=1).numpy()


def embed_tokens(model: MultiVectorEncoder, rows: Sequence[np.ndarray], side: Side) -> torch.Tensor:
    """Vectors of the tokens of token rows, (sum of `vector_lengths`, d), with gradient where it is on."""
    with fast_linear(model.device):
        found = model(side.features(model, rows, model.device), task=side.task)
    return found["token_embeddings"][found["attention_mask"].bool()]


def encode_tokens(
    model: MultiVectorEncoder,
    texts: Sequence[str],
    side: Side,
    chunk_tokens: int,
    precision: str = "float32",
    progress: str | None = None,
) -> TokenVectors:
    """Vectors of the tokens of texts, in their order; parameters as of `forward.encode`."""
    model.eval()
    tokens = tokenize(model.tokenizer, [with_prompt(side.prompt, text) for text in texts], side.length)
    return encode_token_rows(model, [tokens.row(i) for i in range(len(texts))], side, chunk_tokens, precision, progress)


@torch.inference_mode()
def encode_token_rows(
    model: MultiVectorEncoder,
    rows: Sequence[np.ndarray],
    side: Side,
    chunk_tokens: int,
    precision: str = "float32",
    progress: str | None = None,
) -> TokenVectors:
    """Vectors of the tokens of token rows, in their order; parameters as of `forward.encode`."""
    chunks = chunk_by_tokens(side.read_lengths(np.fromiter(map(len, rows), np.int64, len(rows))), chunk_tokens)
    lengths = np.zeros(len(rows), np.int64)
    for chunk in chunks:
        lengths[chunk] = vector_lengths(model, [rows[i] for i in chunk], side)
    starts = np.cumsum(lengths) - lengths
    vectors = np.empty((int(lengths.sum()), model.get_embedding_dimension()), np.float32)
    with progress_bar(progress, len(rows), "text") as bar, autocast(model.device, precision):
        for chunk in chunks:
            found = embed_tokens(model, [rows[i] for i in chunk], side)
            vectors[places_of(starts[chunk], lengths[chunk])] = found.float().cpu().numpy()
            bar.update(len(chunk))
    return TokenVectors(vectors, lengths)
