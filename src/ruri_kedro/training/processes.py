"""One training on several devices: a process for each, which do their share of the same steps.

The texts of a global batch are cut into the same chunks whatever the number of processes; each process works off some
of them, all get all outputs and compute the whole loss, and the gradients of the shares are summed. So loss and
gradient are those of one process. Outside of a training all functions here mean one process and do nothing.
"""

import logging
import multiprocessing
import os
import signal
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from logging.handlers import QueueHandler
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
import torch.distributed as dist
from safetensors.torch import load_model, save_model

from ruri_kedro.errors import RecipeError, RuriError, TrainingError
from ruri_kedro.models.base import device_kind
from ruri_kedro.training.logs import quiet

# One process may tokenise a corpus for hours while the others wait; a process that died is noticed at once anyway.
_PATIENCE = timedelta(days=1)

log = logging.getLogger(__name__)


def rank() -> int:
    """Number of this process, from 0; the first one writes checkpoints and reports."""
    return dist.get_rank() if dist.is_initialized() else 0


def size() -> int:
    """How many processes there are, on all hosts."""
    return dist.get_world_size() if dist.is_initialized() else 1


def share(costs: Sequence[int]) -> list[int]:
    """The positions in `costs` of the work that this process does; dear work is dealt first, to who has least."""
    loads = np.zeros(size(), dtype=np.int64)
    own = []
    for position in np.argsort(-np.asarray(costs, dtype=np.int64), kind="stable").tolist():
        taker = int(loads.argmin())
        loads[taker] += costs[position]
        if taker == rank():
            own.append(position)
    return sorted(own)


def total(tensor: torch.Tensor) -> torch.Tensor:
    """The sum of a tensor over all processes, in place."""
    if dist.is_initialized():
        dist.all_reduce(tensor)
    return tensor


def sum_gradients(parameters: Sequence[torch.nn.Parameter]) -> None:
    """Sum the gradients over all processes; a parameter that has none in any of them keeps none."""
    if not dist.is_initialized():
        return
    present = total(torch.tensor([p.grad is not None for p in parameters], dtype=torch.int64)).tolist()
    works = []
    for parameter, count in zip(parameters, present, strict=True):
        if count:
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
            works.append(dist.all_reduce(parameter.grad, async_op=True))
    for work in works:
        work.wait()


@contextmanager
def first_of_host() -> Iterator[None]:
    """The first process of each host does the block, then the others, which find what it has written."""
    waits = dist.is_initialized() and os.environ["LOCAL_RANK"] != "0"
    if waits:
        total(torch.zeros(1))
    yield
    if dist.is_initialized() and not waits:
        total(torch.zeros(1))


def from_first(read: Callable[[], Any]) -> Any:
    """What `read` gives in the first process: JSON values, paths, or a dict of tensors on the CPU."""
    if not dist.is_initialized():
        return read()
    value = read() if rank() == 0 else None
    if _shared(isinstance(value, dict) and bool(value) and all(isinstance(x, torch.Tensor) for x in value.values())):
        return _tensors_from_first(value)
    return _shared(value)


def _shared(value: Any) -> Any:
    box = [value]
    dist.broadcast_object_list(box, src=0, device=torch.device("cpu"))
    return box[0]


def _tensors_from_first(tensors: dict[str, torch.Tensor] | None) -> dict[str, torch.Tensor]:
    kinds = _shared({name: (t.shape, t.dtype) for name, t in tensors.items()} if tensors else None)
    tensors = tensors or {name: torch.empty(shape, dtype=dtype) for name, (shape, dtype) in kinds.items()}
    for name in kinds:
        dist.broadcast(tensors[name], src=0)
    return tensors


@dataclass(frozen=True)
class Hosts:
    """The hosts that train together, by the variables that torchrun reads as its options."""

    count: int = 1
    rank: int = 0
    address: str = "localhost"
    port: int = 0  # 0: any that is free

    @staticmethod
    def of(environment: Mapping[str, str]) -> "Hosts":
        """Raises RecipeError where there are several hosts and a variable is missing."""
        count = int(environment.get("PET_NNODES", "1"))
        if count == 1:
            return Hosts()
        names = ("PET_NODE_RANK", "PET_MASTER_ADDR", "PET_MASTER_PORT")
        missing = [name for name in names if name not in environment]
        if missing:
            raise RecipeError(f"PET_NNODES is {count}, but {', '.join(missing)} not set. See docs/training.md.")
        number, address, port = (environment[name] for name in names)
        return Hosts(count, int(number), address, int(port))


