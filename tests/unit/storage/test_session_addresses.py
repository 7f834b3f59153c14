"""Sessions at another host than the service's: what Redis or an answer says is no leave to send bytes and a token there."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest

from common.checksums import crc32c
from common.config import Google, Settings, StoreOptions
from common.errors import Unavailable, UploadLost
from common.location import Location
from common.objects import Headers
from common.storage import gcs
from common.storage.base import Absent
from common.transport.http import Transport
from tests.fakes import http
from tests.fakes.drive import DriveServer
from tests.fakes.gcs import GcsServer
from tests.unit.storage.drive_writing import PART, writing

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from common.storage.base import Upload, Writer

DATA = bytes(range(256)) * (2 * PART // 256)
KEY = "films/fire.mp4"


class Elsewhere(http.HttpServer):
    """A server that is nobody's, and takes everything that it is sent."""

    def __init__(self) -> None:
        super().__init__()
        self.came: list[http.Request] = []

    async def handle(self, request: http.Request) -> http.Response:
        self.came.append(request)
        await request.body.read()
        return http.Response(308, [])


class MisleadingGcs(GcsServer):
    """GCS's stand-in, whose sessions are elsewhere."""

    place = ""

    def _begun(self, call: Any, upload_id: str) -> http.Response:
        super()._begun(call, upload_id)
        return http.Response(200, [("Location", f"{self.place}/upload?upload_id={upload_id}")])


@asynccontextmanager
async def gcs_writer(server: GcsServer) -> AsyncIterator[Writer]:
    transport = Transport()
    try:
        yield gcs.writer(
            Location("gs", "demo", ""), StoreOptions(endpoint=server.url), Settings(google=Google(project="test")), transport
        )
    finally:
        await transport.close()


async def refuses_to_go_on(writer: Writer, token: str) -> None:
    upload: Upload = await writer.begin(KEY, len(DATA), Headers(), Absent(), token)
    for _ in range(2):
        with pytest.raises(UploadLost, match=r"http://127\.0\.0\.1:\d+'.*begins again") as caught:
            await upload.part(0, 0, DATA[:PART], crc32c(DATA[:PART]))
        # The address is a key: only its host is said
        assert "secret" not in str(caught.value)
    await upload.abort()


async def test_a_saved_gcs_session_elsewhere_is_lost_and_gets_nothing() -> None:
    # Given a session address as Redis may hold it, of a server that is not the service's
    async with Elsewhere() as elsewhere, GcsServer(buckets=["demo"]) as server, gcs_writer(server) as writer:
        # When an upload is to go on there, then it is lost, which makes it begin again
        await refuses_to_go_on(writer, f"{elsewhere.url}/upload?upload_id=secret")
        # And nothing has been sent, not even to give it up
        assert (elsewhere.came, len(elsewhere.connections)) == ([], 0)


async def test_a_saved_drive_session_elsewhere_is_lost_and_gets_nothing() -> None:
    async with Elsewhere() as elsewhere, DriveServer() as server, writing(server, "root") as writer:
        file_id = (await writer.begin(KEY, len(DATA), Headers(), Absent())).token.split(" ")[0]
        await refuses_to_go_on(writer, f"{file_id} {elsewhere.url}/upload?upload_id=secret")
        assert (elsewhere.came, len(elsewhere.connections)) == ([], 0)


async def test_an_answer_that_names_another_host_begins_nothing() -> None:
    async with Elsewhere() as elsewhere, MisleadingGcs(buckets=["demo"]) as server, gcs_writer(server) as writer:
        server.place = elsewhere.url
        with pytest.raises(Unavailable, match=r"names a host for it that is not its own.*http://127\.0\.0\.1:\d+") as caught:
            await writer.begin(KEY, len(DATA), Headers(), Absent())
        assert "upload_id" not in str(caught.value)
        assert (elsewhere.came, len(elsewhere.connections)) == ([], 0)
