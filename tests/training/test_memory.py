"""Freed memory is used again within the context, and goes back to the system behind it."""

import platform
import re
import resource
from pathlib import Path

import pytest
import torch

from ruri_kedro.training.memory import reused_memory

MIB = 2**20

pytestmark = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the allocator of glibc")


def resident() -> int:
    return int(re.search(r"VmRSS:\s+(\d+) kB", Path("/proc/self/status").read_text())[1]) * 1024


def new_pages(blocks: int, size: int) -> int:
    """Pages asked of the system while blocks of so many MiB are held together."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    held = [torch.ones(size * MIB, dtype=torch.uint8) for _ in range(blocks)]
    del held
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before


@pytest.mark.parametrize(("blocks", "size"), [(64, 4), (4, 64)])
def test_freed_memory_is_used_again_and_given_back_at_the_end(blocks, size):
    pages = 256 * MIB // resource.getpagesize()
    with reused_memory():
        new_pages(blocks, size)
        # A small object in between may cost one of four blocks its place.
        assert new_pages(blocks, size) < pages / 3
        kept = resident()
    assert resident() < kept - 100 * MIB
    assert new_pages(blocks, size) > pages / 2, "afterwards glibc gives large blocks back by itself"
