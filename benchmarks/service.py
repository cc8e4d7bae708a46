"""The service with a 4-layer model over JSQuAD's passages: starts, single queries, many users, and other servers.

    python benchmarks/service.py --model <folder of a SentenceTransformer> --data <raw_root> [--seconds 60]
    python benchmarks/service.py ... --infinity <python of an environment with infinity-emb[torch,server]>

Wall-clock times depend on what else runs on the machine, so the seconds of CPU of the service stand beside them, and
what is compared is asked in turns.
"""

import argparse
import http.client
import json
import os
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import mlflow
import psutil
from mlflow import MlflowClient
from sentence_transformers import SentenceTransformer

from ruri_kedro.benchmark.tasks.load import load_task
from ruri_kedro.models.base import build_cross_encoder
from ruri_kedro.registry.versions.models import requirements
from ruri_kedro.tables.raw import write_rows

NAME, CLIENTS, USERS = "e5-4l", 16, 32
PROMPTS = {"query": "query: ", "document": "passage: "}
JSON = {"Content-Type": "application/json"}


def main() -> None:
    """Print a line for each figure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--infinity", type=Path, help="python of an environment with Infinity, to compare with it, too")
    given = parser.parse_args()
    task = load_task("jsquad", {"type": "retrieval", "shape": "qa", "path": "jsquad/valid.jsonl.gz"}, given.data)
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        write_rows(root / "jsquad.jsonl.gz", ({"docid": key, "text": text} for key, text in task.corpus.items()))
        register(given.model, root)
        queries = list(task.queries.values())
        first, _ = starts(root, queries)
        with service(root) as (port, process):
            again = answers(port, queries[:20])
            print(f"answers after a kill and a start the same: {first == again}")
            single(port, queries)
            many(port, process, queries, given.seconds)
        peers = [MLFLOW] + ([infinity(given.infinity, given.model.resolve())] if given.infinity else [])
        for peer in peers:
            against(peer, root, queries, given.seconds / 3)


def register(model: Path, root: Path) -> None:
    """The model as a champion of a registry in `root`, and a reranker on it, whose head has random weights."""
    mlflow.set_tracking_uri(f"sqlite:///{root}/mlflow.db")
    mlflow.create_experiment("service", artifact_location=(root / "mlruns").as_uri())
    mlflow.set_experiment("service")
    loaded = SentenceTransformer(str(model), device="cpu", prompts=PROMPTS)
    with mlflow.start_run():
        mlflow.sentence_transformers.log_model(
            loaded, name="embedder", registered_model_name=NAME, pip_requirements=requirements(), input_example=["駅"]
        )
    MlflowClient().set_registered_model_alias(NAME, "champion", "1")
    build_cross_encoder(model, 512, 0).save_pretrained(str(root / "reranker"))


@contextmanager
def service(root: Path) -> Iterator[tuple[int, psutil.Process]]:
    """`kedro ruri serve` until the block ends, which begins when it answers; then it is killed."""
    port = free_port()
    command = [sys.executable, "-m", "ruri_kedro", "serve", "--port", str(port), "--model", f"models:/{NAME}@champion",
               "--reranker", str(root / "reranker"), "--collection", str(root / "jsquad.jsonl.gz")]  # fmt: skip
    with running(command, root, lambda: ask(port, "GET", "/healthz")) as process:
        yield port, process


@contextmanager
def running(command: list[str], root: Path, ready: Callable[[], object]) -> Iterator[psutil.Process]:
    """A program, once `ready` raises nothing; ended with all its children."""
    # MLflow looks for uvicorn on the path.
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = os.environ | {"MLFLOW_TRACKING_URI": f"sqlite:///{root}/mlflow.db", "PATH": path}
    with (root / "log").open("wb") as log:
        started = subprocess.Popen(command, cwd=root, env=environment, stdout=log, stderr=log, start_new_session=True)
        try:
            while True:
                try:
                    ready()
                    break
                except OSError:
                    assert started.poll() is None, (root / "log").read_text()
                    time.sleep(0.05)
            yield psutil.Process(started.pid)
        finally:
            with suppress(ProcessLookupError):
                os.killpg(started.pid, signal.SIGKILL)
            started.wait()


def starts(root: Path, queries: list[str]) -> tuple[list, list[float]]:
    """Seconds from the command to the first answer: of the first start, which builds the indexes, and of the next."""
    found, seconds = [], []
    for what in ("first start", "second start"):
        begun = time.perf_counter()
        with service(root) as (port, process):
            ask(port, "POST", "/search", {"query": queries[0]})
            seconds.append(time.perf_counter() - begun)
            cpu = sum(process.cpu_times()[:2])
            print(f"{what}: first answer after {seconds[-1]:.1f} s, {cpu:.1f} s of CPU; load {os.getloadavg()[0]:.1f}")
            found = answers(port, queries[:20])
    return found, seconds


def single(port: int, queries: list[str]) -> None:
    """Milliseconds of single queries, one after the other."""
    for systems in (["bm25", "dense", "fused"], ["bm25", "dense", "fused", "reranked"]):
        times = []
        for query in queries[:60]:
            begun = time.perf_counter()
            ask(port, "POST", "/search", {"query": query, "systems": systems})
            times.append(1000 * (time.perf_counter() - begun))
        middle, high = statistics.median(times[10:]), statistics.quantiles(times[10:], n=20)[-1]
        print(f"{' + '.join(systems)}: median {middle:.0f} ms, 95% below {high:.0f} ms; load {os.getloadavg()[0]:.1f}")


def many(port: int, process: psutil.Process, queries: list[str], seconds: float) -> None:
    """32 users, each asking again at once: answers, errors, and memory after 10 seconds and at the end."""
    memory = []
    timer = threading.Timer(10, lambda: memory.append(process.memory_info().rss))
    timer.start()
    bodies = [{"query": query, "systems": ["bm25", "dense", "fused"]} for query in queries]
    rate, errors = load(port, "/search", bodies, USERS, seconds)
    growth = process.memory_info().rss / memory[0] - 1
    told = f"{rate:.0f} searches/s, {errors} errors, memory {100 * growth:+.1f}% since 10 s"
    print(f"{USERS} users, {seconds:.0f} s: {told}")


@dataclass(frozen=True)
class Peer:
    """Another server of the same model."""

    name: str
    command: Callable[[int], list[str]]  # from its port
    alive: str  # path that answers once it is up
    path: str
    body: Callable[[str], dict]  # of a request for the vector of a query


MLFLOW = Peer(
    "mlflow models serve",
    lambda port: [sys.executable, "-m", "mlflow", "models", "serve", "--model-uri", f"models:/{NAME}@champion",
                  "--env-manager", "local", "--port", str(port)],
    "/ping",
    "/invocations",
    lambda query: {"inputs": [query], "params": {"prompt_name": "query"}},
)  # fmt: skip


def infinity(python: Path, model: Path) -> Peer:
    """Infinity with its torch engine; it knows no prompts, so a query is sent with its own."""
    return Peer(
        "Infinity",
        lambda port: [str(python.with_name("infinity_emb")), "v2", "--model-id", str(model), "--engine", "torch",
                      "--device", "cpu", "--no-bettertransformer", "--served-model-name", NAME, "--port", str(port)],
        "/health",
        "/embeddings",
        lambda query: {"model": NAME, "input": [PROMPTS["query"] + query]},
    )  # fmt: skip


def against(peer: Peer, root: Path, queries: list[str], seconds: float) -> None:
    """Single short texts by 16 clients, both servers up, asked in turns."""
    port = free_port()
    peer_bodies = [peer.body(query) for query in queries]
    own_bodies = [{"input": query, "prompt_name": "query"} for query in queries]
    with (
        service(root) as (own, process),
        running(peer.command(port), root, lambda: ask(port, "GET", peer.alive)) as other,
    ):
        ask(port, "POST", peer.path, peer_bodies[0])
        ratios = []
        for _ in range(3):
            before = cpu_seconds(process), cpu_seconds(other)
            ours, errors = load(own, "/v1/embeddings", own_bodies, CLIENTS, seconds / 2)
            theirs, peer_errors = load(port, peer.path, peer_bodies, CLIENTS, seconds / 2)
            spent = cpu_seconds(process) - before[0], cpu_seconds(other) - before[1]
            by_cpu = [rate * seconds / 2 / used for rate, used in zip((ours, theirs), spent, strict=True)]
            ratios.append((ours / theirs, by_cpu[0] / by_cpu[1]))
            own_told = f"/v1/embeddings {ours:.0f}/s, {by_cpu[0]:.0f} for a second of CPU, {errors} errors"
            peer_told = f"{peer.name} {theirs:.0f}/s, {by_cpu[1]:.0f}, {peer_errors}"
            print(f"{own_told}; {peer_told}; load {os.getloadavg()[0]:.1f}")
    for what, values in zip(("", " by CPU"), zip(*ratios, strict=True), strict=True):
        print(f"times {peer.name}{what}: {', '.join(f'{ratio:.1f}' for ratio in values)}")


def cpu_seconds(process: psutil.Process) -> float:
    """Of a program and all that it has started."""
    return sum(sum(each.cpu_times()[:2]) for each in (process, *process.children(recursive=True)))


def load(port: int, path: str, bodies: list[dict], clients: int, seconds: float) -> tuple[float, int]:
    """Requests a second, and errors, of clients that each ask again as soon as they are answered."""
    stop, counts, errors = time.perf_counter() + seconds, [0] * clients, [0] * clients

    def client(number: int) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        place = number * 97
        while time.perf_counter() < stop:
            connection.request("POST", path, json.dumps(bodies[place % len(bodies)]), JSON)
            response = connection.getresponse()
            response.read()
            counts[number] += 1
            errors[number] += response.status != 200
            place += 1

    threads = [threading.Thread(target=client, args=(number,)) for number in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sum(counts) / seconds, sum(errors)


def answers(port: int, queries: list[str]) -> list:
    """What all systems find, without the times."""
    found = []
    for query in queries:
        rankings = json.loads(ask(port, "POST", "/search", {"query": query}))["rankings"]
        found.append([(ranking["system"], ranking["hits"]) for ranking in rankings])
    return found


def ask(port: int, method: str, path: str, body: dict | None = None) -> bytes:
    """The answer to one request; OSError where there is none or another status than 200."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
    connection.request(method, path, None if body is None else json.dumps(body), JSON)
    response = connection.getresponse()
    content = response.read()
    if response.status != 200:
        raise OSError(f"{path}: {response.status} {content[:200]!r}")
    return content


def free_port() -> int:
    """A port of loopback that nobody listens on."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


if __name__ == "__main__":
    main()
