"""What most tests of the suite do on their way: make a body, list everything, upload in parts."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import google_crc32c

from common.objects import Headers
from common.storage.base import Absent, Body
from tests.conformance.storage.backends import MIB

if TYPE_CHECKING:
    from common.objects import StoredObject
    from common.storage.base import PartReceipt, Precondition, Reader, Upload, Writer

NOISE = random.Random(20261121).randbytes(11 * MIB)
PLAIN = Headers()


def body(data: bytes, headers: Headers = PLAIN) -> Body:
    return Body(data, google_crc32c.value(data), headers)


async def listed(reader: Reader, after: str | None = None) -> list[StoredObject]:
    """Everything behind `after`, once it is certain that the pages hang together."""
    objects: list[StoredObject] = []
    last: str | None = "not begun"
    async for page in reader.list(after):
        assert last is not None, "a page after the last one"
        assert len(page.objects) <= 1000
        objects += page.objects
        last = page.after
    assert last in (None, "not begun")
    return objects


async def upload_parts(upload: Upload, data: bytes, size: int, *, backwards: bool = False) -> list[PartReceipt]:
    offsets = list(range(0, len(data), size))
    numbered = list(enumerate(offsets))
    receipts = []
    for number, offset in reversed(numbered) if backwards else numbered:
        piece = data[offset : offset + size]
        receipts.append(await upload.part(number, offset, piece, google_crc32c.value(piece)))
    return receipts


async def in_parts(
    writer: Writer, key: str, data: bytes, size: int, precondition: Precondition | None = None, headers: Headers = PLAIN
) -> StoredObject:
    upload = await writer.begin(key, len(data), headers, precondition or Absent())
    receipts = await upload_parts(upload, data, size)
    return await upload.complete(receipts, google_crc32c.value(data))
