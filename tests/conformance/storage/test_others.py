"""What was found with servers of others, and only there."""

from __future__ import annotations

from contextlib import aclosing
from typing import TYPE_CHECKING

import pytest

from common.storage import s3
from common.storage.base import Absent
from common.storage.shared import Alone
from publisher.position import EVERYTHING
from publisher.scan import scan
from tests.conformance.storage.moves import body, in_parts

if TYPE_CHECKING:
    from common.storage.base import Reader
    from common.transport.http import Transport
    from tests.conformance.storage.backends import Backend

on = pytest.mark.parametrize
pytestmark = pytest.mark.servers
MIB = 1024 * 1024


@on("backend", ["seaweedfs", "juicefs"], indirect=True)
@on("believed", [False, True])
async def test_keys_in_directories_all_come(
    backend: Backend, reader: Reader, believed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given 3,000 keys in ten directories; SeaweedFS, asked to begin behind dir5, leaves out what is in it
    keys = [f"dir{number // 300}/{number:04}" for number in range(3000)]
    backend.fill(keys)
    monkeypatch.setattr("publisher.ranges.WORTH_DIVIDING", 100)
    if believed:  # somebody has taken it for a service that begins anywhere

        async def divisible(*_: object) -> bool:
            return True

        monkeypatch.setattr(reader, "divisible", divisible)
    # When they are listed in ranges
    async with aclosing(scan(reader, EVERYTHING, skip_markers=False, shards=8, patience=0)) as pages:
        found = [key async for page in pages for key in page.objects.keys]
    # Then all come
    assert sorted(found) == keys


@on(
    ("backend", "kept"),
    [("seaweedfs", {"conditions": True, "checksums": True, "part_checksums": True}),
     ("juicefs", {"conditions": False, "checksums": False, "part_checksums": False})],
    indirect=["backend"],
)  # fmt: skip
async def test_what_a_server_keeps_is_found_out(backend: Backend, kept: dict[str, bool], transport: Transport) -> None:
    # Given a server that nobody has asked yet
    shared = Alone()
    writer = s3.writer(backend.location, backend.options, backend.settings, transport, shared)
    # When something is written, whole and in parts
    put = await writer.put("small", body(b"bytes"), Absent())
    await in_parts(writer, "large", bytes(5 * MIB) + b"end", 5 * MIB)
    # Then it is known what it keeps, and the object is as the answer says
    known = await shared.findings(str(backend.options.endpoint))
    assert {name: finding.kept for name, finding in known.items()} == kept
    found = await writer.stat("small")
    assert found is not None
    assert (found.version, found.size) == (put.version, 5)
    assert writer.limits.preconditions == kept["conditions"]
