"""An S3 that does not keep to the protocol: what it is asked is changed before it looks, what it answers before it is sent.

async with AdversarialS3(buckets=["demo"]) as server:
    server.hears.append(ignoring("start-after"))
    server.tells.append(replacing(b"<EncodingType>url</EncodingType>", b"", "ListObjectsV2"))
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tests.fakes.s3.server import S3Server

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.fakes.http import Response
    from tests.fakes.s3.call import Call

    Hears = Callable[[Call], None]
    Tells = Callable[[Call, Response], None]


class AdversarialS3(S3Server):
    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.hears: list[Hears] = []
        self.tells: list[Tells] = []
        self.calls: list[Call] = []

    async def _operate(self, call: Call, admission: Any) -> Response:
        """Behind the signature, which is of what was asked."""
        self.calls.append(call)
        for hear in self.hears:
            hear(call)
        response = await super()._operate(call, admission)
        for tell in self.tells:
            tell(call, response)
        return response


def ignoring(*names: str, operation: str = "") -> Hears:
    """Parameters and headers that the server does not know."""

    def change(call: Call) -> None:
        if operation in ("", call.operation):
            for name in names:
                call.query.pop(name, None)
                call.request.headers.pop(name, None)

    return change


def replacing(old: bytes, new: bytes, operation: str, times: int = -1) -> Tells:
    """In the bodies of answers to this operation."""

    def change(call: Call, response: Response) -> None:
        if call.operation == operation and isinstance(response.body, bytes):
            response.body = response.body.replace(old, new, times)

    return change


def without(header: str, operation: str) -> Tells:
    """Answers to this operation have no such header."""

    def change(call: Call, response: Response) -> None:
        if call.operation == operation:
            response.headers = [(name, value) for name, value in response.headers if name.lower() != header]

    return change
