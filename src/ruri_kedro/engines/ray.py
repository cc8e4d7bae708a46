"""Shards made by Ray Data, and tasks of Ray (extra `scale`)."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any

import pyarrow as pa


def on_ray(make: Callable[[Any], pa.Table], shards: Iterable[Any]) -> Iterator[pa.Table]:
    """`make` of each shard, in their order, on a Ray cluster: the one that runs, or one of this machine's cores.

    As many shards are in flight, and in memory here, as the cluster has CPUs.
    """
    import ray
    import ray.data

    if not ray.is_initialized():
        ray.init(log_to_driver=False)
    stream = iter(shards)
    while wave := list(islice(stream, int(ray.cluster_resources()["CPU"]))):
        rows = [{"number": number, "shard": _Shard(shard)} for number, shard in enumerate(wave)]
        made = ray.data.from_items(rows, override_num_blocks=len(rows)).map(lambda row: _packed(make, row))
        for row in sorted(made.take_all(), key=lambda row: row["number"]):
            yield _unpacked(row["rows"])


def tasks_on_ray(
    work: Callable[..., Any], items: Iterable[Any], at_once: int, *arguments: Any
) -> Iterator[tuple[Any, Any]]:
    """Each item with `work(item, *arguments)`, as they end, so many at a time; with an exception where its task died.

    A task has a CUDA device to itself where the cluster has any.
    """
    import ray

    if not ray.is_initialized():
        ray.init(log_to_driver=False)
    devices = 1 if ray.cluster_resources().get("GPU") else 0
    task = ray.remote(work).options(max_retries=0, num_gpus=devices)
    waiting, working = list(items), {}
    while waiting or working:
        while waiting and len(working) < at_once:
            item = waiting.pop(0)
            working[task.remote(item, *arguments)] = item
        [done], _ = ray.wait(list(working), num_returns=1)
        try:
            result = ray.get(done)
        except ray.exceptions.RayError as error:
            result = error
        yield working.pop(done), result


@dataclass(frozen=True)
class _Shard:
    """Carries what a shard is made of as it is: Ray would make a column of a list and a struct of a dict."""

    content: Any


def _packed(make: Callable[[Any], pa.Table], row: dict[str, Any]) -> dict[str, Any]:
    table = make(row["shard"].content)
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return {"number": row["number"], "rows": sink.getvalue().to_pybytes()}


def _unpacked(data: bytes) -> pa.Table:
    with pa.ipc.open_stream(data) as reader:
        return reader.read_all()