def wanted(device: str, devices: int | str) -> int:
    """How many processes a training is to have on this host; 0: none but this one.

    `devices`: auto for all CUDA devices, or one process on a CPU. Raises RecipeError for more than there are, and for
    a device that trainings do not have.
    """
    if dist.is_initialized():
        return 0
    if device not in ("auto", "cpu", "cuda"):  # the random numbers of a chunk are those of the current device
        raise RecipeError(f"run.device: '{device}'; give auto, cpu or cuda, and CUDA_VISIBLE_DEVICES to choose a GPU.")
    there = torch.cuda.device_count() if device_kind(device).startswith("cuda") else None
    if devices != "auto" and not (isinstance(devices, int) and devices >= 1):
        raise RecipeError(f"run.devices: {devices!r}; give auto or a number from 1 on.")
    if there is not None and devices != "auto" and devices > there:
        raise RecipeError(f"run.devices: {devices}, but there are {there} CUDA devices.")
    count = (there if there is not None else 1) if devices == "auto" else devices
    return 0 if count == 1 and Hosts.of(os.environ).count == 1 else count


def threads_of_host() -> int:
    """Threads of all processes of this host together, for work that the first of them does while the others wait."""
    return torch.get_num_threads() * (int(os.environ["LOCAL_WORLD_SIZE"]) if dist.is_initialized() else 1)


def forget_peak_memory() -> None:
    """From here on `peak_memory` of a GPU is that of what comes; of a process the system keeps it to the end."""
    if torch.cuda.is_initialized():
        torch.cuda.reset_peak_memory_stats()


def peak_memory() -> int:
    """The most bytes that were in use at a time: of the GPU if there is one in use, else of this process."""
    if torch.cuda.is_initialized():
        return torch.cuda.max_memory_allocated()
    import resource

    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else most * 1024


class Train(Protocol):
    """A training in this process, such as train_embedder."""

    def __call__(self, model: torch.nn.Module, *, device: str, on_step: Callable, **arguments: Any) -> Any:
        """Train `model` in place."""


