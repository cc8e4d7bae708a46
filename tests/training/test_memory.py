"""Freed memory is used again within the context, and goes back to the system behind it."""

import json
import platform
import subprocess
import sys

import pytest

pytestmark = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the allocator of glibc")

# In a process of its own: objects and threads that other tests have left take up places between the blocks.
MEASURE = r"""
import json, re, resource, sys
from pathlib import Path
import torch
from ruri_kedro.training.memory import reused_memory

MIB = 2**20
blocks, size = map(int, sys.argv[1:])


def resident():
    return int(re.search(r"VmRSS:\s+(\d+) kB", Path("/proc/self/status").read_text())[1]) * 1024


def new_pages():
    "Bytes asked of the system while blocks of so many MiB are held together."
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    held = [torch.ones(size * MIB, dtype=torch.uint8) for _ in range(blocks)]
    del held
    return (resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before) * resource.getpagesize() / MIB


torch.set_num_threads(1)
with reused_memory():
    # Small objects of the first rounds may lie between large blocks, which then are too short by some bytes to be used
    # again; they are free for the small objects of later rounds.
    within = min([new_pages() for _ in range(4)])
    kept = resident()
after = resident()
print(json.dumps({"within": within, "given back": (kept - after) / MIB, "afterwards": new_pages()}))
"""


@pytest.mark.parametrize(("blocks", "size"), [(64, 4), (4, 64)])
def test_freed_memory_is_used_again_and_given_back_at_the_end(blocks, size):
    command = [sys.executable, "-c", MEASURE, str(blocks), str(size)]
    mib = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    assert mib["within"] < 256 / 3
    assert mib["given back"] > 100
    assert mib["afterwards"] > 256 / 2, "afterwards glibc gives large blocks back by itself"
