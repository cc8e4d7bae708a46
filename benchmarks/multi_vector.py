"""Index and search of token vectors beside fast-plaid: CPU seconds, queries per CPU second, recall, bytes, memory.

    python benchmarks/multi_vector.py                                 # 100,000 passages of made-up token vectors
    python benchmarks/multi_vector.py --peer <its python>             # and fast-plaid, from an environment of its own
    python benchmarks/multi_vector.py --model <encoder> --texts <...> # token vectors of passages, cut by PCA to 128
    python benchmarks/multi_vector.py --quick                         # 5,000 passages

The peer needs another torch than this package, so it runs by the Python of its own environment (pip install
fast-plaid==1.7.0.2110), on the same vectors and threads. Both build with 2 bits; both are then searched for 100 hits
with several settings, and of each side the fastest that reaches a recall is compared. Recall is of the 100 passages
that MaxSim of all finds. Figures are by the CPU clock of each process, so that other work on the machine counts for
little. `--texts` is a file of JSON lines, gzipped or not, with a field `context`.
"""

import argparse
import gzip
import json
import os
import subprocess
import tempfile
import time
from itertools import pairwise
from pathlib import Path

import numpy as np
from figures import alone, peak_memory, say, table

from ruri_kedro.search.multi_vector.build import build_index
from ruri_kedro.search.multi_vector.search import Searcher
from ruri_kedro.search.multi_vector.settings import MultiVectorSettings

SEED, DIMENSION, DEPTH, BITS = 0, 128, 100, 2
PASSAGES, QUICK_PASSAGES, QUERIES = 100_000, 5_000, 200
SUBJECT = 200  # passages of a subject, made up
TOKENS = 40  # of a passage of texts
RECALLS = (0.8, 0.9, 0.95)
PEER = Path(__file__).with_name("fast_plaid_peer.py")
# (probes, candidates, rescored)
SEARCHES = [(2, 1000, 200), (4, 1000, 300), (4, 2000, 500), (8, 2000, 500), (8, 4000, 1000), (16, 8000, 2000),
            (32, 16000, 4000)]  # fmt: skip


def unit(vectors: np.ndarray) -> np.ndarray:
    return (vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)).astype(np.float32)