def train_in_processes(
    model: Any,
    load: Callable[[Path], torch.nn.Module],
    train: Train,
    arguments: Mapping[str, Any],
    count: int,
    device: str,
    on_step: Callable[[int, Mapping[str, float]], None],
    label: str,
) -> None:
    """Run `train` in `count` new processes and give `model` the weights that come out.

    load: reads the model from the folder it is saved to; arguments: of `train`, by name; device: auto, cpu, cuda (a
    card for each process), or a single card for all of them, such as cuda:0. Reports and log lines of the first
    process appear in this one. Raises what the processes raised, TrainingError if one of them died.
    """
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import elastic_launch

    reports = multiprocessing.get_context("spawn").SimpleQueue()
    threads = max(torch.get_num_threads() // count, 1)
    failures: list[_Failure] = []
    # The launcher tells of each failure in a page of text; we say it in a line.
    quietly = quiet("torch.distributed.elastic", logging.CRITICAL)
    with tempfile.TemporaryDirectory() as folder, quietly, ThreadPoolExecutor(1) as pool:
        start, trained = Path(folder) / "start", Path(folder) / "trained.safetensors"
        model.save_pretrained(str(start))
        reading = pool.submit(_read_reports, reports, on_step, failures)
        job = _Job(start, trained, load, train, dict(arguments), device_kind(device), threads)
        log.info("%s: %d processes on %s", label, count, device_kind(device))
        torch.cuda.empty_cache()  # what models of earlier nodes have left of a GPU; nothing where none is in use
        try:
            with _same_handlers():
                elastic_launch(_launch_config(count, label), _work)(job, reports)
        except ChildFailedError as error:
            raise _first_error(failures, error, label, count) from error
        finally:
            reports.put(None)
            reading.result()
        load_model(model, trained)


@contextmanager
def _same_handlers() -> Iterator[None]:
    """Behind this context signals are handled as before it: the launcher leaves its own handlers."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    there = [getattr(signal, name) for name in ("SIGTERM", "SIGINT", "SIGHUP", "SIGQUIT") if hasattr(signal, name)]
    before = {number: signal.getsignal(number) for number in there}
    try:
        yield
    finally:
        for number, handler in before.items():
            if handler is not None:  # None: it was not installed by Python
                signal.signal(number, handler)


def _launch_config(count: int, label: str) -> Any:
    from torch.distributed.launcher.api import LaunchConfig

    hosts = Hosts.of(os.environ)
    patience = int(_PATIENCE.total_seconds())
    return LaunchConfig(
        min_nodes=hosts.count,
        max_nodes=hosts.count,
        nproc_per_node=count,
        run_id=label,
        rdzv_backend="c10d" if hosts.count == 1 else "static",
        rdzv_endpoint=f"{hosts.address}:{hosts.port}",
        rdzv_configs={"timeout": patience} if hosts.count == 1 else {"rank": hosts.rank, "timeout": patience},
        local_addr="localhost" if hosts.count == 1 else None,
        max_restarts=0,
        monitor_interval=0.2,
        start_method="spawn",
    )


@dataclass(frozen=True)
class _Job:
    start: Path  # folder of the model
    trained: Path  # where the first process of the host leaves the weights
    load: Callable[[Path], torch.nn.Module]
    train: Train
    arguments: dict[str, Any]
    device: str
    threads: int


@dataclass(frozen=True)
class _Failure:
    rank: int
    kind: type[Exception]
    message: str


class _LogHandler(QueueHandler):
    def enqueue(self, record: logging.LogRecord) -> None:
        self.queue.put(record)


def _work(job: _Job, reports: Any) -> None:
    """What each process does. The launcher has set the variables that torch.distributed reads."""
    local = int(os.environ["LOCAL_RANK"])
    device = f"cuda:{local}" if job.device == "cuda" else job.device
    torch.set_num_threads(job.threads)
    if device.startswith("cuda"):
        torch.cuda.set_device(device)
    # nccl may hang where two processes have one card: those go by gloo, which copies through the host.
    dist.init_process_group("cpu:gloo,cuda:nccl" if job.device == "cuda" else "gloo", timeout=_PATIENCE)
    try:
        first = rank() == 0
        if first:
            logging.basicConfig(handlers=[_LogHandler(reports)], level=logging.INFO, force=True)
        model = job.load(job.start)
        job.train(
            model,
            **job.arguments,
            device=device,
            on_step=(lambda step, metrics: reports.put((step, dict(metrics)))) if first else lambda *_: None,
        )
        if local == 0:
            save_model(model, str(job.trained))
    except Exception as error:
        reports.put(_Failure(rank(), type(error), str(error)))
        raise
    dist.destroy_process_group()


def _read_reports(reports: Any, on_step: Callable, failures: list[_Failure]) -> None:
    """Hand on what the processes report, until None comes; raises at the end what `on_step` has raised first."""
    raised: list[Exception] = []
    while (report := reports.get()) is not None:  # to the end in any case, or the processes wait for a full pipe
        if isinstance(report, logging.LogRecord):
            logger = logging.getLogger(report.name)
            if logger.isEnabledFor(report.levelno):
                logger.handle(report)
        elif isinstance(report, _Failure):
            failures.append(report)
        else:
            try:
                on_step(*report)
            except Exception as error:
                raised.append(error)
    if raised:
        raise raised[0]


def _first_error(failures: Sequence[_Failure], error: Any, label: str, count: int) -> RuriError:
    """The error of ours that a process raised, or one that says how a process died."""
    for failure in failures:
        if issubclass(failure.kind, RuriError):
            return failure.kind(failure.message)
    number, died = error.get_first_failure()
    if died.exitcode < 0:
        reason = f"process {number} was ended by {died.signal_name()}"
        if died.signal_name() == "SIGKILL":
            reason += ", perhaps for want of memory"
    elif failures:
        said = next(iter(failures[0].message.splitlines()), "no word of why")
        reason = f"process {failures[0].rank}: {failures[0].kind.__name__}: {said}"
    else:
        reason = f"process {number} ended with exit code {died.exitcode}"
    return TrainingError(
        f"{label} stopped, one of its {count} processes failed: {reason}. The last checkpoint stays; the same command "
        "continues from it."
    )
