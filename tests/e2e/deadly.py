"""`brigade`, with objects that kill the process that reads them: what running out of memory, or a crash in a library, looks like.

Run as `python -m tests.e2e.deadly ARGUMENTS`. An object is deadly when its key begins with DEADLY.
"""

from __future__ import annotations

import os
import signal
import sys
from typing import TYPE_CHECKING

from brigade.__main__ import brigade
from common.storage.file import FileReader

if TYPE_CHECKING:
    from common.objects import Span, Version
    from common.storage.base import Content

DEADLY = "deadly"

_read = FileReader.read


async def read(self: FileReader, key: str, span: Span | None, version: Version | None) -> Content:
    if key.startswith(DEADLY):
        os.kill(os.getpid(), signal.SIGKILL)
    return await _read(self, key, span, version)


if __name__ == "__main__":
    FileReader.read = read  # type: ignore[method-assign]
    brigade(sys.argv[1:])
