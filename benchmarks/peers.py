"""What training.py and gpu.py share: texts, models, training sets, and the losses of sentence-transformers."""

import gzip
import json
import shutil
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import torch
from sentence_transformers import CrossEncoder, SentenceTransformer
from sentence_transformers.cross_encoder.losses import ListNetLoss
from sentence_transformers.sentence_transformer.losses import (
    CachedMultipleNegativesRankingLoss,
    MultipleNegativesRankingLoss,
)
from transformers import BertConfig, BertModel

from ruri_kedro.models.base import TinySettings, build_encoder
from ruri_kedro.models.tokens import TokenRows, pad, tokenize
from ruri_kedro.training.data import TrainingSet

SAMPLE = Path(__file__).resolve().parents[1] / "data/01_raw/sample"
PROMPTS = {"query": "クエリ: ", "document": "文章: "}
SIZES = {"2 layers of 128": (2, 128), "4 layers of 256": (4, 256)}
BERT, BERT_HEADS = "BERT, 12 layers of 768", 12
LENGTH, ALL = 256, 10**9  # tokens of a text, of activations that are all kept
TEMPERATURE, GROUP = 0.02, 64
MINI_BATCHES = (16, 32, 64, 128)
GTE = {
    "scale": 1 / TEMPERATURE,
    "directions": ("query_to_doc", "query_to_query", "doc_to_query", "doc_to_doc"),
    "partition_mode": "joint",
}
Pairs = list[tuple[str, str]]


def read_pairs(path: Path | None) -> Pairs:
    """Question and passage, or first sentence and paragraph, no text twice."""
    if path is not None:
        found = [(row["question"], row["context"]) for row in rows(path)]
    else:
        found = [(row["question"], row["context"]) for row in rows(SAMPLE / "questions/train.jsonl.gz")]
        texts = (t for a in rows(SAMPLE / "articles.jsonl.gz") for s in a["sections"] for t in s["paragraphs"])
        found += [(text.split("。")[0], text) for text in texts]
    seen: set[str] = set()
    pairs = []
    for pair in found:
        if seen.isdisjoint(pair) and pair[0] != pair[1]:
            seen.update(pair)
            pairs.append(pair)
    return [pairs[i] for i in np.random.default_rng(0).permutation(len(pairs))]


def rows(path: Path) -> Iterator[dict]:
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        yield from map(json.loads, lines)


def write_model(folder: Path, size: str, pairs: Pairs) -> None:
    """An encoder with random weights and without dropout."""
    if size == BERT:
        write_bert(folder, 12, 768, pairs)
    else:
        layers, width = SIZES[size]
        random_encoder(layers, width, pairs).save_pretrained(str(folder))


def random_encoder(layers: int, width: int, pairs: Pairs) -> SentenceTransformer:
    settings = TinySettings(16_000, 8, width, 2 * width, layers, 4, 512, dropout=0.0, initializer_range=0.02)
    return build_encoder([text for pair in pairs[:4000] for text in pair], settings, PROMPTS, 0)


def write_bert(folder: Path, layers: int, width: int, pairs: Pairs) -> None:
    """A BERT with random weights, a tokenizer of the texts, and without dropout."""
    tokenizer = random_encoder(1, 64, pairs).tokenizer
    tokenizer.save_pretrained(folder)
    config = BertConfig(
        vocab_size=len(tokenizer),
        hidden_size=width,
        intermediate_size=4 * width,
        num_hidden_layers=layers,
        num_attention_heads=BERT_HEADS,
        pad_token_id=tokenizer.pad_token_id,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
    )
    BertModel(config).save_pretrained(folder)


def write_copy(folder: Path, model: Path, dropout: float) -> None:
    """A checkpoint with another share of dropout, wherever its configuration has one."""
    shutil.copytree(model, folder)
    config = json.loads((folder / "config.json").read_text("utf-8"))
    changed = {name: dropout for name, value in config.items() if "dropout" in name and isinstance(value, float | int)}
    (folder / "config.json").write_text(json.dumps(config | changed, ensure_ascii=False), "utf-8")


def training_set(model: SentenceTransformer, pairs: Pairs) -> TrainingSet:
    n = len(pairs)
    texts = [PROMPTS["query"] + query for query, _ in pairs] + [PROMPTS["document"] + text for _, text in pairs]
    return a_set(tokenize(model.tokenizer, texts, LENGTH), np.column_stack([np.arange(n), n + np.arange(n)]))


def a_set(tokens: TokenRows, texts: np.ndarray) -> TrainingSet:
    n = len(texts)
    return TrainingSet(
        tokens, texts, texts.astype(np.int32), np.zeros(n, np.int64), ["text"], ["contrastive"], [""] * n, None,
        np.full(n, np.nan, np.float32),
    )  # fmt: skip


def query_groups(pairs: Pairs, count: int) -> tuple[list[str], list[list[str]]]:
    """Queries, and for each its positive and 63 other passages."""
    passages = [[pairs[(i * GROUP + k) % len(pairs)][1] for k in range(GROUP)] for i in range(count)]
    return [pairs[i * GROUP % len(pairs)][0] for i in range(count)], passages


def reranking_set(model: CrossEncoder, queries: list[str], passages: list[list[str]]) -> TrainingSet:
    n = len(queries)
    texts = queries + [text for group in passages for text in group]
    columns = np.column_stack([np.arange(n), n + np.arange(n * GROUP).reshape(n, GROUP)])
    return a_set(tokenize(model.tokenizer, texts, None, special=False), columns)


def trained(model: torch.nn.Module, backward: Callable[..., object]) -> Callable[..., object]:
    """A step of training: arguments and result are those of its backward pass."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-5)
    model.train()

    def step(*arguments: object) -> object:
        found = backward(*arguments)
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        return found

    return step


def peer_losses(
    model: SentenceTransformer, data: TrainingSet, keep: int, mini_batches: Sequence[int] = MINI_BATCHES
) -> dict[str, Callable[[int], Callable]]:
    """By name a function from a number of rows to the backward pass of the peer's loss."""
    losses = {
        f"cached, {size}": CachedMultipleNegativesRankingLoss(model, mini_batch_size=size, **GTE)
        for size in mini_batches
    }
    if sum(len(column) * int(data.tokens.lengths[column].max()) for column in data.texts.T) <= keep:
        losses["plain"] = MultipleNegativesRankingLoss(model, **GTE)

    def backward(loss: torch.nn.Module, count: int) -> torch.Tensor:
        columns = data.texts[:count].T
        features = [
            pad([data.tokens.row(i) for i in column], model.tokenizer.pad_token_id, LENGTH, model.device)
            for column in columns
        ]
        value = loss(features, None)
        value.backward()
        return value.detach()

    return {name: partial(partial, backward, loss) for name, loss in losses.items()}


def list_net(model: CrossEncoder, mini_batch: int, queries: list[str], passages: list[list[str]]) -> torch.Tensor:
    """The peer's loss, and its backward pass."""
    labels = [torch.tensor([40.0] + [0.0] * (GROUP - 1), device=model.device)] * len(queries)
    loss = ListNetLoss(model, mini_batch_size=mini_batch)([queries, passages], labels)
    loss.backward()
    return loss.detach()
