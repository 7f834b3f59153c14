"""Bytes from GCS are of the generation that the task names, whatever the service makes of the condition on the request."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from common.checksums import crc32c
from common.config import Settings, StoreOptions
from common.errors import ChecksumMismatch, SourceChanged, SourceMissing
from common.location import Location
from common.objects import Headers, Span, Version
from common.storage import gcs
from common.storage.base import Absent, Body, Matches
from common.transport.http import Transport
from tests.conftest import _start
from tests.fake_gcs_server import fake_gcs_server
from tests.fakes.gcs import GcsServer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

    from common.storage.gcs import GcsReader
    from common.transport.http import Request, Response
    from tests.child import Server

SPANS = [None, Span(0, 200), Span(0, 50), Span(50, 200)]
OLD, NEW = bytes(range(200)), bytes(range(200))[::-1]


class Inattentive(Transport):
    """The way to a server that ignores conditions on reads, and may leave headers out of its answers."""

    def __init__(self) -> None:
        super().__init__()
        self.left_out: set[str] = set()
        self.between: Callable[[], object] | None = None
        """Happens once, when media have come."""

    async def send(self, request: Request) -> Response:
        if request.method == "GET":
            plain = request.url.replace("&ifGenerationMatch=", "&ignored=").replace("?ifGenerationMatch=", "?ignored=")
            request = replace(request, url=plain)
        answer = await super().send(request)
        if "alt=media" in request.url and self.between is not None:
            between, self.between = self.between, None
            between()
        kept = {name: value for name, value in answer.headers.items() if name not in self.left_out}
        return replace(answer, headers=kept)


@pytest.fixture
async def server() -> AsyncIterator[GcsServer]:
    async with GcsServer(buckets=["demo"]) as running:
        yield running


@pytest.fixture
async def transport() -> AsyncIterator[Inattentive]:
    made = Inattentive()
    yield made
    await made.close()


def reading(url: str, transport: Transport) -> GcsReader:
    found = gcs.reader(Location.parse("gs://demo"), StoreOptions(endpoint=url), Settings(), transport)
    assert isinstance(found, gcs.GcsReader)
    return found


async def version_of(reader: GcsReader) -> Version:
    found = await reader.stat("k")
    assert found is not None
    return found.version


@pytest.mark.parametrize("span", SPANS)
@pytest.mark.parametrize("silent", [False, True], ids=["says its generation", "does not"])
async def test_another_generation_gives_no_byte(
    server: GcsServer, transport: Inattentive, span: Span | None, silent: bool
) -> None:
    # Given a server that ignores the condition, and an object that is replaced after it was listed
    transport.left_out = {"x-goog-generation"} if silent else set()
    server.put("demo", "k", OLD)
    reader = reading(server.url, transport)
    listed = await version_of(reader)
    content = await reader.read("k", span, listed)
    assert content.data == (OLD if span is None else OLD[span.start : span.end])
    assert content.object.version == listed
    server.put("demo", "k", NEW)

    # When it is read as it was listed, then it is said to have changed
    with pytest.raises(SourceChanged, match="generation"):
        await reader.read("k", span, listed)


@pytest.mark.parametrize("span", SPANS)
async def test_a_change_behind_an_answer_that_does_not_say_its_generation_is_seen(
    server: GcsServer, transport: Inattentive, span: Span | None
) -> None:
    # Given answers without a generation, and somebody who replaces the object when they have come
    transport.left_out = {"x-goog-generation"}
    server.put("demo", "k", OLD)
    reader = reading(server.url, transport)
    listed = await version_of(reader)
    transport.between = lambda: server.put("demo", "k", NEW)

    # When it is read, then nobody can tell whether these bytes are of the version: they are not taken
    with pytest.raises(SourceChanged):
        await reader.read("k", span, listed)

    # And when it goes away, then it is missing
    listed = await version_of(reader)
    transport.between = lambda: server.store.delete(server.store.get("demo", "k"))
    with pytest.raises(SourceMissing):
        await reader.read("k", span, listed)


async def test_the_resource_proves_bytes_that_come_without_a_checksum(server: GcsServer, transport: Inattentive) -> None:
    # Given answers without a checksum, of which one has a wrong byte
    transport.left_out = {"x-goog-hash"}
    blob = server.put("demo", "k", OLD)
    reader = reading(server.url, transport)
    listed = await version_of(reader)
    assert (await reader.read("k", None, listed)).object.crc32c == crc32c(OLD)
    blob.data = OLD[:-1] + b"\0"

    # When it is read whole, then the byte is noticed
    for span in (None, Span(0, 200)):
        for version in (listed, None):
            with pytest.raises(ChecksumMismatch):
                await reader.read("k", span, version)


@pytest.fixture(scope="module")
def other_server() -> Iterator[Server]:
    yield from _start(lambda: fake_gcs_server(["demo"]))


@pytest.mark.servers
@pytest.mark.parametrize("span", SPANS)
async def test_another_generation_gives_no_byte_on_fake_gcs_server(other_server: Server, span: Span | None) -> None:
    # Given fake-gcs-server, which ignores ifGenerationMatch on reads, and an object that is replaced after it was listed
    transport = Transport()
    reader = reading(other_server.url, transport)
    writer = gcs.writer(Location.parse("gs://demo"), StoreOptions(endpoint=other_server.url), Settings(), transport)
    there = await writer.stat("k")
    first = await writer.put("k", Body(OLD, crc32c(OLD), Headers()), Absent() if there is None else Matches(there.version))
    content = await reader.read("k", span, first.version)
    assert content.data == (OLD if span is None else OLD[span.start : span.end])
    await writer.put("k", Body(NEW, crc32c(NEW), Headers()), Matches(first.version))

    # When it is read as it was listed, then no byte of the new one comes
    with pytest.raises(SourceChanged):
        await reader.read("k", span, first.version)
    await transport.close()
