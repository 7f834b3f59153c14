"""The object that is moved: a file with next to no bytes on the disk, in which every part is unlike every other.

Where it is not a hole it holds numbers, one for each step of 4 MiB: parts that were exchanged, repeated or left out change the
CRC32C of the whole, and zeros alone would not show it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import google_crc32c

if TYPE_CHECKING:
    from pathlib import Path

STEP = 4 * 1024 * 1024
BLOCK = 1024 * 1024


def make(path: Path, size: int) -> None:
    with path.open("wb") as file:
        file.truncate(size)
        for number, start in enumerate(range(0, size - 8, STEP), 1):
            file.seek(start)
            file.write(number.to_bytes(8, "big"))


def checksum(path: Path) -> tuple[int, int]:
    """(bytes, CRC32C) of a file, a block at a time."""
    size = crc32c = 0
    with path.open("rb") as file:
        while block := file.read(BLOCK):
            size += len(block)
            crc32c = google_crc32c.extend(crc32c, block)
    return size, crc32c
