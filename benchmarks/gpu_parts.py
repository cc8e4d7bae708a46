"""The parts of gpu.py by name."""

from collections.abc import Callable
from dataclasses import dataclass

from gpu_measure import Skipped, Work
from gpu_speed import attention, compiled, encoding, finetuning, large_batch, reranker, search
from gpu_training import processes, resume


@dataclass(frozen=True)
class Part:
    """A part, and the seconds that it may take of eight minutes."""

    do: Callable[[str, Work], None]
    seconds: int


PARTS = {
    "finetuning": Part(finetuning, 45),
    "reranker": Part(reranker, 45),
    "encoding": Part(encoding, 40),
    "attention": Part(attention, 40),
    "compile": Part(compiled, 90),
    "large_batch": Part(large_batch, 70),
    "search": Part(search, 35),
    "processes": Part(processes, 60),
    "resume": Part(resume, 40),
}


def run(part: str, work: Work) -> str | None:
    """Do a part; the reason if it cannot be done here."""
    try:
        PARTS[part].do(part, work)
    except Skipped as reason:
        return str(reason)
    return None
