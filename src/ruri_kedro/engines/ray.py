"""Shards made by Ray Data (extra `scale`)."""

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
