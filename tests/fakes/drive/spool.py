"""Large uploads in a file instead of memory: a server that is to take 5 GiB and give them back must not have them in its heap."""

from __future__ import annotations

import mmap
import os
import tempfile
import weakref


class Spool:
    """The bytes of one upload, in a file that has no name and goes with the last that holds it."""

    def __init__(self) -> None:
        with tempfile.TemporaryFile() as file:
            self._descriptor = os.dup(file.fileno())
        weakref.finalize(self, os.close, self._descriptor)
        self._size = 0

    def add(self, data: bytes) -> None:
        self._size += len(data)
        if data == bytes(len(data)):
            os.ftruncate(self._descriptor, self._size)  # a hole: what is sparse at its source takes no room here either
            return
        rest = memoryview(data)
        while rest:
            rest = rest[os.pwrite(self._descriptor, rest, self._size - len(rest)) :]

    def all(self) -> mmap.mmap:
        """To be sliced like bytes. Stays when the spool is gone. Raises ValueError when nothing was added."""
        return mmap.mmap(self._descriptor, self._size, access=mmap.ACCESS_READ)
