"""What this machine knows of AWS: credentials, region, and where S3 is. From one boto3 session for the process, so that profiles,
SSO, assumed roles, web identity, instance roles, partitions and endpoints of a profile's services mean here what they mean to
every other program on the machine.

boto3 sessions are not thread-safe (https://github.com/boto/boto3/issues/1592), and what they look up may block for seconds: the
session is made once, under a lock, and asked in threads.
"""

from __future__ import annotations

import asyncio
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from common.errors import SettingsError, Unauthenticated
from common.telemetry import get_logger
from common.transport.aws import Credentials

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

log = get_logger(__name__)

DEFAULT_REGION = "us-east-1"
REREAD_SECONDS = 5.0
"""Credentials that are refused are looked up again, but not more often: a thousand requests are refused at once, and a metadata
service answers a few a second."""
_ADVICE = "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or check this machine's AWS profile or role"
_PROBE = "brigade-endpoint"


@dataclass(frozen=True, slots=True)
class Place:
    """Where a bucket is spoken to: `origin` (scheme and host), the path of its root, the region that signatures name."""

    origin: str
    root: str
    region: str
    at_aws: bool

    @property
    def host(self) -> str:
        return urlsplit(self.origin).netloc


class Machine:
    """The boto3 session of the process. May be used by several threads; nothing is looked up before the first question."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._session: Any = None
        self._places: dict[tuple[str, str | None, str], Place] = {}

    def credentials(self) -> Any:
        """Botocore's credentials, which renew themselves. Blocks. Raises Unauthenticated when there are none."""
        with self._lock, _translated("cannot be used"):
            found = self._opened().get_credentials()
        if found is None:
            raise Unauthenticated(f"no AWS credentials: {_ADVICE}")
        return found

    def forget(self) -> None:
        """The next question reads profiles and files again, as they are then. Places that were told stay as they are."""
        with self._lock:
            self._session = None

    def place(self, bucket: str, region: str | None, addressing: str) -> Place:
        """Where botocore would send requests for this bucket. Blocks for a fifth of a second the first time.

        `region` None: the one of the profile, else DEFAULT_REGION. Raises SettingsError for a profile that cannot be used.
        """
        known = self._places.get((bucket, region, addressing))
        if known is None:
            with self._lock:
                known = self._places[bucket, region, addressing] = self._resolve(bucket, region, addressing)
        return known

    def _opened(self) -> Any:
        if self._session is None:
            from boto3.session import Session  # noqa: PLC0415 - a third of a second, needed only for what the machine knows

            self._session = Session()
        return self._session

    def _resolve(self, bucket: str, region: str | None, addressing: str) -> Place:
        from botocore.exceptions import BotoCoreError  # noqa: PLC0415

        try:
            named = region or self._opened().region_name or DEFAULT_REGION
            place = self._placed(bucket, named, addressing)
            if place.at_aws and addressing == "auto":
                # In "auto" an address to be signed is one of the global endpoint, which redirects; "virtual" gives the bucket's
                # own, and path style all the same for names that cannot be part of a host name.
                place = self._placed(bucket, named, "virtual")
        except BotoCoreError as error:
            raise SettingsError([f"this machine's AWS settings: {error}; check AWS_PROFILE and AWS_REGION"]) from None
        return place

    def _placed(self, bucket: str, region: str, addressing: str) -> Place:
        """The public way to botocore's rules for endpoints is an address that it signs; the keys play no part in it."""
        from botocore.config import Config  # noqa: PLC0415

        style: Any = {"addressing_style": addressing, "us_east_1_regional_endpoint": "regional"}
        config = Config(signature_version="s3v4", s3=style)
        client = self._opened().client(
            "s3", region_name=region, aws_access_key_id=_PROBE, aws_secret_access_key=_PROBE, config=config
        )
        signed = urlsplit(client.generate_presigned_url("get_object", Params={"Bucket": bucket, "Key": _PROBE}))
        root = unquote(signed.path).removesuffix(f"/{_PROBE}")
        return Place(f"{signed.scheme}://{signed.netloc}", root, str(client.meta.region_name), is_aws(signed.hostname))


MACHINE = Machine()
"""The one of this process. Looks nothing up before it is asked."""


def is_aws(host: str | None) -> bool:
    """Whether a host name is one of Amazon's: https://docs.aws.amazon.com/general/latest/gr/s3.html"""
    return (host or "").lower().endswith((".amazonaws.com", ".amazonaws.com.cn", ".amazonaws.eu"))


class AmbientCredentials:
    """Whatever the machine has, in botocore's order: environment, profile, web identity, container or instance role.

    botocore renews what expires; its look-ups block, so they run in a thread. The frozen pair is asked for before every
    request, because an hour-long job outlives a session token.
    """

    def __init__(self, machine: Machine | None = None, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._machine = machine or MACHINE
        self._clock = clock
        self._found: Any = None
        self._lock = asyncio.Lock()
        self._reread = float("-inf")

    async def current(self) -> Credentials:
        if self._found is None:
            async with self._lock:
                if self._found is None:
                    self._found = await asyncio.to_thread(self._machine.credentials)
        found = self._found
        if hasattr(found, "refresh_needed") and found.refresh_needed():
            return await asyncio.to_thread(_freeze, found)
        return _freeze(found)

    async def renewed(self, refused: Credentials) -> Credentials | None:
        """Other credentials than those that a service refused; None when the machine has no others, or was asked just now."""
        async with self._lock:
            current = _freeze(self._found) if self._found is not None else None
            if current not in (None, refused):
                return current  # another request has looked meanwhile
            if self._clock() - self._reread < REREAD_SECONDS:
                return None
            self._reread = self._clock()
            self._machine.forget()
            self._found = await asyncio.to_thread(self._machine.credentials)
            found = await asyncio.to_thread(_freeze, self._found)
        if found == refused:
            return None
        log.warning("AWS refused the credentials; this machine has others now, and they are used", action="credentials_renewed")
        return found


def _freeze(found: Any) -> Credentials:
    with _translated("cannot be renewed"):
        frozen = found.get_frozen_credentials()
    return Credentials(frozen.access_key, frozen.secret_key, frozen.token)


@contextmanager
def _translated(what: str) -> Iterator[None]:
    """Botocore's errors, and those of a profile that does not exist, as ours."""
    from botocore.exceptions import BotoCoreError  # noqa: PLC0415 - half a second, needed only without keys in the settings

    try:
        yield
    except BotoCoreError as error:
        raise Unauthenticated(f"this machine's AWS credentials {what}: {error}; {_ADVICE}") from None
