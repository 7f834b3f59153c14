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
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Protocol

from common.errors import Unauthenticated, Unavailable
from common.telemetry import get_logger
from common.transport import google_token

if TYPE_CHECKING:
    from pathlib import Path

    from common.config import Google

log = get_logger(__name__)

STORAGE_SCOPE = "https://www.googleapis.com/auth/devstorage.read_write"
PUBSUB_SCOPE = "https://www.googleapis.com/auth/pubsub"
DRIVE_SCOPE = google_token.DRIVE_SCOPE
DRIVE_READ_SCOPE = google_token.DRIVE_READ_SCOPE

_RENEW_BEFORE_SECONDS = 300
_ADVICE = "check GCP_CREDENTIALS, the key's age and the clock"


class TokenSource(Protocol):
    async def headers(self) -> list[tuple[str, str]]:
        """The Authorization header for now; empty for an anonymous source. Raises Unauthenticated or Unavailable."""
        ...


class Anonymous:
    """For emulators and public buckets."""

    async def headers(self) -> list[tuple[str, str]]:
        return []


class GoogleTokens:
    """Tokens of one google-auth identity, shared by every request of the process."""

    def __init__(self, credentials: Any, *, advice: str = _ADVICE) -> None:
        """`advice` says what a person can do when Google takes the identity no more."""
        self._credentials = credentials
        self._advice = advice
        self._lock = asyncio.Lock()

    async def headers(self) -> list[tuple[str, str]]:
        if not self._fresh():
            async with self._lock:
                if not self._fresh():
                    await self._renew()
        return [("Authorization", f"Bearer {self._credentials.token}")]

    def _fresh(self) -> bool:
        credentials = self._credentials
        if not credentials.valid:
            return False
        expiry = credentials.expiry
        if expiry is None:
            return True
        left: timedelta = expiry.replace(tzinfo=UTC) - datetime.now(UTC)  # google-auth keeps a naive UTC time
        return left.total_seconds() > _RENEW_BEFORE_SECONDS

    async def _renew(self) -> None:
        from google.auth.exceptions import RefreshError, TransportError  # noqa: PLC0415 - costly, unused with emulators
        from google.auth.transport.requests import Request  # noqa: PLC0415

        try:
            await asyncio.to_thread(self._credentials.refresh, Request())
        except TransportError as error:
            raise Unavailable(f"no access token from Google: {error}") from error
        except RefreshError as error:
            raise Unauthenticated(f"Google refuses a token for this identity: {error.args[0]}; {self._advice}") from error


class SignedIn(GoogleTokens):
    """Tokens of a person who signed in on a desktop. Each new one is kept in the file, for the processes that start later."""

    def __init__(self, credentials: Any, path: Path) -> None:
        super().__init__(credentials, advice="sign in again: brigade auth gdrive")
        self._path = path

    async def _renew(self) -> None:
        await super()._renew()
        try:
            await asyncio.to_thread(google_token.write, self._path, self._credentials.to_json())
        except OSError as error:  # a mounted secret, say: every process then renews its own
            log.debug("the new token is not kept", action="token_not_kept", error=str(error.strerror))


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
        return _signed_in(settings.drive_token_file, write=write)
    scope = DRIVE_SCOPE if write else DRIVE_READ_SCOPE
    credentials = identity(settings, scope)
    if settings.drive_subject is None:
        return GoogleTokens(credentials)
    if not hasattr(credentials, "with_subject"):
        raise Unauthenticated(
            "GDRIVE_SUBJECT is set, but only the key of a service account can act for somebody: set GCP_CREDENTIALS to one"
        )
    return GoogleTokens(
        credentials.with_subject(settings.drive_subject),
        advice=f"check GDRIVE_SUBJECT, and that the domain's administrator lets this service account have the scope {scope}"
        " (Admin console, Security, API controls, Domain-wide delegation)",
    )


def _signed_in(path: Path, *, write: bool) -> TokenSource:
    from google.oauth2.credentials import Credentials  # noqa: PLC0415 - costly, unused with emulators

    kept = google_token.read(path, write=write)
    return SignedIn(
        Credentials(  # type: ignore[no-untyped-call]
            kept.token,
            refresh_token=kept.refresh_token,
            token_uri=kept.token_uri,
            client_id=kept.client_id,
            client_secret=kept.client_secret,
            scopes=list(kept.scopes) or None,
            expiry=kept.expiry,
        ),
        path,
    )
