"""Questions that a writer asks a service about itself, without leaving anything behind.

They are writes of the object that has just been written: the same bytes, the same headers. A service that keeps conditions
refuses to write it once more "if nothing is there"; one that compares checksums refuses it with another CRC32C. What is not
refused has changed nothing but the version. So a question may be asked with any object of ours that is small.

A part of an upload is asked about in the same way; it is sent rightly afterwards in any case.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from common.errors import ChecksumMismatch, ObjectError
from common.objects import Version
from common.storage.abilities import Ability
from common.storage.base import Absent, Matches
from common.storage.s3_headers import etag
from common.telemetry import get_logger

if TYPE_CHECKING:
    from common.objects import StoredObject
    from common.storage.base import Body
    from common.storage.s3_writer import S3Writer
    from common.transport.http import Response

log = get_logger(__name__)

MOST_BYTES = 1024 * 1024
"""Of an object with which a question is asked."""
NO_ETAG = Version("0" * 32)


async def ask(writer: S3Writer, key: str, body: Body, written: StoredObject, *, echoed: bool) -> StoredObject:
    """The object as it is afterwards. `echoed`: the answer to the write has repeated its CRC32C.

    A question that comes to nothing is asked again later; the object has been written. Raises ObjectError only where a write that
    was to be refused was taken, and could not be made good.
    """
    if not 0 < len(body.data) <= MOST_BYTES:
        return written
    again = False
    abilities = writer.client.abilities
    async with abilities.question(Ability.CONDITIONS) as asked:
        again |= asked and await _conditions(writer, key, body)
    async with abilities.question(Ability.CHECKSUMS) as asked:
        if asked and not echoed:
            await abilities.found(Ability.CHECKSUMS, kept=False, how="the answer to a write does not repeat its CRC32C")
        elif asked:
            again |= await _checksums(writer, key, body, written)
    if not again:
        return written
    found = await writer.confirm(key, len(body.data), written.version.token, body.headers)
    return await writer.proven(found, body, ours=found.version.token == _md5(writer, body).hex())


async def _conditions(writer: S3Writer, key: str, body: Body) -> bool:
    """Whether the object has, or may have, been written again."""
    abilities, doing = writer.client.abilities, "a second write with If-None-Match: *"
    try:
        response = await writer.send(key, body, Absent(), body.crc32c, _md5(writer, body))
        if response.status == 412:
            doing = "a write with an If-Match that does not hold"
            response = await writer.send(key, body, Matches(NO_ETAG), body.crc32c, _md5(writer, body))
    except ObjectError as error:
        log.info("a question to a service has no answer", action="question_failed", service=abilities.service, error=str(error))
        return True
    if response.status == 412:
        how = "writes whose If-None-Match or If-Match did not hold were refused with 412"
        await abilities.found(Ability.CONDITIONS, kept=True, how=how)
    elif response.status == 200:
        await abilities.found(Ability.CONDITIONS, kept=False, how=f"{doing} was taken")
    return response.status == 200


async def _checksums(writer: S3Writer, key: str, body: Body, written: StoredObject) -> bool:
    """Whether the object has, or may have, been written again; with the right checksum in the end."""
    abilities = writer.client.abilities
    try:
        response = await writer.send(key, body, Matches(written.version), body.crc32c ^ 1)
    except ObjectError as error:
        log.info("a question to a service has no answer", action="question_failed", service=abilities.service, error=str(error))
        response = None
    if response is not None and is_refusal(writer, response):
        await abilities.found(Ability.CHECKSUMS, kept=True, how="a write with the CRC32C of other bytes was refused")
        return False
    if response is not None and response.status != 200:
        return False
    if response is not None:
        await abilities.found(Ability.CHECKSUMS, kept=False, how="a write with the CRC32C of other bytes was taken")
    # It may now say a checksum that its bytes do not have.
    there = written.version if response is None else Version(etag(response.headers.get("etag", "")))
    made_good = await writer.send(key, body, Matches(there), body.crc32c, _md5(writer, body))
    if made_good.status != 200:
        raise writer.client.failure(made_good, "write", key)
    return True


def _md5(writer: S3Writer, body: Body) -> bytes:
    """What may be taken is compared as any write to a service that is not known."""
    return writer.md5(body.data)


def is_refusal(writer: S3Writer, response: Response) -> bool:
    """Whether a write was refused because its checksum was wrong."""
    return response.status == 400 and isinstance(writer.client.failure(response, "write", None), ChecksumMismatch)
