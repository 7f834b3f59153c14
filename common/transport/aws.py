"""AWS Signature Version 4, and the credentials it signs with (`aws_machine` has those of the machine).

https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-header-based-auth.html. Written by hand because botocore's signer costs ten
times as much as the rest of a small request; botocore's signer is the oracle of the tests.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol
from urllib.parse import quote

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

UNSIGNED = "UNSIGNED-PAYLOAD"

_ALGORITHM = "AWS4-HMAC-SHA256"
_NARROW = re.compile(r"(?:\S+(?: \S+)*)?").fullmatch
"""A header's value as the signature wants it: no space at its ends, never two."""
_PLAIN = re.compile(r"[A-Za-z0-9/_.~-]*").fullmatch


@dataclass(frozen=True, slots=True)
class Credentials:
    access_key_id: str
    secret_access_key: str
    session_token: str | None = None

    def __repr__(self) -> str:
        return f"Credentials(access_key_id={self.access_key_id!r}, ***)"


class CredentialSource(Protocol):
    async def current(self) -> Credentials | None:
        """Credentials that are valid now; None: requests are not signed. Raises Unauthenticated when there are none, saying where
        they were looked for.
        """
        ...

    async def renewed(self, refused: Credentials) -> Credentials | None:
        """Other credentials than those that a service refused; None when there are no others."""
        ...


class StaticCredentials:
    """A key pair from the settings."""

    def __init__(self, credentials: Credentials) -> None:
        self._credentials = credentials

    async def current(self) -> Credentials:
        return self._credentials

    async def renewed(self, refused: Credentials) -> None:
        """The settings are read once: there are no others."""
        del refused


class NoCredentials:
    """For buckets that are open to everybody."""

    async def current(self) -> None:
        return None

    async def renewed(self, refused: Credentials) -> None:
        del refused


def encode_path(path: str) -> str:
    """A key as it stands in a URL's path: every byte but unreserved ones and `/` escaped, once.

    Dot segments stay as they are, here and in the transport. `+` must be escaped, S3 reads it as a space.
    """
    return path if _PLAIN(path) else quote(path.encode("utf-8", "surrogateescape"), safe="/-_.~")


def encode_query(pairs: Sequence[tuple[str, str]]) -> str:
    """Query parameters sorted and escaped as the signature wants them; what is signed is what is sent."""
    return "&".join(
        f"{quote(name, safe='-_.~')}={quote(value.encode('utf-8', 'surrogateescape'), safe='-_.~')}"
        for name, value in sorted(pairs)
    )


class _Scope:
    """What all signatures of one second and one key pair share."""

    def __init__(self, second: int, credentials: Credentials, region: str) -> None:
        self.second = second
        self.credentials = credentials
        self.stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(second))
        day = self.stamp[:8]
        scope = f"{day}/{region}/s3/aws4_request"
        self.preamble = f"{_ALGORITHM}\n{self.stamp}\n{scope}\n"
        self.credential = f"{_ALGORITHM} Credential={credentials.access_key_id}/{scope}, SignedHeaders="
        key = f"AWS4{credentials.secret_access_key}".encode()
        for step in (day, region, "s3", "aws4_request"):
            key = hmac.digest(key, step.encode(), "sha256")
        # HMAC by hand (RFC 2104): both halves of the key are hashed once a second, and a signature costs two copies and not
        # two look-ups of the algorithm.
        padded = key.ljust(64, b"\0")
        self._inner = hashlib.sha256(bytes(byte ^ 0x36 for byte in padded))
        self._outer = hashlib.sha256(bytes(byte ^ 0x5C for byte in padded))

    def signature(self, text: str) -> str:
        inner, outer = self._inner.copy(), self._outer.copy()
        inner.update(text.encode())
        outer.update(inner.digest())
        return outer.hexdigest()


class Signer:
    """Signs requests to S3 in one region. What a second's requests share is kept: a signature costs a few microseconds.

    `now` gives seconds since the epoch.
    """

    def __init__(self, region: str, *, now: Callable[[], float] = time.time) -> None:
        self._region = region
        self._now = now
        self._scope: _Scope | None = None

    def headers(
        self,
        credentials: Credentials,
        method: str,
        host: str,
        path: str,
        *,
        query: str = "",
        headers: Sequence[tuple[str, str]] = (),
    ) -> list[tuple[str, str]]:
        """The headers to send: those given, and the date, the token and the signature over all of them. The body is not signed.

        `path` and `query` are already encoded (`encode_path`, `encode_query`).
        """
        scope = self._current(credentials)
        sent = [*headers, ("x-amz-content-sha256", UNSIGNED), ("x-amz-date", scope.stamp)]
        if credentials.session_token:
            sent.append(("x-amz-security-token", credentials.session_token))
        canonical = [(name.lower(), value if _NARROW(value) else " ".join(value.split())) for name, value in sent]
        canonical.append(("host", host))
        canonical.sort()
        names = ";".join([name for name, _ in canonical])
        lines = "\n".join([f"{name}:{value}" for name, value in canonical])
        request = f"{method}\n{path}\n{query}\n{lines}\n\n{names}\n{UNSIGNED}"
        digest = hashlib.sha256(request.encode()).hexdigest()
        signature = scope.signature(scope.preamble + digest)
        sent.append(("Authorization", f"{scope.credential}{names}, Signature={signature}"))
        return sent

    def _current(self, credentials: Credentials) -> _Scope:
        second = int(self._now())
        scope = self._scope
        if scope is None or scope.second != second or scope.credentials != credentials:
            scope = self._scope = _Scope(second, credentials, self._region)
        return scope
