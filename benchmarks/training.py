"""Training, scoring and encoding beside sentence-transformers: speed, memory, and that both give the same.

    python benchmarks/training.py --text train.jsonl.gz   # rows with `question` and `context`, such as JaQuAD's
    python benchmarks/training.py                         # text of the shipped corpus
    python benchmarks/training.py --quick                 # small batches, one round, under five minutes
    python benchmarks/training.py --model FOLDER          # a checkpoint in place of the models with random weights
    python benchmarks/training.py --mini-batches 32       # the peer as it comes, in place of its fastest way
    python benchmarks/training.py --cpu                   # one thread by its own clock, for a busy machine

One JSON line per figure, then a table. Both sides have the same text, weights, batches, threads and memory budget and
take turns; a figure is the median of the rounds. Freed memory stays with the process for all, as in our trainings.

`peer` is the fastest of sentence-transformers' ways that fits the budget: its plain loss where activations may be kept,
its cached loss at its best mini-batch size. It is given token ids, so that its tokenising in the loop is not counted,
except where it tokenises in its loss (reranker), in `predict` and in `encode`. `limit` is one pass of the same tokens
through the same layers as ours without padding, loss and optimizer: two forwards and one backward where nothing is
kept, one of each as far as activations have room (8 GiB), one forward for scoring and encoding. For memory and
differences `limit` is what the figure should stay under.
"""

import argparse
import copy
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from figures import alone, peak_memory, say, table
from peers import (
    ALL,
    BERT,
    GROUP,
    LENGTH,
    MINI_BATCHES,
    PROMPTS,
    SIZES,
    TEMPERATURE,
    Pairs,
    list_net,
    peer_losses,
    query_groups,
    read_pairs,
    reranking_set,
    trained,
    training_set,
    write_copy,
    write_model,
)
from sentence_transformers import CrossEncoder, SentenceTransformer

from ruri_kedro.models.base import build_cross_encoder, load_encoder
from ruri_kedro.models.forward import embed, encode, score_pairs
from ruri_kedro.models.onednn import fast_linear
from ruri_kedro.models.pairs import PairLayout
from ruri_kedro.models.tokens import chunk_by_tokens, pad, tokenize
from ruri_kedro.training.memory import reused_memory
from ruri_kedro.training.objectives import Budget, LossSettings, embedding_backward, reranking_backward
from ruri_kedro.training.plan import Batch

CHUNK = 2048  # tokens
ROOM = 8 * 2**30  # bytes of activations where they may be kept
TOLERANCE = 1e-4


@dataclass(frozen=True)
class Options:
    """How much is measured, and by which clock."""

    text: Path | None
    threads: int
    cpu: bool
    rounds: int
    large: int  # batch that is cached
    small: int  # batch whose activations are kept
    groups: int  # queries of a step of the reranker
    texts: int  # of scoring and encoding
    sizes: Sequence[str]
    mini_batches: Sequence[int]  # that the peer may choose from

    def seconds(self, step: Callable[[], object]) -> float:
        """Seconds of the clock that a call takes."""
        clock = time.process_time if self.cpu else time.perf_counter
        began = clock()
        step()
        return clock() - began

    def alternate(self, **steps: Callable[[], object]) -> dict[str, float]:
        """Median seconds of each, taking turns."""
        rounds = [{name: self.seconds(step) for name, step in steps.items()} for _ in range(self.rounds)]
        return {name: statistics.median(each[name] for each in rounds) for name in steps}

    def fastest(self, ways: dict[str, Callable[[], object]]) -> str:
        """The name of the fastest, each in its better of two calls: a first one asks the system for memory."""
        return min(ways, key=lambda name: min(self.seconds(ways[name]) for _ in range(2)))

    def say(self, case: str, found: dict[str, float], work: dict[str, float]) -> None:
        """A figure for each kind of work done, by unit, in the seconds found."""
        for unit, amount in work.items():
            ours, peer, limit = (round(amount / found[name], 1) for name in ("ours", "peer", "limit"))
            say("training", case, ours, limit, f"{unit}/{'CPU s' if self.cpu else 's'}", peer)


