"""How this process treats memory: what it keeps, and how often it looks for what is left over.

How the C library keeps the memory of bodies between one object and the next:

glibc gives a large block back to the kernel as soon as it is free, and the next one is touched for the first time again: a page
fault for every 4 KiB, which on virtual machines costs more than the copy of those bytes. Bodies come and go all the time and
the budget bounds them, so what has been touched is kept. 20 to 25% of the CPU of objects of 1 MiB (docs/performance.md).
"""

from __future__ import annotations

import ctypes
import gc

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
"""mallopt(3)"""
_LARGEST_MMAP_THRESHOLD = 32 * 1024 * 1024
"""glibc takes no more on 64-bit machines."""


def keep_buffers(count: int) -> bool:
    """Keep up to `count` bytes of freed memory in the process; False where the C library is not glibc, and nothing changes."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    return bool(mallopt(_M_MMAP_THRESHOLD, _LARGEST_MMAP_THRESHOLD) and mallopt(_M_TRIM_THRESHOLD, min(count, 2**31 - 1)))


def collect_rarely() -> None:
    """Look for unreachable cycles every ten thousand objects and not every seven hundred, and never again among what the imports
    have made. With a hundred transfers under way the collector walked through all of them several times a second: 5% of the CPU
    of small objects.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000, 20, 50)
