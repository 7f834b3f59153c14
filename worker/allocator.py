"""How this process treats memory: what it keeps, and how often it looks for what is left over.

How the C library keeps the memory of bodies between one object and the next:

glibc gives a large block back to the kernel as soon as it is free, and the next one is touched for the first time again: a page
fault for every 4 KiB, which on virtual machines costs more than the copy of those bytes. Bodies come and go all the time and
the budget bounds them, so what has been touched is kept. 20 to 25% of the CPU of objects of 1 MiB (docs/performance.md).

And it is kept once for all threads. glibc gives each a heap of its own, where what was freed waits for that thread alone: a
directory copied to a directory had 203 MiB after 1 GiB, and 315 MiB after 10. With one heap it had 122 MiB.
"""

from __future__ import annotations

import ctypes
import gc

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -3, -8
"""mallopt(3)"""
_LARGEST_MMAP_THRESHOLD = 32 * 1024 * 1024
"""glibc takes no more on 64-bit machines."""


def keep_buffers(count: int) -> bool:
    """Keep up to `count` bytes of freed memory in the process, for all threads that start later; False where the C library is not
    glibc, and nothing changes.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    settings = {_M_MMAP_THRESHOLD: _LARGEST_MMAP_THRESHOLD, _M_TRIM_THRESHOLD: min(count, 2**31 - 1), _M_ARENA_MAX: 1}
    return all(mallopt(name, value) for name, value in settings.items())


def collect_rarely() -> None:
    """Look for unreachable cycles every ten thousand objects and not every seven hundred, and never again among what the imports
    have made. With a hundred transfers under way the collector walked through all of them several times a second: 5% of the CPU
    of small objects.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000, 20, 50)
