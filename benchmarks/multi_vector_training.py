"""A training step of a late interaction model beside sentence-transformers' loss, by the CPU clock of one thread.

    python benchmarks/multi_vector_training.py           # 4 layers of 256, random weights, the shipped corpus
    python benchmarks/multi_vector_training.py --quick   # 2 layers of 128, a small batch, under a minute
    python benchmarks/multi_vector_training.py --text train.jsonl.gz  # rows with question and context, as JaQuAD's

Both sides have the same weights, texts and batches and take turns; a figure is the median of the rounds. The peer is
given token ids, so that its tokenising in the loop is not counted. It keeps all activations; ours keeps what its
parameters allow (`keep_tokens`), here all of them. Without the optimizer, which is the same.
"""

import argparse
import copy
import statistics
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import torch
from figures import say, table
from peers import read_pairs, write_model
from sentence_transformers import MultiVectorEncoder
from sentence_transformers.multi_vector_encoder.losses import MultiVectorMultipleNegativesRankingLoss

from ruri_kedro.models.multi_vector import build_multi_vector
from ruri_kedro.models.settings import BaseModelSettings
from ruri_kedro.models.tokens import tokenize
from ruri_kedro.recipe.parse import parse
from ruri_kedro.training.data import TrainingSet, assemble
from ruri_kedro.training.multi_vector import multi_vector_backward
from ruri_kedro.training.objectives import Budget, LossSettings
from ruri_kedro.training.plan import Batch

PROMPTS = {"query": "query: ", "document": "passage: "}
CHUNK, ALL = 4096, 10**9  # tokens
LENGTHS = {"query": 32, "document": 180}  # tokens
BASE = {
    "kind": "multi_vector", "revision": None, "package": None, "wheels": "", "vocabulary": None, "pooling": None,
    "training_head": None, "layers": None, "dimensions": 128, "projection_passages": 200,
    "query_length": LENGTHS["query"], "document_length": LENGTHS["document"], "query_expansion": False,
    "skip": "punctuation", "skip_query": None, "marks": False,
    "tiny": {"vocab_size": 16_000, "max_piece_chars": 8, "hidden_size": 128, "intermediate_size": 256, "layers": 2,
             "heads": 4, "max_length": 512, "dropout": 0.0, "initializer_range": 0.02},
}  # fmt: skip
Rows = list[tuple[str, str, str]]  # query, positive, negative


def build(folder: Path, size: str, text: Path | None) -> tuple[MultiVectorEncoder, Rows]:
    """A model with random weights, and rows of questions and passages."""
    pairs = read_pairs(text)
    write_model(folder, size, pairs)
    settings = parse(BaseModelSettings, BASE | {"name": str(folder)}, "base_model")
    model = build_multi_vector(lambda: [text for _, text in pairs[:400]], settings, PROMPTS, 0)
    half = len(pairs) // 2
    return model, [(*pairs[i], pairs[half + i][1]) for i in range(half)]


def training_set(model: MultiVectorEncoder, rows: Rows) -> TrainingSet:
    """The rows as a training reads them."""
    texts = {f"{row}-{column}": text for row, columns in enumerate(rows) for column, text in enumerate(columns)}
    examples = [
        {"example_id": str(row), "query_id": str(row), "source": "s", "objective": "contrastive", "anchor": f"{row}-0",
         "positive": f"{row}-1", "negatives": [f"{row}-2"], "shuffled": False, "label": None}
        for row in range(len(rows))
    ]  # fmt: skip
    read = partial(tokenize, model.tokenizer, max_length=None)
    return assemble(examples, texts, tuple(PROMPTS.values()), read, lengths=tuple(LENGTHS.values()))


def peer_step(model: MultiVectorEncoder, rows: Rows) -> Callable[[], float]:
    """The forward and backward pass of the peer's loss on these rows; gives the loss."""
    loss = MultiVectorMultipleNegativesRankingLoss(model, scale=1.0)
    sides = ("query", "document", "document")
    features = [
        {**model.preprocess(list(column), prompt=PROMPTS[side], task=side), "task": side}
        for column, side in zip(zip(*rows, strict=True), sides, strict=True)
    ]

    def step() -> float:
        value = loss([dict(column) for column in features], None)
        value.backward()
        return value.item()

    return step


def compare(size: str, text: Path | None, batch: int, rounds: int) -> None:
    """Say how many rows a CPU second both do, and how far their losses are apart."""
    with tempfile.TemporaryDirectory() as folder:
        model, rows = build(Path(folder), size, text)
    mine, theirs = copy.deepcopy(model).train(), copy.deepcopy(model).train()
    data = training_set(model, rows[:batch])
    backward = multi_vector_backward(mine, data, Budget(CHUNK, ALL, "float32"), LossSettings(1.0))
    steps = {"ours": lambda: backward(Batch(0, np.arange(batch))).loss, "peer": peer_step(theirs, rows[:batch])}
    losses = {name: step() for name, step in steps.items()}  # the first call asks the system for memory
    seconds: dict[str, list[float]] = {name: [] for name in steps}
    for _ in range(rounds):
        for name, step in steps.items():
            began = time.process_time()
            step()
            seconds[name].append(time.process_time() - began)
    ours, peer = (batch / statistics.median(seconds[name]) for name in steps)
    case = f"late interaction, {size}, batch {batch} with a negative each"
    say("multi_vector_training", case, ours, None, "rows/CPU s", round(peer, 1))
    say("multi_vector_training", f"{case}, ratio", ours / peer, 1.3, "times the peer, at least")
    apart = abs(losses["ours"] - losses["peer"]) / losses["peer"]
    say("multi_vector_training", f"{case}, loss apart", apart, 1e-4, "share")


def main() -> None:
    """Measure, then print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--text", type=Path, help="JSON lines, gzipped, with question and context")
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.quick:
        compare("2 layers of 128", options.text, 16, 3)
    else:
        compare("2 layers of 128", options.text, 32, 5)
        compare("4 layers of 256", options.text, 32, 5)
    table()


if __name__ == "__main__":
    main()
