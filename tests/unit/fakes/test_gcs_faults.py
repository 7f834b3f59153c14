"""Faults on request: each does what it says, to the request it was planned for, and says how often it did."""

from __future__ import annotations

import http.client
import time
from typing import TYPE_CHECKING, Any

import pytest

from tests.fakes.gcs import Fault, GcsServer, Kind
from tests.fakes.http import Framing
from tests.unit.fakes import fault_hits
from tests.unit.fakes.test_gcs_resumable import BEGIN, DATA, QUARTER, begin, put, query
from tests.unit.fakes.test_gcs_uploads import MEDIA, multipart
from tests.unit.fakes.wire import ask

if TYPE_CHECKING:
    from collections.abc import Callable

MEDIA_GET = "/download/storage/v1/b/demo/o/k?alt=media"


def test_a_status_at_once_with_retry_after(server: GcsServer) -> None:
    fault = server.faults.add(Fault(Kind.STATUS, operation="get", status=429, retry_after=1.5))
    server.put("demo", "k", b"x")
    answer = ask(server, "GET", "/storage/v1/b/demo/o/k")
    assert (answer.status, answer.reason, answer.headers["retry-after"]) == (429, "rateLimitExceeded", "1.5")
    assert ask(server, "GET", "/storage/v1/b/demo/o/k").status == 200
    assert (fault.fired, fault.seen) == (1, 2)


@pytest.mark.parametrize(("fields", "hits"), fault_hits.cases(writes="insert.*", read="get"))
def test_which_requests_are_hit(server: GcsServer, fields: dict[str, Any], hits: list[int]) -> None:
    fault = server.faults.add(Fault(Kind.STATUS, **fields))
    statuses = [ask(server, "POST", f"{MEDIA}a%2Fpart-{number}", b"x").status for number in range(4)]
    assert statuses == [503 if hit else 200 for hit in hits]
    assert fault.fired == sum(hits)


def test_the_key_is_found_where_only_the_metadata_has_it(server: GcsServer) -> None:
    # Given a fault for one key
    fault = server.faults.add(Fault(Kind.STATUS, operation="insert.*", key='b"ü', times=0))
    # When uploads name their objects in the metadata only
    assert multipart(server, '{"name": "other"}', b"x").status == 200
    assert multipart(server, '{"name": "b\\"\\u00fc"}', b"x").status == 503
    answer = ask(server, "POST", BEGIN.replace("&name=k", ""), {"name": 'b"ü'})
    # Then the right ones are hit, and the others arrive whole
    assert answer.status == 503
    assert fault.fired == 2
    assert server.data("demo", "other") == b"x"


def test_a_status_in_mid_upload_stores_nothing(server: GcsServer) -> None:
    fault = server.faults.add(Fault(Kind.STATUS, operation="insert.media", after_bytes=100_000))
    assert ask(server, "POST", MEDIA + "k", bytes(300_000)).status == 503
    assert (fault.fired, server.keys("demo")) == (1, [])


def test_a_status_in_mid_chunk_keeps_whole_quanta(server: GcsServer) -> None:
    fault = server.faults.add(Fault(Kind.STATUS, operation="insert.resumable.chunk", after_bytes=QUARTER + 1000))
    session = begin(server)
    assert put(server, session, 0, len(DATA), len(DATA)).status == 503
    assert query(server, session).headers["range"] == f"bytes=0-{QUARTER - 1}"
    assert put(server, session, QUARTER, len(DATA), len(DATA)).status == 200
    assert (server.data("demo", "k"), fault.fired) == (DATA, 1)


def test_bytes_that_never_come_do_not_count_as_a_fault(server: GcsServer) -> None:
    fault = server.faults.add(Fault(Kind.STATUS, operation="insert.media", after_bytes=1000))
    assert ask(server, "POST", MEDIA + "k", b"short").status == 200
    assert (fault.taken, fault.fired) == (1, 0)


@pytest.mark.parametrize("after", [None, 0, 1000])
def test_a_reset_in_an_upload(server: GcsServer, after: int | None) -> None:
    fault = server.faults.add(Fault(Kind.RESET, operation="insert.media", after_bytes=after))
    with pytest.raises((ConnectionResetError, BrokenPipeError)):
        ask(server, "POST", MEDIA + "k", bytes(300_000))
    assert (fault.fired, server.keys("demo")) == (1, [])


def test_a_reset_in_a_download(server: GcsServer) -> None:
    server.put("demo", "k", bytes(300_000))
    fault = server.faults.add(Fault(Kind.RESET, operation="get.media", after_bytes=200_000))
    with pytest.raises(ConnectionResetError):
        ask(server, "GET", MEDIA_GET)
    assert fault.fired == 1


@pytest.mark.parametrize(
    ("fault", "request_"),
    [
        (Fault(Kind.STALL, seconds=0.2), lambda server: ask(server, "GET", MEDIA_GET)),
        (Fault(Kind.STALL, seconds=0.2, after_bytes=500), lambda server: ask(server, "GET", MEDIA_GET)),
        (Fault(Kind.STALL, seconds=0.2, after_bytes=500), lambda server: ask(server, "POST", MEDIA + "new", bytes(1000))),
    ],
)
def test_a_stall_only_takes_time(server: GcsServer, fault: Fault, request_: Callable[[GcsServer], object]) -> None:
    server.put("demo", "k", bytes(1000))
    server.faults.add(fault)
    start = time.monotonic()
    answer = request_(server)
    assert time.monotonic() - start >= 0.2
    assert getattr(answer, "status", None) == 200
    assert fault.fired == 1


