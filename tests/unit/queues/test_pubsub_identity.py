"""A token that Pub/Sub refuses before its time: the call is made once more with the identity as it is by now."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import grpc
import pytest
from google.oauth2.credentials import Credentials

from common.queues.pubsub_identity import Identity, channel
from common.transport.google import RENEWED_AGAIN_SECONDS
from tests.bench.serve import certify

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

METHOD = "/google.pubsub.v1.Publisher/Publish"


class Service(grpc.GenericRpcHandler):  # type: ignore[misc]
    """Takes one token, and answers UNAUTHENTICATED to any other."""

    def __init__(self) -> None:
        self.taken = "new"
        self.came: list[str] = []

    def service(self, details: Any) -> Any:
        async def answer(request: bytes, context: Any) -> bytes:
            token = dict(context.invocation_metadata())["authorization"].removeprefix("Bearer ")
            self.came.append(token)
            if token != self.taken:
                await context.abort(grpc.StatusCode.UNAUTHENTICATED, "invalid credentials")
            return request

        return grpc.unary_unary_rpc_method_handler(answer)


class File:
    """Where the identity is read from; each reading gives a token that lives for an hour."""

    def __init__(self) -> None:
        self.token = "old"
        self.read = 0

    def __call__(self) -> Credentials:
        self.read += 1
        expiry = datetime.now(UTC).replace(tzinfo=None) + timedelta(hours=1)
        return Credentials(self.token, expiry=expiry)


@asynccontextmanager
async def calling(service: Service, identity: Identity, tmp_path: Path) -> AsyncIterator[Any]:
    certificate = certify(tmp_path)
    pair = (certificate.key.read_bytes(), certificate.chain.read_bytes())
    server = grpc.aio.server()
    server.add_generic_rpc_handlers([service])
    port = server.add_secure_port("127.0.0.1:0", grpc.ssl_server_credentials([pair]))
    await server.start()
    trusted = grpc.ssl_channel_credentials(certificate.ca.read_bytes())
    opened = channel(f"127.0.0.1:{port}", identity, [], ssl_credentials=trusted)
    try:
        yield opened.unary_unary(METHOD)
    finally:
        await opened.close()
        await server.stop(None)


async def test_a_refused_token_is_replaced_and_the_call_made_once_more(tmp_path: Path) -> None:
    # Given a token with an hour to live, and a service that takes only the one that the file holds by now
    service, file = Service(), File()
    identity = Identity(file)
    file.token = "new"
    async with calling(service, identity, tmp_path) as call:
        # When several calls are made at once
        answers = await asyncio.gather(*(call(b"%d" % number) for number in range(5)))
        # Then all are answered, and the file was read once more
        assert answers == [b"%d" % number for number in range(5)]
        assert file.read == 2
        # And later calls go out with the new token at once
        service.came.clear()
        assert await call(b"x") == b"x"
        assert service.came == ["new"]


async def test_an_identity_that_stays_refused_is_not_read_for_each_call(tmp_path: Path) -> None:
    service, file = Service(), File()
    seconds = [1000.0]
    identity = Identity(file, now=lambda: seconds[0])
    async with calling(service, identity, tmp_path) as call:
        # Given a service that takes no token, then the refusal is the answer
        for _ in range(3):
            with pytest.raises(grpc.aio.AioRpcError) as refused:
                await call(b"x")
            assert refused.value.code() is grpc.StatusCode.UNAUTHENTICATED
        assert (file.read, len(service.came)) == (2, 4)
        # And after a while another is tried
        seconds[0] += RENEWED_AGAIN_SECONDS
        file.token = "new"
        assert await call(b"x") == b"x"
        assert file.read == 3
