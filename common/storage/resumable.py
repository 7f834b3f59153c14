"""Google's resumable session, which Cloud Storage and Drive have in common: an address that takes one object's bytes in sequence.

The service may take less than it was sent, and an answer may be lost when the bytes were not. So a session whose state is not
known is asked for it (308, and Range says how much is held), and then it is sent what is missing. It ends with the last byte:
there is no other "complete", and the answer to that byte is the object.

https://cloud.google.com/storage/docs/performing-resumable-uploads and
https://developers.google.com/workspace/drive/api/guides/manage-uploads#resumable
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from common.errors import ObjectError, SourceMissing, Unavailable, UploadLost
from common.transport.addresses import foreign

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from common.transport.http import Response

    Send = Callable[[str, str, Sequence[tuple[str, str]], bytes], Awaitable[Response]]
    """A method, the session's address, headers and a body."""
    Failure = Callable[[Response, str], ObjectError]
    """What an answer means; the word says what was tried: "abort the upload of"."""

_HELD = re.compile(r"bytes=0-(\d+)")


def begun_at(response: Response, origin: str, *, service: str, name: str) -> str | None:
    """The address of the session that an answer has begun, None if it has begun none. Raises Unavailable for one that leads
    elsewhere than to the service at `origin`: whoever answered so is to be asked again, and nothing is sent there.
    """
    uri = response.headers.get("location")
    if response.status != 200 or not uri:
        return None
    host = foreign(uri, origin)
    if host is not None:
        raise Unavailable(
            f"cannot begin an upload of {name!r}: {service} names a host for it that is not its own, {host!r}, and nothing is "
            "sent there; where the service has that name, name it as the endpoint"
        )
    return uri


class ResumableSession:
    """One upload of `size` bytes at the address `uri`, which is sent to only where it leads to the service at `origin`: it may
    have been read back from Redis. `service` and `name` are for the errors: "GCS", "gs://…".
    """

    def __init__(
        self, send: Send, failure: Failure, uri: str, origin: str, *, service: str, name: str, size: int, committed: int | None
    ) -> None:
        self._send_to = send
        self._uri = uri
        self._foreign = foreign(uri, origin)
        self._failure = failure
        self._service = service
        self._name = name
        self._size = size
        self._committed = committed
        """Bytes that the service is known to hold; None until it has been asked: after an error, and in another process."""

    async def fill(self, offset: int, data: bytes, headers: Sequence[tuple[str, str]] = ()) -> Response | None:
        """Bring the session to hold everything up to the end of `data`; the answer that ended the upload, if one did."""
        end = offset + len(data)
        ended = await self.settle()
        if ended is not None:
            return ended
        while (committed := self._committed or 0) < end:
            if committed < offset:
                raise UploadLost(f"the upload of {self._name!r} fell back to byte {committed}: begin again")
            span = ("Content-Range", f"bytes {committed}-{end - 1}/{self._size}")
            self._committed = None
            response = await self._send("PUT", [span, *headers], data[committed - offset :])
            ended = self._progress(response, f"write bytes {committed}-{end - 1} of")
            if ended is not None:
                return ended
            if self._committed == committed:
                raise Unavailable(f"{self._service} took none of bytes {committed}-{end - 1} of {self._name!r}")
        return None

    async def finish(self, offset: int, data: bytes, headers: Sequence[tuple[str, str]] = ()) -> Response:
        """Send the last bytes. The answer that ended the upload."""
        response = await self.fill(offset, data, headers)
        if response is None:
            raise Unavailable(f"{self._name!r}: all bytes are sent, and {self._service} still waits for more")
        return response

    async def settle(self) -> Response | None:
        """Ask how far the session is, unless that is known; the answer that ended the upload, if one did and was lost."""
        if self._committed is not None:
            return None
        response = await self._send("PUT", [("Content-Range", f"bytes */{self._size}")], b"")
        return self._progress(response, "resume the upload of")

    async def abort(self) -> None:
        if self._foreign is not None:
            return  # what is at another host is no upload of ours
        response = await self._send("DELETE", [], b"")
        if response.status not in (200, 204, 404, 410, 499):
            raise self.failure(response, "abort the upload of")

    def failure(self, response: Response, doing: str) -> ObjectError:
        """What is missing is the session, or the file that it is for: either way the upload begins again."""
        error = self._failure(response, doing)
        return UploadLost(str(error)) if isinstance(error, SourceMissing) else error

    async def _send(self, method: str, headers: Sequence[tuple[str, str]], data: bytes) -> Response:
        if self._foreign is not None:
            raise UploadLost(
                f"the saved upload of {self._name!r} is at a host that is not {self._service}'s, {self._foreign!r}: "
                "nothing is sent there, and the upload begins again"
            )
        return await self._send_to(method, self._uri, headers, data)

    def _progress(self, response: Response, doing: str) -> Response | None:
        if response.status in (200, 201):
            return response
        if response.status != 308:
            raise self.failure(response, doing)
        # No Range header means that nothing is held yet; less than was sent is normal: the rest is sent again.
        held = _HELD.fullmatch(response.headers.get("range", ""))
        self._committed = int(held[1]) + 1 if held else 0
        return None
