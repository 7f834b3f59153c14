"""Access tokens for Google's APIs, fetched and renewed by google-auth.

google-auth knows every kind of identity (service account key, workload identity, metadata server, gcloud's own login) and blocks
while it fetches; that happens in a thread, once per token, while the old token still has minutes to live.

Drive has two kinds more: a person who signed in on a desktop (`brigade auth gdrive`, the file that GDRIVE_TOKEN names), and a
service account that acts for a person of its domain (GDRIVE_SUBJECT).
"""

from __future__ import annotations

import asyncio
import base64
import json
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

from common.errors import Unauthenticated, Unavailable
from common.telemetry import get_logger
from common.transport import google_token

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from common.config import Google
    from common.transport.http import Request, Response, Transport

    Headers = list[tuple[str, str]]

log = get_logger(__name__)

STORAGE_SCOPE = "https://www.googleapis.com/auth/devstorage.read_write"
PUBSUB_SCOPE = "https://www.googleapis.com/auth/pubsub"
DRIVE_SCOPE = google_token.DRIVE_SCOPE
DRIVE_READ_SCOPE = google_token.DRIVE_READ_SCOPE

RENEWED_AGAIN_SECONDS = 60.0
"""A token that is refused so soon after it was fetched is not fetched anew: it is the identity that is refused, and each object
would fetch one."""

_RENEW_BEFORE_SECONDS = 300
_ADVICE = "check GCP_CREDENTIALS, the key's age and the clock"


class TokenSource(Protocol):
    async def headers(self) -> Headers:
        """The Authorization header for now; empty for an anonymous source. Raises Unauthenticated or Unavailable."""
        ...

    async def refused(self, headers: Headers) -> bool:
        """Tell that a service answered 401 to these headers. Whether `headers` will give others now, so that it is worth asking
        once more. Raises Unauthenticated or Unavailable.
        """
        ...


async def send(transport: Transport, tokens: TokenSource, request: Request) -> Response:
    """The answer to a request with a token. One that is refused (401) though it has not expired by our clock is dropped, and the
    request is sent once more with another; a 401 to that is the answer.
    """
    headers = await tokens.headers()
    response = await transport.send(_with(request, headers))
    if response.status == 401 and await tokens.refused(headers):
        response = await transport.send(_with(request, await tokens.headers()))
    return response


def _with(request: Request, headers: Headers) -> Request:
    return replace(request, headers=[*request.headers, *headers])


class Anonymous:
    """For emulators and public buckets."""

    async def headers(self) -> Headers:
        return []

    async def refused(self, _: Headers) -> bool:
        return False


class GoogleTokens:
    """Tokens of one google-auth identity, shared by every request of the process."""

    def __init__(self, identify: Callable[[], Any], *, advice: str = _ADVICE, now: Callable[[], float] = time.monotonic) -> None:
        """`identify` gives google-auth's credentials and raises Unauthenticated; it is called here, and again when they are
        refused, because their file may have been replaced. `advice` says what a person can do when Google takes the identity no
        more.
        """
        self._identify = identify
        self._credentials = identify()
        self._advice = advice
        self._now = now
        self._lock = asyncio.Lock()
        self._refused: str | None = None
        self._renewed = float("-inf")
        self._identified = float("-inf")

    async def headers(self) -> Headers:
        if not self._fresh():
            async with self._lock:
                if not self._fresh():
                    await self._renew()
        return self._headers()

    async def refused(self, headers: Headers) -> bool:
        async with self._lock:
            if headers != self._headers():
                return True  # somebody else was told so earlier
            if self._now() - self._renewed < RENEWED_AGAIN_SECONDS:
                return False
            log.info("a token is refused that has not expired, another is fetched", action="token_refused")
            self._refused = self._credentials.token
            await self._identify_again()
            if not self._fresh():
                await self._renew()
        return True

    def _headers(self) -> Headers:
        return [("Authorization", f"Bearer {self._credentials.token}")]

    def _fresh(self) -> bool:
        credentials = self._credentials
        if not credentials.valid or credentials.token == self._refused:
            return False
        expiry = credentials.expiry
        if expiry is None:
            return True
        left: timedelta = expiry.replace(tzinfo=UTC) - datetime.now(UTC)  # google-auth keeps a naive UTC time
        return left.total_seconds() > _RENEW_BEFORE_SECONDS

    async def _renew(self) -> None:
        """Fetch a token; where the identity is refused, with what its file holds by now."""
        from google.auth.exceptions import RefreshError  # noqa: PLC0415 - costly, unused with emulators

        try:
            await self._fetch()
        except RefreshError as error:
            if self._now() - self._identified < RENEWED_AGAIN_SECONDS:
                raise self._not_taken(error) from None
            await self._identify_again()
            if self._fresh():
                return
            try:
                await self._fetch()
            except RefreshError as again:
                raise self._not_taken(again) from None

    async def _fetch(self) -> None:
        """Raises google-auth's RefreshError when the identity is refused, and Unavailable."""
        from google.auth.exceptions import RefreshError, TransportError  # noqa: PLC0415 - costly, unused with emulators
        from google.auth.transport.requests import Request as Fetch  # noqa: PLC0415

        try:
            await asyncio.to_thread(self._credentials.refresh, Fetch())
        except TransportError as error:
            raise Unavailable(f"no access token from Google: {error}") from error
        except RefreshError as error:
            if error.retryable:  # 5xx and the like: nothing is said of the identity
                raise Unavailable(f"no access token from Google: {error.args[0]}") from None
            raise
        self._renewed = self._now()

    async def _identify_again(self) -> None:
        self._identified = self._now()
        self._credentials = await asyncio.to_thread(self._identify)

    def _not_taken(self, error: Exception) -> Unauthenticated:
        return Unauthenticated(f"Google refuses a token for this identity: {error.args[0]}; {self._advice}")


