"""What the service counts, in the text form of Prometheus."""

from collections import Counter
from collections.abc import Iterator
from itertools import accumulate
from threading import Lock

import psutil

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
_SIZES = (1, 2, 4, 8, 16, 32, 64, 128, 256)


class Metrics:
    """Counters of one process."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._requests: Counter[tuple[str, int]] = Counter()
        self._seconds: dict[str, _Histogram] = {}
        self._batches: dict[str, _Histogram] = {}
        self._swaps = 0

    def request(self, path: str, status: int, seconds: float) -> None:
        """A request that was answered; `path` is one of the service's own."""
        with self._lock:
            self._requests[path, status] += 1
            self._seconds.setdefault(path, _Histogram(_SECONDS)).add(seconds)

    def batch(self, work: str, size: int) -> None:
        """Texts or pairs that went through a model together."""
        with self._lock:
            self._batches.setdefault(work, _Histogram(_SIZES)).add(size)

    def swap(self) -> None:
        """The service has taken over another model."""
        with self._lock:
            self._swaps += 1

    def text(self, models: dict[str, str]) -> str:
        """All of it; `models` are the labels of the models by place."""
        with self._lock:
            return "\n".join([*self._lines(models), ""])

    def _lines(self, models: dict[str, str]) -> Iterator[str]:
        yield from _head("ruri_requests_total", "counter", "Requests by path and status.")
        for (path, status), count in sorted(self._requests.items()):
            yield f'ruri_requests_total{{path="{path}",status="{status}"}} {count}'
        yield from _head("ruri_request_seconds", "histogram", "Seconds to an answer, by path.")
        for path, histogram in sorted(self._seconds.items()):
            yield from histogram.lines("ruri_request_seconds", f'path="{path}"')
        yield from _head("ruri_batch_size", "histogram", "Texts or pairs encoded together, by work.")
        for work, histogram in sorted(self._batches.items()):
            yield from histogram.lines("ruri_batch_size", f'work="{work}"')
        yield from _head("ruri_model_swaps_total", "counter", "Models taken over from the registry while running.")
        yield f"ruri_model_swaps_total {self._swaps}"
        yield from _head("ruri_model_info", "gauge", "The models that are served, by place.")
        for place, label in models.items():
            escaped = label.replace("\\", "\\\\").replace('"', '\\"').replace("\n", " ")
            yield f'ruri_model_info{{place="{place}",model="{escaped}"}} 1'
        yield from _head("process_resident_memory_bytes", "gauge", "Resident memory of the process.")
        yield f"process_resident_memory_bytes {psutil.Process().memory_info().rss}"


class _Histogram:
    def __init__(self, bounds: tuple[float, ...]) -> None:
        self._bounds, self._counts, self._sum = bounds, [0] * (len(bounds) + 1), 0.0

    def add(self, value: float) -> None:
        place = next((i for i, bound in enumerate(self._bounds) if value <= bound), len(self._bounds))
        self._counts[place] += 1
        self._sum += value

    def lines(self, name: str, label: str) -> Iterator[str]:
        for bound, count in zip([*map(str, self._bounds), "+Inf"], accumulate(self._counts), strict=True):
            yield f'{name}_bucket{{{label},le="{bound}"}} {count}'
        yield f"{name}_sum{{{label}}} {self._sum:.6f}"
        yield f"{name}_count{{{label}}} {sum(self._counts)}"


def _head(name: str, kind: str, text: str) -> tuple[str, str]:
    return f"# HELP {name} {text}", f"# TYPE {name} {kind}"