def made_up(passages: int) -> tuple[np.ndarray, np.ndarray]:
    """Token vectors (n, 128) float16 of words by Zipf's law, each with its passage's subject and noise; lengths."""
    rng = np.random.default_rng(SEED)
    words = unit(rng.standard_normal((20_000, DIMENSION)))
    subjects = unit(rng.standard_normal((max(1, passages // SUBJECT), DIMENSION)))
    lengths = np.clip(rng.lognormal(np.log(15), 0.4, passages), 6, 64).astype(np.int64)
    subject_of = np.repeat(rng.integers(0, len(subjects), passages), lengths)
    chances = np.cumsum(1 / np.arange(1, len(words) + 1))
    vectors = np.empty((len(subject_of), DIMENSION), dtype=np.float16)
    for start in range(0, len(vectors), 2**17):
        subject = subjects[subject_of[start : start + 2**17]]
        word = words[np.searchsorted(chances, rng.random(len(subject)) * chances[-1])]
        noise = unit(rng.standard_normal(word.shape, dtype=np.float32))
        vectors[start : start + 2**17] = unit(word + subject + 0.5 * noise)
    return vectors, lengths


def of_texts(passages: int, model: Path, texts: Path) -> tuple[np.ndarray, np.ndarray]:
    """Token vectors of passages, cut by PCA to 128; where there are too few, made-up ones of pieces of several."""
    from sentence_transformers import SentenceTransformer

    encoder = SentenceTransformer(str(model), device="cpu")
    with (gzip.open if texts.suffix == ".gz" else open)(texts, "rt", encoding="utf-8") as lines:
        contexts = list(dict.fromkeys(json.loads(line)["context"] for line in lines))
    encoded = encoder.encode(contexts, output_value="token_embeddings", convert_to_numpy=False, batch_size=16)
    tokens = unit(np.concatenate([vectors.cpu().numpy() for vectors in encoded]))
    centred = tokens - tokens.mean(axis=0)
    axes = np.linalg.eigh(np.cov(centred[:: max(1, len(centred) // 50_000)].T))[1][:, ::-1][:, :DIMENSION]
    cut = unit(centred @ axes)
    rng = np.random.default_rng(SEED)
    wanted = passages * TOKENS
    if len(cut) < wanted:
        starts = rng.integers(0, len(cut) - 10, (wanted - len(cut)) // 10)
        mixed = cut[(starts[:, None] + np.arange(10)).ravel()]
        cut = np.concatenate([cut, unit(mixed + 0.3 * unit(rng.standard_normal(mixed.shape)))])
    return cut[:wanted].astype(np.float16), np.full(len(cut[:wanted]) // TOKENS, TOKENS)


def write_vectors(folder: Path, vectors: np.ndarray, lengths: np.ndarray) -> None:
    """Documents, queries (12 to 32 tokens of a passage, with noise) and what MaxSim finds, as arrays."""
    rng = np.random.default_rng(SEED)
    vectors, ends = vectors[: lengths.sum()], np.cumsum(lengths)
    sizes = rng.integers(12, 33, QUERIES)
    drawn = [
        vectors[rng.integers(ends[passage] - lengths[passage], ends[passage], size)]
        for passage, size in zip(rng.choice(len(lengths), QUERIES, replace=False), sizes, strict=True)
    ]
    queries = [unit(some + 0.7 * unit(rng.standard_normal(some.shape))) for some in drawn]
    arrays = {"documents": vectors, "lengths": lengths, "queries": np.concatenate(queries), "query_lengths": sizes}
    for name, values in (arrays | {"exact": best_of_all(vectors, lengths, queries)}).items():
        np.save(folder / f"{name}.npy", values.astype(np.float16) if values.ndim == 2 and name != "exact" else values)


def best_of_all(vectors: np.ndarray, lengths: np.ndarray, queries: list[np.ndarray]) -> np.ndarray:
    """The passages with the highest MaxSim, (queries, 100), by brute force."""
    import torch

    torch.set_num_threads(1)
    asked, starts = torch.from_numpy(np.concatenate(queries)), np.cumsum([0, *map(len, queries)])[:-1]
    ends = np.cumsum(lengths)
    blocks = []
    for first in range(0, len(lengths), 2000):
        last = min(first + 2000, len(lengths))
        begin = ends[first] - lengths[first]
        block = torch.from_numpy(vectors[begin : ends[last - 1]].astype(np.float32))
        highest = np.maximum.reduceat((asked @ block.T).numpy(), ends[first:last] - lengths[first:last] - begin, axis=1)
        blocks.append(np.add.reduceat(highest, starts, axis=0))
    return np.argsort(-np.concatenate(blocks, axis=1), axis=1, kind="stable")[:, :DEPTH]


def recall(found: list[list[int]], exact: np.ndarray) -> float:
    """The share of what MaxSim of all passages finds."""
    return float(np.mean([len({*one} & {*best}) / DEPTH for one, best in zip(found, exact.tolist(), strict=True)]))


def settings_of(threads: int, search: tuple[int, int, int]) -> MultiVectorSettings:
    probes, candidates, rescored = search
    return MultiVectorSettings(bits=BITS, centroids=None, iterations=8, seed=SEED, shard_tokens=2**19, probes=probes,
                               candidates=candidates, rescored=rescored, threads=threads)  # fmt: skip


def measure_build(folder: Path, threads: int) -> dict[str, float]:
    """CPU seconds, GiB at most, bytes for each token; kernels are compiled before."""
    lengths = np.load(folder / "lengths.npy")
    vectors = np.load(folder / "documents.npy", mmap_mode="r")
    ends = np.cumsum(lengths)

    def blocks(done: int, last: int = len(lengths)):
        for first in range(done, last, 1000):
            rows = slice(first, min(first + 1000, last))
            tokens = vectors[ends[first] - lengths[first] : ends[rows.stop - 1]]
            yield [str(number) for number in range(first, rows.stop)], tokens, lengths[rows].tolist()

    settings = settings_of(threads, SEARCHES[0])
    build_index(lambda done: blocks(done, 100), folder / "warm", settings, "", "")
    began, began_cpu = time.perf_counter(), time.process_time()
    build_index(blocks, folder / "ours", settings, "", "")
    seconds, cpu = time.perf_counter() - began, time.process_time() - began_cpu
    size = sum(path.stat().st_size for path in (folder / "ours").rglob("*") if path.is_file())
    return {"cpu": cpu, "seconds": seconds, "memory": peak_memory(), "bytes": size / len(vectors)}


def measure_search(folder: Path, threads: int) -> list[dict[str, float]]:
    """Recall and queries per CPU second and second of each of our settings."""
    lengths = np.load(folder / "query_lengths.npy")
    flat, exact = np.load(folder / "queries.npy").astype(np.float32), np.load(folder / "exact.npy")
    queries = [flat[first:last] for first, last in pairwise(np.cumsum([0, *lengths]))]
    rows = []
    for search in SEARCHES:
        searcher = Searcher(folder / "ours", settings_of(threads, search), "")
        list(searcher.search(queries[:4], DEPTH))
        began, began_cpu = time.perf_counter(), time.process_time()
        found = [[int(docid) for docid, _ in hits] for hits in searcher.search(queries, DEPTH)]
        cpu, seconds = time.process_time() - began_cpu, time.perf_counter() - began
        rows.append({"setting": search, "recall": recall(found, exact), "per_cpu": len(queries) / cpu,
                     "per_second": len(queries) / seconds})  # fmt: skip
        print(json.dumps(rows[-1]), flush=True)
    return rows


def measure_peer(python: str, folder: Path, threads: int) -> tuple[dict, list[dict]]:
    """What the peer's script says: its building, and its searches with recall."""
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads)}
    command = [python, str(PEER), str(folder), str(folder / "theirs"), str(threads), str(DEPTH), str(BITS)]
    lines = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=environment).stdout.splitlines()
    built, *searches = map(json.loads, lines)
    exact = np.load(folder / "exact.npy")
    rows = [{**row, "recall": recall(row.pop("found"), exact)} for row in searches]
    for row in rows:
        print(json.dumps(row), flush=True)
    return built, rows


def fastest(rows: list[dict], least: float) -> float | None:
    """Queries per CPU second of the fastest setting with such a recall."""
    return max((row["per_cpu"] for row in rows if row["recall"] >= least), default=None)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--passages", type=int, default=PASSAGES)
    parser.add_argument("--quick", action="store_true", help=f"{QUICK_PASSAGES} passages")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--model", type=Path, help="encoder whose token vectors are taken")
    parser.add_argument("--texts", type=Path, help="JSON lines with the passages that it encodes")
    parser.add_argument("--peer", help="the Python of an environment with fast-plaid")
    parser.add_argument("--folder", type=Path, help="where vectors and indexes are written")
    options = parser.parse_args()
    passages = QUICK_PASSAGES if options.quick else options.passages
    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        folder = Path(name)
        made = of_texts(passages, options.model, options.texts) if options.model else made_up(passages)
        write_vectors(folder, *made)
        of = f"{len(made[1])} passages, {int(made[1].sum())} tokens"
        ours, our_rows = alone(measure_build, folder, options.threads), alone(measure_search, folder, options.threads)
        theirs, their_rows = measure_peer(options.peer, folder, options.threads) if options.peer else ({}, [])
        say("multi_vector", f"building, {of}", ours["cpu"], None, "CPU s", theirs.get("cpu"))
        say("multi_vector", f"building, {of}", ours["memory"], None, "GiB", theirs.get("memory"))
        say("multi_vector", f"on disk, {of}", ours["bytes"], 40, "bytes a token", theirs.get("bytes"))
        for least in RECALLS:
            if speed := fastest(our_rows, least):
                peer = fastest(their_rows, least)
                say("multi_vector", f"search, recall@{DEPTH} of {least}", speed, None, "queries per CPU s", peer)
        table()


if __name__ == "__main__":
    main()
