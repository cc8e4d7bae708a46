"""Memory that one step frees is that of the next, instead of being asked of the system again.

glibc gives large blocks back as they are freed, and pages asked for anew are zeroed one by one, in a virtual machine
also found by the host: a third to a half of the CPU time of a step that keeps the activations of 512 pairs (3 GiB).
"""

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager

_TRIM_THRESHOLD, _MMAP_THRESHOLD, _MMAP_MAX = -1, -3, -4  # malloc.h
_OF_ITSELF = 2**25  # the most that glibc raises its threshold for mapped blocks to
_MAPPED = 2**16  # glibc's number of mapped blocks


@contextmanager
def reused_memory() -> Iterator[None]:
    """In this context freed memory stays with the process; what is free before and after goes back to the system.

    For glibc; elsewhere nothing changes.
    """
    libc = ctypes.CDLL(None)
    if not hasattr(libc, "mallopt"):
        yield
        return
    libc.malloc_trim(0)
    libc.mallopt(_TRIM_THRESHOLD, -1)
    libc.mallopt(_MMAP_MAX, 0)
    try:
        yield
    finally:
        libc.mallopt(_TRIM_THRESHOLD, 2 * _OF_ITSELF)
        libc.mallopt(_MMAP_THRESHOLD, _OF_ITSELF)
        libc.mallopt(_MMAP_MAX, _MAPPED)
        libc.malloc_trim(0)