def test_corrupted_bytes_keep_the_true_hash(server: GcsServer) -> None:
    blob = server.put("demo", "k", DATA)
    fault = server.faults.add(Fault(Kind.CORRUPT, operation="get.media", after_bytes=5))
    answer = ask(server, "GET", MEDIA_GET)
    assert len(answer.body) == len(DATA)
    assert [at for at in range(len(DATA)) if answer.body[at] != DATA[at]] == [5]
    assert blob.crc32c in answer.headers["x-goog-hash"]
    assert ask(server, "GET", MEDIA_GET).body == DATA
    assert fault.fired == 1


def test_a_truncated_body_under_its_full_length(server: GcsServer) -> None:
    server.put("demo", "k", DATA)
    fault = server.faults.add(Fault(Kind.TRUNCATE, after_bytes=1000))
    with pytest.raises(http.client.IncompleteRead) as caught:
        ask(server, "GET", MEDIA_GET)
    assert (caught.value.partial, fault.fired) == (DATA[:1000], 1)


def test_a_truncated_body_that_looks_whole(server: GcsServer) -> None:
    server.put("demo", "k", DATA)
    fault = server.faults.add(Fault(Kind.TRUNCATE, after_bytes=1000, framing=Framing.CLOSE))
    answer = ask(server, "GET", MEDIA_GET)
    assert (answer.status, answer.body, fault.fired) == (200, DATA[:1000], 1)
    assert "content-length" not in answer.headers


def test_a_lost_reply_after_a_write(server: GcsServer) -> None:
    # Given a reply that will be lost, though an unsuccessful write does not count
    fault = server.faults.add(Fault(Kind.LOSE_REPLY, operation="insert.media", nth=2))
    assert ask(server, "POST", MEDIA + "k&ifGenerationMatch=1", b"x").status == 412
    # When the write is done
    with pytest.raises(ConnectionResetError):
        ask(server, "POST", MEDIA + "k&ifGenerationMatch=0", b"x")
    # Then the object is there, and the client that tries again finds its own work
    assert (server.data("demo", "k"), fault.fired) == (b"x", 1)
    assert ask(server, "POST", MEDIA + "k&ifGenerationMatch=0", b"x").status == 412


def test_a_308_that_committed_less(server: GcsServer) -> None:
    fault = server.faults.add(Fault(Kind.COMMIT_LESS, operation="insert.resumable.chunk", keep_bytes=QUARTER))
    session = begin(server)
    answer = put(server, session, 0, len(DATA), len(DATA))
    assert (answer.status, answer.headers["range"]) == (308, f"bytes=0-{QUARTER - 1}")
    assert put(server, session, QUARTER, len(DATA), len(DATA)).status == 200
    assert (server.data("demo", "k"), fault.fired) == (DATA, 1)


def test_a_308_that_committed_nothing(server: GcsServer) -> None:
    server.faults.add(Fault(Kind.COMMIT_LESS, operation="insert.resumable.chunk"))
    answer = put(server, begin(server), 0, QUARTER, len(DATA))
    assert (answer.status, answer.headers.get("range")) == (308, None)


@pytest.mark.parametrize("status", [404, 410])
def test_a_lost_session_stays_lost(server: GcsServer, status: int) -> None:
    fault = server.faults.add(Fault(Kind.LOSE_SESSION, operation="insert.resumable.chunk", nth=2, status=status))
    session = begin(server)
    assert put(server, session, 0, QUARTER, len(DATA)).status == 308
    assert put(server, session, QUARTER, len(DATA), len(DATA)).status == status
    assert query(server, session).status == status
    assert (fault.fired, server.keys("demo")) == (1, [])


def test_faults_over_http(server: GcsServer) -> None:
    # When faults are planned from outside
    planned = [{"kind": "status", "operation": "list", "status": 500}, {"kind": "truncate", "framing": "close", "after_bytes": 1}]
    assert ask(server, "POST", "/_faults", planned).status == 200
    assert ask(server, "GET", "/storage/v1/b/demo/o").status == 500
    # Then they work, can be asked about, and taken back
    found = ask(server, "GET", "/_faults").json["faults"]
    assert [(fault["kind"], fault["fired"]) for fault in found] == [("status", 1), ("truncate", 0)]
    assert ask(server, "DELETE", "/_faults").json == {"faults": []}
    assert server.faults.planned == []


@pytest.mark.parametrize("body", [{"kind": "unknown"}, {"kind": "status", "odd": 1}, {}])
def test_a_fault_that_is_none_is_refused(server: GcsServer, body: dict[str, object]) -> None:
    assert ask(server, "POST", "/_faults", body).status == 400
    assert ask(server, "GET", "/_other").status == 404


def test_every_request_can_be_made_slower(server: GcsServer) -> None:
    server.delay_ms = 100
    start = time.monotonic()
    ask(server, "GET", "/storage/v1/b/demo/o")
    assert time.monotonic() - start >= 0.1
