"""Requests that are sent again: with other credentials, to another region; and those that are not signed at all."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, cast
from urllib.parse import urlsplit

import google_crc32c
import pytest

from common.config import Aws, Settings, StoreOptions
from common.errors import Forbidden, Unauthenticated
from common.location import Location
from common.objects import Headers
from common.storage import s3
from common.storage.base import Absent, Body
from common.transport import aws_machine
from common.transport.http import Response, Transport
from tests.fakes.s3 import S3Server
from tests.fakes.s3.signatures import Identity
from tests.unit.fakes.wire import ask

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from common.transport.http import Request

DATA = b"bytes"
PROFILE = "[default]\naws_access_key_id = {}\naws_secret_access_key = SECRETTEST\n"


@pytest.fixture
async def transport() -> AsyncIterator[Transport]:
    opened = Transport()
    yield opened
    await opened.close()


@pytest.fixture
def has_key(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[str], object]:
    """Writes a key to the shared file of a machine that has nothing else."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setattr(aws_machine, "MACHINE", aws_machine.Machine())
    monkeypatch.setattr(aws_machine, "REREAD_SECONDS", 0)
    return lambda key: (tmp_path / "credentials").write_text(PROFILE.format(key))


def body() -> Body:
    return Body(DATA, google_crc32c.value(DATA), Headers())


async def test_credentials_that_are_rotated_in_mid_run_are_taken_up(
    has_key: Callable[[str], object], transport: Transport
) -> None:
    # Given a service that knows one key, and a machine that has it
    has_key("AKIDOLD")
    async with S3Server(buckets=["demo"], identities=[Identity("AKIDOLD", "SECRETTEST")]) as server:
        location, options = Location.parse("s3://demo"), StoreOptions(endpoint=server.url)
        writer = s3.writer(location, options, Settings(), transport)
        await writer.put("before", body(), Absent())
        # When the key is replaced at the service and on the machine
        server.identities.clear()
        server.identities["AKIDNEW"] = Identity("AKIDNEW", "SECRETTEST")
        with pytest.raises(Unauthenticated):
            await writer.put("between", body(), Absent())
        has_key("AKIDNEW")
        # Then what is written next is written, whichever of many requests meets it first; so is what has no body to say why
        await asyncio.gather(*(writer.put(f"after{number}", body(), Absent()) for number in range(20)))
        assert await s3.reader(location, options, Settings(), transport).stat("after0") is not None
        assert len(server.keys("demo")) == 21


@pytest.mark.usefixtures("has_key")
async def test_a_public_bucket_is_read_without_an_identity(transport: Transport) -> None:
    # Given a machine that has no credentials, and a bucket that everybody may read
    async with S3Server(buckets=["demo", "private"]) as server:
        server.bucket("demo").public = True
        for bucket in ("demo", "private"):
            server.put(bucket, "k", DATA)
        options = StoreOptions(endpoint=server.url, anonymous=True)
        reader = s3.reader(Location.parse("s3://demo"), options, Settings(), transport)
        # Then it can be listed and read
        assert [item.key async for page in reader.list() for item in page.objects] == ["k"]
        assert (await reader.read("k", None, None)).data == DATA
        # And one that is not open says so, without advice about keys that are not sent
        other = s3.reader(Location.parse("s3://private"), options, Settings(), transport)
        with pytest.raises(Forbidden):
            await other.read("k", None, None)


class AtAws(Transport):
    """Sends what is meant for AWS to the stand-in, which sees the name that was asked for."""

    def __init__(self, server: S3Server) -> None:
        super().__init__()
        self._server = server
        self.hosts: list[str] = []

    async def send(self, request: Request) -> Response:
        parts = urlsplit(request.url)
        self.hosts.append(parts.netloc)
        path = f"{parts.path}?{parts.query}" if parts.query else parts.path
        headers = {**dict(request.headers), "Host": parts.netloc}
        answer = await asyncio.to_thread(ask, self._server, request.method, path, bytes(request.body) or None, **headers)
        return Response(answer.status, answer.headers, answer.body)


async def test_a_bucket_in_another_region_is_asked_there_from_then_on() -> None:
    # Given a bucket elsewhere than the settings say
    keys = Aws(access_key_id="AKIDTEST", secret_access_key=cast("None", "SECRETTEST"), region="us-east-1")
    async with S3Server() as server:
        server.store.create_bucket("far-away", "eu-central-1")
        transport = AtAws(server)
        writer = s3.writer(Location.parse("s3://far-away"), StoreOptions(), Settings(aws=keys), transport)
        # When objects are written there
        await writer.put("one", body(), Absent())
        await writer.put("two", body(), Absent())
        # Then the first request learnt where it is, and the others went there
        assert transport.hosts == [
            "far-away.s3.us-east-1.amazonaws.com",
            "far-away.s3.eu-central-1.amazonaws.com",
            "far-away.s3.eu-central-1.amazonaws.com",
        ]
        await transport.close()
