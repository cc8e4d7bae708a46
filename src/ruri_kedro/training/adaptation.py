"""Masked language modelling on the texts of sources: a model learns a language before it compares texts."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from sentence_transformers import MultiVectorEncoder, SentenceTransformer
from transformers import PreTrainedModel

from ruri_kedro.models.base import load_encoder
from ruri_kedro.models.layers import train_mode
from ruri_kedro.models.masked import added_tokens, guesses, masked_model
from ruri_kedro.models.multi_vector import load_multi_vector
from ruri_kedro.models.precision import autocast
from ruri_kedro.models.settings import BaseModelSettings
from ruri_kedro.models.token_cache import TokenCache
from ruri_kedro.models.tokens import chunk_by_tokens, pad, padded_length
from ruri_kedro.recipe.objectives import READING
from ruri_kedro.recipe.parse import parse
from ruri_kedro.tables import Table
from ruri_kedro.tables.lookup import passage_texts
from ruri_kedro.text.hashing import stable_id
from ruri_kedro.training import processes
from ruri_kedro.training.checkpoints import sole_training
from ruri_kedro.training.fit import OnStep
from ruri_kedro.training.gradcache import draws
from ruri_kedro.training.masking import Masking, packed
from ruri_kedro.training.measures import Measures
from ruri_kedro.training.plan import Batch
from ruri_kedro.training.reading import check_examples
from ruri_kedro.training.run import Stage, fit_stage, in_processes, measured, plan_stage, prepare
from ruri_kedro.training.settings import AdaptationSettings

Encoder = SentenceTransformer | MultiVectorEncoder


@dataclass(frozen=True)
class Blocks:
    """Texts as blocks of tokens, with what a plan reads of them: each row is a block."""

    rows: list[np.ndarray]  # int32, token ids
    groups: np.ndarray  # int64 (rows,), index into group_names
    group_names: list[str]  # sources
    objectives: list[str]  # by group

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def identities(self) -> np.ndarray:
        """No block repeats another one: (rows, 0)."""
        return np.empty((len(self.rows), 0), np.int64)

    @property
    def example_ids(self) -> list[str]:
        """Of a source and the number of its block, from 0 over all sources."""
        return [f"{self.group_names[group]}, block {row}" for row, group in enumerate(self.groups.tolist())]


def train_adaptation(
    model: Encoder,
    examples: Table,
    passages: Table,
    stage: Stage,
    on_step: OnStep,
    base_model: Mapping[str, Any] | None = None,
) -> Encoder:
    """Train the transformer of a model in place to guess hidden tokens of texts, and return the model.

    The texts are the anchors and positives of the training rows of `examples`; those of held-out rows tell the
    perplexity. base_model: the parameters of this name, by whose checkpoint a head may be had.
    """
    stage.check()
    if count := processes.wanted(stage.device, stage.devices):
        load = load_multi_vector if isinstance(model, MultiVectorEncoder) else load_encoder
        arguments = {"examples": examples, "passages": passages, "base_model": base_model}
        in_processes(count, train_adaptation, load, model, stage, on_step, arguments)
        return model
    settings: AdaptationSettings = stage.settings
    with sole_training(stage.checkpoints / stage.name):
        prepare(model, stage, settings.max_length)
        base = parse(BaseModelSettings, base_model, "base_model") if base_model else None
        head = masked_model(model, base, stage.seed).to(model.device)
        masking = Masking.of(model.tokenizer, settings.mask_share, settings.max_word_pieces)
        data, held_out = _read(stage, model, examples, passages)
        plan, shares = plan_stage(data, stage, stable_id(examples.digest(), str(len(data))), homogeneous=False)
        if held_out:
            on_step = measured(on_step, _perplexity(head, held_out, masking, stage), stage, plan)
        backward = masked_backward(head, data, masking, settings.chunk_tokens, settings.precision)
        added = added_tokens(model.tokenizer, base) if settings.train == "added" else None
        with _only(head, settings.train, added):
            fit_stage(head, plan, shares, backward, stage, data.example_ids, {"examples": examples.digest()}, on_step)
    return model


def _read(stage: Stage, model: Encoder, examples: Table, passages: Table) -> tuple[Blocks, Blocks | None]:
    """Blocks of the training texts, and of some held-out ones, which the first process measures."""
    check_examples(examples, stage.name, READING, stage.allow_untrained)
    cache = TokenCache(stage.checkpoints.with_name(".tokens"), model.tokenizer, processes.threads_of_host())
    with processes.first_of_host():
        data = _blocks(stage, cache, _texts(examples, passages, "train"))
    if not stage.held_out or processes.rank() != 0:
        return data, None
    held_out = _blocks(stage, cache, _texts(examples, passages, "validation"), stage.held_out.rows)
    return data, held_out if len(held_out) else None


def _texts(examples: Table, passages: Table, split: str) -> dict[str, list[str]]:
    """By source its distinct texts, in the order of their ids."""
    ids: dict[str, set[str]] = {}
    for row in examples.iter_rows():
        if row["split"] == split:
            ids.setdefault(row["source"], set()).update({row["anchor"], row["positive"]})
    texts = passage_texts(passages, {docid for found in ids.values() for docid in found})
    return {source: list(dict.fromkeys(texts[docid] for docid in sorted(found))) for source, found in ids.items()}


def _blocks(stage: Stage, cache: TokenCache, texts: Mapping[str, list[str]], most: int | None = None) -> Blocks:
    """The texts of each source, in an order that the seed decides, as blocks; at most so many of a source."""
    rng = np.random.default_rng(stage.seed)
    rows: list[np.ndarray] = []
    groups: list[int] = []
    for number, source in enumerate(sorted(texts)):
        found = cache.rows(texts[source], None)
        made = packed(found, rng.permutation(len(texts[source])), stage.settings.max_length)[:most]
        rows += made
        groups += [number] * len(made)
    return Blocks(rows, np.array(groups, np.int64), sorted(texts), list(READING) * len(texts))


@contextmanager
def _only(model: PreTrainedModel, train: str, added: np.ndarray | None) -> Iterator[None]:
    """In this context what `train` names is trained, and the head: all, the rows of tokens, or the `added` ones."""
    table = model.base_model.get_input_embeddings().weight
    frozen = [] if train == "all" else [p for p in model.base_model.parameters() if p is not table and p.requires_grad]
    for parameter in frozen:
        parameter.requires_grad_(False)
    hook = None
    if added is not None:
        old = torch.ones(len(table), dtype=torch.bool, device=table.device)
        old[torch.from_numpy(added).to(table.device)] = False
        before = table.detach().clone()
        hook = table.register_hook(lambda gradient: gradient.masked_fill(old[:, None], 0.0))
    try:
        yield
    finally:
        for parameter in frozen:
            parameter.requires_grad_(True)
        if hook is not None:
            hook.remove()
            with torch.no_grad():  # weight decay has shrunk the others a little
                table[old.to(table.device)] = before[old].to(table.device)


def masked_backward(
    model: PreTrainedModel, data: Blocks, masking: Masking, chunk_tokens: int, precision: str
) -> Callable[[Batch], Measures]:
    """Gradients of the mean cross-entropy of the hidden tokens of a batch, hidden anew each time.

    Several processes hide the same tokens, since all have the same random state, and each works off its share.
    """

    def backward(batch: Batch) -> Measures:
        seed = int(torch.randint(2**62, ()))
        blocks = [data.rows[row] for row in batch.rows]
        hidden = [masking.hide(block, np.random.default_rng([seed, place])) for place, block in enumerate(blocks)]
        lengths = np.array([len(block) for block in blocks])
        chunks = chunk_by_tokens(lengths, chunk_tokens)
        sizes = [padded_length(int(lengths[chunk].max())) * len(chunk) for chunk in chunks]
        count = sum(len(places) for _, places in hidden)
        total = torch.zeros((), device=model.device)
        for number in processes.share(sizes):
            chunk = chunks[number]
            with draws(seed + number), autocast(model.device, precision):
                loss = _loss(model, [blocks[i] for i in chunk], [hidden[i] for i in chunk]) / max(count, 1)
            loss.backward()
            total += loss.detach()
        loss = float(processes.total(total))
        return Measures(loss, {}, int(lengths.sum()), sum(sizes))

    return backward


def _loss(
    model: PreTrainedModel, blocks: Sequence[np.ndarray], hidden: Sequence[tuple[np.ndarray, np.ndarray]]
) -> torch.Tensor:
    """Sum of the cross-entropies of the hidden tokens of some blocks."""
    features = pad([seen for seen, _ in hidden], model.config.pad_token_id or 0, None, model.device)
    wanted = torch.zeros(features["input_ids"].shape, dtype=torch.bool)
    for row, (_, places) in enumerate(hidden):
        wanted[row, places] = True
    targets = np.concatenate([block[places] for block, (_, places) in zip(blocks, hidden, strict=True)])
    logits = guesses(model, features, wanted.to(model.device)).float()
    return F.cross_entropy(logits, torch.as_tensor(targets, dtype=torch.int64, device=model.device), reduction="sum")


def _perplexity(model: PreTrainedModel, data: Blocks, masking: Masking, stage: Stage) -> Callable[[], dict[str, float]]:
    """The perplexity of held-out blocks: exp of the mean cross-entropy of tokens that are hidden once for all."""
    hidden = [masking.hide(block, np.random.default_rng([stage.seed, place])) for place, block in enumerate(data.rows)]
    chunks = chunk_by_tokens(np.array([len(block) for block in data.rows]), stage.settings.chunk_tokens)
    count = sum(len(places) for _, places in hidden)

    @torch.no_grad()
    def measures() -> dict[str, float]:
        model.eval()
        with autocast(model.device, stage.settings.precision):
            parts = [_loss(model, [data.rows[i] for i in chunk], [hidden[i] for i in chunk]) for chunk in chunks]
        train_mode(model)
        return {"held_out/perplexity": math.exp(min(sum(map(float, parts)) / max(count, 1), 700.0))}

    return measures