class SignedIn(GoogleTokens):
    """Tokens of a person who signed in on a desktop. Each new one is kept in the file, for the processes that start later."""

    def __init__(self, path: Path, *, write: bool, now: Callable[[], float] = time.monotonic) -> None:
        super().__init__(partial(_signed_in, path, write=write), advice="sign in again: brigade auth gdrive", now=now)
        self._path = path
        self._write = write

    async def _fetch(self) -> None:
        await super()._fetch()
        try:
            await asyncio.to_thread(self._keep)
        except OSError as error:  # a mounted secret, say: every process then renews its own
            log.debug("the new token is not kept", action="token_not_kept", error=str(error.strerror))

    def _keep(self) -> None:
        """Write the token into the file, unless somebody has signed in anew meanwhile: that consent is the one that counts."""
        try:
            kept = google_token.read(self._path, write=self._write)
        except Unauthenticated:
            return  # somebody is at it; what is there is told when it is needed
        if kept.refresh_token == self._credentials.refresh_token:
            google_token.write(self._path, self._credentials.to_json())


def identity(settings: Google, scope: str) -> Any:
    """The google-auth credentials that the settings name: key file, key in base64, else what the machine has.

    Raises Unauthenticated, naming the setting, when they cannot be used.
    """
    import google.auth as google_auth  # noqa: PLC0415 - costly, unused with emulators
    from google.auth.exceptions import GoogleAuthError  # noqa: PLC0415
    from google.oauth2 import service_account  # noqa: PLC0415

    try:
        if settings.sa_key_b64 is not None:
            key = json.loads(base64.b64decode(settings.sa_key_b64.get_secret_value(), validate=True))
            return service_account.Credentials.from_service_account_info(key, scopes=[scope])  # type: ignore[no-untyped-call]
        if settings.credentials_file is not None:
            return google_auth.load_credentials_from_file(str(settings.credentials_file), scopes=[scope])[0]  # type: ignore[no-untyped-call]
        return google_auth.default(scopes=[scope])[0]
    except (GoogleAuthError, ValueError, OSError) as error:
        # The text of the cause may quote the key: only its kind is told.
        raise Unauthenticated(
            f"no usable Google identity ({type(error).__name__}): set GCP_CREDENTIALS to a key file, or GCP_SA_KEY_B64, "
            "or run where application default credentials exist"
        ) from None


def drive_tokens(settings: Google, *, write: bool) -> TokenSource:
    """Drive's tokens, for reading or for writing as well: of the person whose token file is named, else of `identity`, acting for
    the person that GDRIVE_SUBJECT names.

    Raises Unauthenticated, naming the setting, when they cannot be used.
    """
    if settings.drive_token_file is not None:
        return SignedIn(settings.drive_token_file, write=write)
    scope = DRIVE_SCOPE if write else DRIVE_READ_SCOPE
    if settings.drive_subject is None:
        return GoogleTokens(partial(identity, settings, scope))
    return GoogleTokens(
        partial(_acting_for, settings, settings.drive_subject, scope),
        advice=f"check GDRIVE_SUBJECT, and that the domain's administrator lets this service account have the scope {scope}"
        " (Admin console, Security, API controls, Domain-wide delegation)",
    )


def _acting_for(settings: Google, subject: str, scope: str) -> Any:
    credentials = identity(settings, scope)
    if not hasattr(credentials, "with_subject"):
        raise Unauthenticated(
            "GDRIVE_SUBJECT is set, but only the key of a service account can act for somebody: set GCP_CREDENTIALS to one"
        )
    return credentials.with_subject(subject)


def _signed_in(path: Path, *, write: bool) -> Any:
    from google.oauth2.credentials import Credentials  # noqa: PLC0415 - costly, unused with emulators

    kept = google_token.read(path, write=write)
    return Credentials(  # type: ignore[no-untyped-call]
        kept.token,
        refresh_token=kept.refresh_token,
        token_uri=kept.token_uri,
        client_id=kept.client_id,
        client_secret=kept.client_secret,
        scopes=list(kept.scopes) or None,
        expiry=kept.expiry,
    )
