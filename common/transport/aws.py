"""AWS Signature Version 4, and where the credentials come from.

https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-header-based-auth.html. Written by hand because botocore's signer costs ten
times as much as the rest of a small request; botocore's signer is the oracle of the tests.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Protocol
from urllib.parse import quote

from common.errors import Unauthenticated

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

UNSIGNED = "UNSIGNED-PAYLOAD"
EMPTY = hashlib.sha256(b"").hexdigest()

_ALGORITHM = "AWS4-HMAC-SHA256"
_ADVICE = "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or check this machine's AWS profile or role"


@dataclass(frozen=True, slots=True)
class Credentials:
    access_key_id: str
    secret_access_key: str
    session_token: str | None = None

    def __repr__(self) -> str:
        return f"Credentials(access_key_id={self.access_key_id!r}, ***)"


class CredentialSource(Protocol):
    async def current(self) -> Credentials:
        """Credentials that are valid now. Raises Unauthenticated when there are none, saying where they were looked for."""
        ...


class StaticCredentials:
    """A key pair from the settings."""

    def __init__(self, credentials: Credentials) -> None:
        self._credentials = credentials

    async def current(self) -> Credentials:
        return self._credentials


class AmbientCredentials:
    """Whatever the machine has: shared profile, web identity, container or instance role, in botocore's order.

    botocore renews what expires; its look-ups block, so they run in a thread. The frozen pair is asked for before every
    request, because an hour-long job outlives a session token.
    """

    def __init__(self) -> None:
        self._found: object | None = None
        self._lock = asyncio.Lock()

    async def current(self) -> Credentials:
        if self._found is None:
            async with self._lock:
                if self._found is None:
                    self._found = await asyncio.to_thread(_look_for_credentials)
        found = self._found
        if hasattr(found, "refresh_needed") and found.refresh_needed():
            return await asyncio.to_thread(_freeze, found)
        return _freeze(found)


def _look_for_credentials() -> object:
    from botocore.exceptions import BotoCoreError  # noqa: PLC0415 - half a second, needed only without keys in the settings
    from botocore.session import Session  # noqa: PLC0415

    try:
        found = Session().get_credentials()
    except BotoCoreError as error:
        raise Unauthenticated(f"this machine's AWS credentials cannot be used: {error}; {_ADVICE}") from None
    if found is None:
        raise Unauthenticated(f"no AWS credentials: {_ADVICE}")
    return found


def _freeze(found: object) -> Credentials:
    from botocore.exceptions import BotoCoreError  # noqa: PLC0415

    try:
        frozen = found.get_frozen_credentials()  # type: ignore[attr-defined]
    except BotoCoreError as error:
        raise Unauthenticated(f"this machine's AWS credentials cannot be renewed: {error}; {_ADVICE}") from None
    return Credentials(frozen.access_key, frozen.secret_key, frozen.token)


def encode_path(path: str) -> str:
    """A key as it stands in a URL's path: every byte but unreserved ones and `/` escaped, once.

    Dot segments stay as they are; libcurl is told not to touch them. `+` must be escaped, S3 reads it as a space.
    """
    return quote(path.encode("utf-8", "surrogateescape"), safe="/-_.~")


def encode_query(pairs: Sequence[tuple[str, str]]) -> str:
    """Query parameters sorted and escaped as the signature wants them; what is signed is what is sent."""
    return "&".join(
        f"{quote(name, safe='-_.~')}={quote(value.encode('utf-8', 'surrogateescape'), safe='-_.~')}"
        for name, value in sorted(pairs)
    )


class Signer:
    """Signs requests for one service in one region. The day's derived key is kept: a signature costs a few microseconds."""

    def __init__(self, region: str, service: str = "s3", *, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._region = region
        self._service = service
        self._now = now
        self._derived: tuple[str, str, bytes] | None = None
        self._stamp: tuple[int, str] = (0, "")

    def headers(
        self,
        credentials: Credentials,
        method: str,
        host: str,
        path: str,
        *,
        query: str = "",
        headers: Sequence[tuple[str, str]] = (),
        payload_hash: str = UNSIGNED,
    ) -> list[tuple[str, str]]:
        """The headers to send: those given, and the date, the payload hash, the token and the signature over all of them.

        `path` and `query` are already encoded (`encode_path`, `encode_query`).
        """
        stamp = self._time()
        signed = [*headers, ("host", host), ("x-amz-content-sha256", payload_hash), ("x-amz-date", stamp)]
        if credentials.session_token:
            signed.append(("x-amz-security-token", credentials.session_token))
        canonical = sorted([(name.lower(), " ".join(value.split())) for name, value in signed])
        names = ";".join([name for name, _ in canonical])
        lines = "".join([f"{name}:{value}\n" for name, value in canonical])
        request = f"{method}\n{path}\n{query}\n{lines}\n{names}\n{payload_hash}"
        scope = f"{stamp[:8]}/{self._region}/{self._service}/aws4_request"
        digest = hashlib.sha256(request.encode("utf-8")).hexdigest()
        to_sign = f"{_ALGORITHM}\n{stamp}\n{scope}\n{digest}"
        signature = hmac.digest(self._key(credentials, stamp[:8]), to_sign.encode(), "sha256").hex()
        authorization = (
            f"{_ALGORITHM} Credential={credentials.access_key_id}/{scope}, SignedHeaders={names}, Signature={signature}"
        )
        return [*[header for header in signed if header[0] != "host"], ("Authorization", authorization)]

    def _time(self) -> str:
        moment = self._now()
        second = int(moment.timestamp())
        if self._stamp[0] != second:
            self._stamp = second, moment.strftime("%Y%m%dT%H%M%SZ")
        return self._stamp[1]

    def _key(self, credentials: Credentials, day: str) -> bytes:
        secret = credentials.secret_access_key
        if self._derived is None or self._derived[:2] != (day, secret):
            key = f"AWS4{secret}".encode()
            for step in (day, self._region, self._service, "aws4_request"):
                key = hmac.digest(key, step.encode(), "sha256")
            self._derived = (day, secret, key)
        return self._derived[2]
