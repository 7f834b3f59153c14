"""Which bytes a Range header asks for. The services read it alike, and refuse in their own words what lies behind the end."""

from __future__ import annotations

import re

_RANGE = re.compile(r"bytes=(\d*)-(\d*)")


class BehindEndError(Exception):
    """Nothing of the range is there. `header` belongs in the answer."""

    def __init__(self, size: int) -> None:
        super().__init__(f"{size} bytes are there")
        self.header = ("Content-Range", f"bytes */{size}")


def span(header: str, size: int) -> tuple[int, int] | None:
    """First byte and end of the range asked for; None for all of it, which a header that makes no sense asks for too."""
    match = _RANGE.fullmatch(header.replace(" ", ""))
    if match is None or not (match[1] or match[2]):
        return None
    if match[1]:
        start, end = int(match[1]), min(int(match[2]) + 1, size) if match[2] else size
        if match[2] and int(match[2]) < start:
            return None
    else:
        start, end = max(0, size - int(match[2])), size
    if start >= size or start >= end:
        raise BehindEndError(size)
    return start, end
