"""The parts of gpu.py that measure steps: each way of doing the same work is a line."""

import tempfile
from importlib.util import find_spec
from pathlib import Path

import faiss
import numpy as np
import torch
from figures import tell
from gpu_measure import PRECISION, Skipped, Step, Work, measure
from peers import (
    ALL,
    GROUP,
    LENGTH,
    PROMPTS,
    TEMPERATURE,
    list_net,
    peer_losses,
    query_groups,
    reranking_set,
    trained,
    training_set,
    write_bert,
)
from sentence_transformers import SentenceTransformer

from ruri_kedro.models.base import build_cross_encoder, load_encoder
from ruri_kedro.models.forward import encode
from ruri_kedro.models.precision import autocast
from ruri_kedro.models.speed import reads_flat, speed_up
from ruri_kedro.search.dense import faiss_index
from ruri_kedro.training.data import TrainingSet
from ruri_kedro.training.objectives import Budget, LossSettings, embedding_backward, reranking_backward
from ruri_kedro.training.plan import Batch

FLASH = "flash_attention_2"
NEAREST, WIDTH = 100, 384  # documents of a search, numbers of a vector


def finetuning(part: str, work: Work) -> None:
    """Contrastive steps with all activations kept."""
    _contrast(part, work, work.model, work.batch, ALL, "plain")


def large_batch(part: str, work: Work) -> None:
    """Contrastive steps with gradient caching, of a model of base size."""
    with tempfile.TemporaryDirectory() as folder:
        write_bert(Path(folder), *work.large_model, work.pairs)
        _contrast(part, work, Path(folder), work.large, 0, "cached, 128")


def _contrast(part: str, work: Work, model: Path, batch: int, keep: int, loss: str) -> None:
    data = training_set(load_encoder(model), work.pairs[:batch])
    ways = {
        "ours": lambda: _our_step(work, model, data, keep),
        f"sentence-transformers, {loss}": lambda: _peer_step(work, model, data, loss),
    }
    for way, make in ways.items():
        measure(part, way, work, len(data), make, "pairs", warm=min(work.batch, len(data)))


def _our_step(
    work: Work, folder: Path, data: TrainingSet, keep: int, attention: str | None = None, compiled: bool = False
) -> Step:
    model = load_encoder(folder).to(work.device)
    speed_up(model, attention, compiled, PRECISION, "gpu.py")
    if attention == FLASH and not reads_flat(model):
        raise Skipped("the model does not take texts one behind the other, without padding")
    backward = embedding_backward(model, data, Budget(work.chunk, keep, PRECISION), LossSettings(TEMPERATURE))
    return trained(model, lambda count: backward(Batch(0, np.arange(count))).loss)


def _peer_step(work: Work, folder: Path, data: TrainingSet, loss: str) -> Step:
    model = load_encoder(folder).to(work.device)
    backward = peer_losses(model, data, ALL)[loss]

    def step(count: int) -> float:
        with autocast(model.device, PRECISION):
            return float(backward(count)())

    return trained(model, step)


def reranker(part: str, work: Work) -> None:
    """Steps of a reranker on groups of one positive and 63 negatives."""
    queries, passages = query_groups(work.pairs, work.groups)

    def ours() -> Step:
        model = build_cross_encoder(work.model, LENGTH, 0).to(work.device)
        data = reranking_set(model, queries, passages)
        backward = reranking_backward(model, data, Budget(work.chunk, ALL, PRECISION), LENGTH)
        return trained(model, lambda count: backward(Batch(-1, np.arange(count))).loss)

    def peer(mini_batch: int) -> Step:
        model = build_cross_encoder(work.model, LENGTH, 0).to(work.device)

        def step(count: int) -> float:
            with autocast(model.device, PRECISION):
                return float(list_net(model, mini_batch, queries[:count], passages[:count]))

        return trained(model, step)

    measure(part, "ours", work, work.groups, ours, "pairs", GROUP)
    for mini_batch in sorted({GROUP, work.groups * GROUP}):
        way = f"sentence-transformers, ListNet, mini-batch {mini_batch}"
        measure(part, way, work, work.groups, lambda size=mini_batch: peer(size), "pairs", GROUP)


