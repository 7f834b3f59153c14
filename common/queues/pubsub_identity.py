"""The identity with which Pub/Sub is called, renewed when it is refused.

google-auth gives a gRPC call the token that it has for as long as that lives by our clock: one that Google takes back earlier, or
whose key file is replaced, would be refused for up to an hour. So a call that is refused (UNAUTHENTICATED) is made once more with
an identity that was read anew.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

import grpc
from google.auth.credentials import Credentials
from google.oauth2 import service_account
from google.pubsub_v1.services.publisher.transports import PublisherGrpcAsyncIOTransport

from common.telemetry import get_logger
from common.transport.google import RENEWED_AGAIN_SECONDS

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

log = get_logger(__name__)


class Identity(Credentials):
    """google-auth's credentials that `identify` gives, and others in their place when they are refused.

    `before_request` is called by threads of gRPC, `refused` by the event loop.
    """

    def __init__(self, identify: Callable[[], Any], *, now: Callable[[], float] = time.monotonic) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._identify = identify
        self._inner = _signing_itself(identify())
        self._now = now
        self._lock = asyncio.Lock()
        self._read_again = float("-inf")

    @property
    def current(self) -> Any:
        """What the next call is made with."""
        return self._inner

    def refresh(self, request: Any) -> None:
        self._inner.refresh(request)

    def before_request(self, request: Any, method: str, url: str, headers: dict[str, str]) -> None:
        self._inner.before_request(request, method, url, headers)

    async def refused(self, used: Any) -> bool:
        """Tell that `used`, which was `current`, is refused. Whether there is another identity to try by now. Raises
        Unauthenticated when there is none any more.
        """
        async with self._lock:
            if used is not self._inner:
                return True  # another call was told so earlier
            if self._now() - self._read_again < RENEWED_AGAIN_SECONDS:
                return False
            self._read_again = self._now()
            log.info("a token is refused that has not expired, another is fetched", action="token_refused")
            self._inner = _signing_itself(await asyncio.to_thread(self._identify))
        return True


def channel(host: str, identity: Identity, options: Sequence[tuple[str, Any]], **more: Any) -> grpc.aio.Channel:
    """A channel over TLS whose calls carry tokens of the identity. Contacts nothing yet."""
    return PublisherGrpcAsyncIOTransport.create_channel(
        host, credentials=identity, options=options, interceptors=[_OnceMore(identity)], **more
    )


class _OnceMore(grpc.aio.UnaryUnaryClientInterceptor):  # type: ignore[misc]
    def __init__(self, identity: Identity) -> None:
        self._identity = identity

    async def intercept_unary_unary(self, continuation: Any, client_call_details: Any, request: Any) -> Any:
        used = self._identity.current
        call = await continuation(client_call_details, request)
        if await call.code() is grpc.StatusCode.UNAUTHENTICATED and await self._identity.refused(used):
            call = await continuation(client_call_details, request)
        return call


def _signing_itself(credentials: Any) -> Any:
    """As google-auth does for a service account in gRPC: its key signs the token, and nobody has to be asked for one."""
    if isinstance(credentials, service_account.Credentials):
        return credentials.with_always_use_jwt_access(True)  # type: ignore[no-untyped-call]
    return credentials
