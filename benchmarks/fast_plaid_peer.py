"""fast-plaid as `multi_vector.py` measures it; run by the Python of an environment that has it, not this package's.

    python fast_plaid_peer.py <folder with vectors> <folder of its index> <threads> <k> <bits>

One JSON line for building, then one for each setting of a search, with the passages that it finds.
"""

import json
import re
import sys
import time
from pathlib import Path

import numpy as np
import torch
from fast_plaid import search

SEARCHES = [(512, 2), (1024, 2), (1024, 4), (2048, 4), (2048, 8), (4096, 8), (8192, 16), (16384, 32)]


def main(vectors: Path, index: Path, threads: int, k: int, bits: int) -> None:
    torch.set_num_threads(threads)
    documents = torch.from_numpy(np.load(vectors / "documents.npy"))
    queries = torch.from_numpy(np.load(vectors / "queries.npy")).split(np.load(vectors / "query_lengths.npy").tolist())
    plaid = search.FastPlaid(index=str(index), device="cpu")
    began, began_cpu = time.perf_counter(), time.process_time()
    plaid.create(list(documents.split(np.load(vectors / "lengths.npy").tolist())), nbits=bits)
    cpu, seconds = time.process_time() - began_cpu, time.perf_counter() - began
    memory = int(re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())[1]) / 2**20
    size = sum(path.stat().st_size for path in index.rglob("*") if path.is_file())
    say({"cpu": cpu, "seconds": seconds, "memory": memory, "bytes": size / len(documents)})
    for scored, probes in SEARCHES:
        options = {"top_k": k, "n_full_scores": scored, "n_ivf_probe": probes, "show_progress": False}
        plaid.search(queries[:4], n_processes=1, **options)
        began, began_cpu = time.perf_counter(), time.process_time()
        hits = plaid.search(list(queries), n_processes=threads, **options)
        cpu, seconds = time.process_time() - began_cpu, time.perf_counter() - began
        found = [[int(number) for number, _ in one] for one in hits]
        speeds = {"per_cpu": len(queries) / cpu, "per_second": len(queries) / seconds}
        say({"setting": [scored, probes], **speeds, "found": found})


def say(line: dict) -> None:
    print(json.dumps(line), flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), *map(int, sys.argv[3:]))