def encoding(part: str, work: Work) -> None:
    """Passages to vectors, from text."""
    texts = [text for _, text in work.pairs[: work.texts]]
    prompt = PROMPTS["document"]

    def model() -> SentenceTransformer:
        return load_encoder(work.model, max_length=LENGTH).to(work.device).eval()

    def ours() -> Step:
        encoder = model()
        return lambda count: encode(encoder, texts[:count], prompt, LENGTH, work.chunk, precision=PRECISION)

    def peer(batch: int) -> Step:
        encoder = model().bfloat16()
        return lambda count: encoder.encode(
            texts[:count], prompt=prompt, batch_size=batch, normalize_embeddings=True, show_progress_bar=False
        )

    measure(part, "ours", work, len(texts), ours, "passages", warm=64)
    for batch in (64, 256):
        way = f"sentence-transformers, {PRECISION} weights, batch {batch}"
        measure(part, way, work, len(texts), lambda size=batch: peer(size), "passages", warm=64)


def attention(part: str, work: Work) -> None:
    """Steps of fine-tuning with and without padding."""
    if work.device == "cpu":
        raise Skipped("variable-length attention needs a CUDA device")
    if not find_spec("flash_attn"):
        raise Skipped("flash-attn is not installed: pip install flash-attn")
    data = training_set(load_encoder(work.model), work.pairs[: work.batch])
    for way, name in (("padded", None), (FLASH, FLASH)):
        measure(part, way, work, len(data), lambda name=name: _our_step(work, work.model, data, ALL, name), "pairs")


def compiled(part: str, work: Work) -> None:
    """Steps of fine-tuning with and without compilation, whose time is that of the first step."""
    data = training_set(load_encoder(work.model), work.pairs[: work.batch])
    for way, yes in (("as it is", False), ("compiled", True)):
        make = lambda yes=yes: _our_step(work, work.model, data, ALL, compiled=yes)  # noqa: E731
        measure(part, way, work, len(data), make, "pairs")


def search(part: str, work: Work) -> None:
    """The nearest of random vectors, by faiss and by torch."""
    draw = np.random.default_rng(0).standard_normal
    documents, queries = (draw((count, WIDTH), dtype=np.float32) for count in (work.documents, work.queries))
    product = faiss.METRIC_INNER_PRODUCT
    ways: dict[str, Step] = {
        "torch": _torch_search(queries, documents, work.device),
        "faiss on the CPU": lambda n: faiss.knn(queries[:n], documents, NEAREST, metric=product)[1],
    }
    if faiss.get_num_gpus():
        threads = faiss.omp_get_max_threads()
        ways["ours, faiss on the GPU"] = lambda n: faiss_index.search(queries[:n], documents, NEAREST, threads)[0]
    else:
        tell(part, way="ours, faiss on the GPU", skipped="pip uninstall faiss-cpu && pip install faiss-gpu-cu12")
    expected = ways["torch"](work.queries)
    for way, step in ways.items():
        measure(part, way, work, work.queries, lambda step=step: step, "queries")
        found = step(work.queries)
        same = sum(len(np.intersect1d(a, b)) for a, b in zip(found, expected, strict=True)) / expected.size
        tell(part, way=way, documents=work.documents, same_as_torch=round(same, 5))


def _torch_search(queries: np.ndarray, documents: np.ndarray, device: str) -> Step:
    """Documents stay on the card."""
    q, d = (torch.from_numpy(vectors).to(device) for vectors in (queries, documents))
    return lambda count: torch.cat([(part @ d.T).topk(NEAREST).indices for part in q[:count].split(256)]).cpu().numpy()