def without_padding(
    forward: Callable[[list[np.ndarray]], torch.Tensor], lengths: np.ndarray, keep: int | None
) -> Callable[[], None]:
    """Passes over chunks whose texts are all as long as those of the true chunk are on average.

    keep: tokens that have one forward pass, the others two; None for no backward pass.
    """
    shapes = [(len(chunk), max(round(lengths[chunk].mean()), 1)) for chunk in chunk_by_tokens(lengths, CHUNK)]
    ends = np.cumsum([count * length for count, length in shapes])

    def step() -> None:
        for (count, length), end in zip(shapes, ends, strict=True):
            texts = [np.arange(5, 5 + length, dtype=np.int32)] * count
            if keep is None or end > keep:
                with torch.no_grad():
                    forward(texts)
            if keep is not None:
                forward(texts).sum().backward()

    return step


def tokens_in_room(model: SentenceTransformer) -> int:
    """Tokens whose activations fit ROOM, by those that the graph of one chunk holds."""
    own = {parameter.untyped_storage().data_ptr() for parameter in model.parameters()}
    held: dict[int, int] = {}

    def see(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            held[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(see, lambda tensor: tensor):
        graph = embed(model, [np.arange(5, 5 + LENGTH, dtype=np.int32)] * (CHUNK // LENGTH))
    found = sum(held.values())
    del graph  # until here no address is used twice
    return ROOM * CHUNK // found


def pretraining(options: Options, folder: Path, size: str, pairs: Pairs, batch: int, kept: bool) -> None:
    """Pairs and tokens per second of a step, and how far the gradients of both are apart."""
    model = load_encoder(folder)
    mine, theirs = copy.deepcopy(model).train(), copy.deepcopy(model).train()
    data = training_set(model, pairs[:batch])
    keep = tokens_in_room(mine) if kept else 0
    backward = embedding_backward(mine, data, Budget(CHUNK, keep, "float32"), LossSettings(TEMPERATURE))
    ways = peer_losses(theirs, data, keep, options.mini_batches)
    trial = min(batch, options.small)
    chosen = options.fastest({name: way(trial // 2) for name, way in ways.items()})
    lengths = data.tokens.lengths
    share = min(keep / int(lengths.sum()), 1)
    case = f"pre-training, {size}, batch {batch}, {f'{share:.0%} of the activations kept' if kept else 'cached'}"

    theirs.zero_grad()
    few = np.arange(trial)
    differ(case, backward(Batch(0, few)).loss, ways[chosen](trial)().item(), mine, theirs)
    forward = partial(embed, model.train())
    found = options.alternate(
        ours=trained(mine, lambda: backward(Batch(0, np.arange(len(data))))),
        peer=trained(theirs, ways[chosen](len(data))),
        limit=without_padding(forward, lengths, keep),
    )
    options.say(f"{case} (peer: {chosen})", found, {"pairs": len(data), "tokens": int(lengths.sum())})


def differ(case: str, loss: float, peer_loss: float, mine: torch.nn.Module, theirs: torch.nn.Module) -> None:
    """Say how far losses and gradients are apart, as shares of the loss and of the largest gradient; forget them."""
    gradients = [(p.grad, q.grad) for p, q in zip(mine.parameters(), theirs.parameters(), strict=True)]
    gradients = [(p, q) for p, q in gradients if p is not None and q is not None]
    apart = max(float((p - q).abs().max()) for p, q in gradients) / max(float(q.abs().max()) for _, q in gradients)
    say("training", f"{case}, loss apart", abs(loss - peer_loss) / abs(peer_loss), TOLERANCE, "share")
    say("training", f"{case}, gradients apart", apart, TOLERANCE, "share")
    mine.zero_grad()
    theirs.zero_grad()


def reranking(options: Options, folder: Path, size: str, pairs: Pairs) -> None:
    """Pairs per second of a step on groups of 1 positive and 63 negatives; the peer's loss is ListNet, which with one
    label far above the others is the same."""
    model = build_cross_encoder(folder, LENGTH, 0)
    mine, theirs = copy.deepcopy(model).train(), copy.deepcopy(model).train()
    n = options.groups
    queries, passages = query_groups(pairs, n)
    data = reranking_set(model, queries, passages)
    backward = reranking_backward(mine, data, Budget(CHUNK, ALL, "float32"), LENGTH)

    def peer(mini_batch: int, count: int = n) -> torch.Tensor:
        return list_net(theirs, mini_batch, queries[:count], passages[:count])

    chosen = options.fastest({str(size): partial(peer, size, 1) for size in options.mini_batches})
    theirs.zero_grad()
    case = f"reranker, {size}, {n} groups of {GROUP}"
    differ(case, backward(Batch(-1, np.arange(n))).loss, peer(int(chosen)).item(), mine, theirs)
    layout = PairLayout.of(model.tokenizer)
    tokens = data.tokens.lengths
    lengths = layout.lengths(np.repeat(tokens[:n], GROUP), tokens[n:], LENGTH)
    found = options.alternate(
        ours=trained(mine, lambda: backward(Batch(-1, np.arange(n)))),
        peer=trained(theirs, partial(peer, int(chosen))),
        limit=without_padding(partial(whole_pairs, model.train()), lengths, ALL),
    )
    options.say(f"{case} (peer: mini-batch {chosen})", found, {"pairs": n * GROUP, "tokens": int(lengths.sum())})


def whole_pairs(model: CrossEncoder, texts: list[np.ndarray]) -> torch.Tensor:
    with fast_linear(model.device):
        return model.model(**pad(texts, model.tokenizer.pad_token_id, LENGTH)).logits


def scoring(options: Options, folder: Path, size: str, pairs: Pairs) -> None:
    """Pairs per second of a reranker that scores 16 passages for a query."""
    model = build_cross_encoder(folder, LENGTH, 0).eval()
    asked = [(pairs[i // 16 * 16 % len(pairs)][0], pairs[i % len(pairs)][1]) for i in range(options.texts)]

    def peer(batch: int, wanted: Pairs = asked) -> np.ndarray:
        return model.predict(wanted, batch_size=batch, activation_fn=torch.nn.Identity(), show_progress_bar=False)

    chosen = int(options.fastest({str(size): partial(peer, size, asked[:512]) for size in options.mini_batches}))
    case = f"scoring, {size}, {len(asked)} pairs"
    apart = np.abs(score_pairs(model, asked, LENGTH, CHUNK) - peer(chosen)).max()
    say("training", f"{case}, scores apart", float(apart), TOLERANCE, "logit")
    layout = PairLayout.of(model.tokenizer)
    lengths = [tokenize(model.tokenizer, side, None, special=False).lengths for side in zip(*asked, strict=True)]
    lengths = layout.lengths(*lengths, LENGTH)
    found = options.alternate(
        ours=lambda: score_pairs(model, asked, LENGTH, CHUNK),
        peer=partial(peer, chosen),
        limit=without_padding(partial(whole_pairs, model), lengths, None),
    )
    options.say(f"{case} (peer: batch {chosen})", found, {"pairs": len(asked), "tokens": int(lengths.sum())})


def encoding(options: Options, folder: Path, size: str, pairs: Pairs) -> None:
    """Passages per second of an encoder."""
    model = load_encoder(folder, PROMPTS, max_length=LENGTH).eval()
    texts = [text for _, text in pairs[: options.texts]]
    prompt = PROMPTS["document"]

    def peer(batch: int, wanted: list[str] = texts) -> np.ndarray:
        return model.encode(wanted, prompt=prompt, batch_size=batch, normalize_embeddings=True, show_progress_bar=False)

    chosen = int(options.fastest({str(size): partial(peer, size, texts[:512]) for size in options.mini_batches}))
    case = f"encoding, {size}, {len(texts)} passages"
    apart = np.abs(encode(model, texts, prompt, LENGTH, CHUNK) - peer(chosen)).max()
    say("training", f"{case}, vectors apart", float(apart), TOLERANCE, "component")
    lengths = tokenize(model.tokenizer, [prompt + text for text in texts], LENGTH).lengths
    found = options.alternate(
        ours=lambda: encode(model, texts, prompt, LENGTH, CHUNK),
        peer=partial(peer, chosen),
        limit=without_padding(partial(embed, model), lengths, None),
    )
    options.say(f"{case} (peer: batch {chosen})", found, {"passages": len(texts), "tokens": int(lengths.sum())})


def memory(options: Options, folder: Path, pairs: Pairs) -> float:
    """GiB of this process at most after a step of so many pairs, nothing kept."""
    torch.set_num_threads(options.threads)
    model = load_encoder(folder)
    data = training_set(model, pairs)
    backward = embedding_backward(model, data, Budget(CHUNK, 0, "float32"), LossSettings(TEMPERATURE))
    with reused_memory():
        trained(model, lambda: backward(Batch(0, np.arange(len(data)))))()
    return peak_memory()


CASES = {
    "cached": lambda o, *model: pretraining(o, *model, o.large, kept=False),
    "kept": lambda o, *model: pretraining(o, *model, o.small, kept=True),
    "reranker": reranking,
    "scoring": scoring,
    "encoding": encoding,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--text", type=Path, help="gzipped JSON Lines with question and context")
    parser.add_argument("--model", type=Path, help="folder of an encoder, in place of those with random weights")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--cpu", action="store_true", help="one thread, CPU seconds")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--batch", type=int, default=8192, help="of the cached case")
    parser.add_argument("--cases", nargs="+", default=[*CASES, "memory", "bert"], choices=[*CASES, "memory", "bert"])
    parser.add_argument("--sizes", nargs="+", default=list(SIZES), choices=list(SIZES))
    parser.add_argument("--mini-batches", nargs="+", type=int, default=MINI_BATCHES, help="of the peer")
    chosen = parser.parse_args()
    threads = 1 if chosen.cpu else chosen.threads
    amounts = (chosen.rounds, chosen.batch, 512, 4, 4096, chosen.sizes)
    if chosen.quick:  # a checkpoint has more layers than the small models
        amounts = (1, 512, 128, 1, 512, list(SIZES)[:1]) if chosen.model is None else (1, 64, 32, 1, 128, [])
    options = Options(chosen.text, threads, chosen.cpu, *amounts, chosen.mini_batches)
    torch.set_num_threads(threads)
    pairs = read_pairs(options.text)
    with tempfile.TemporaryDirectory() as workspace, reused_memory():
        for size in options.sizes if chosen.model is None else [chosen.model.resolve().name]:
            folder = Path(workspace) / size.replace(" ", "-")
            if chosen.model is None:
                write_model(folder, size, pairs)
            else:
                write_copy(folder, chosen.model, dropout=0.0)
            for name in (name for name in CASES if name in chosen.cases):
                CASES[name](options, folder, size, pairs)
        if "memory" in chosen.cases:
            few, many = (alone(memory, options, folder, pairs[:n]) for n in (options.small, options.large))
            say("training", f"peak memory, {size}, batch {options.large}", many, 1.3 * few, "GiB")
        if "bert" in chosen.cases and not chosen.quick and chosen.model is None:
            folder = Path(workspace) / "bert"
            write_model(folder, BERT, pairs)
            pretraining(options, folder, BERT, pairs, 32, kept=False)
    table()


if __name__ == "__main__":
    main()
