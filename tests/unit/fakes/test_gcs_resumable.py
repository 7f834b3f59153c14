"""Resumable uploads on the wire: what a session answers, keeps, forgets and refuses."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import pytest

from tests.unit.fakes.test_gcs_uploads import MEDIA, crc32c
from tests.unit.fakes.wire import Answer, ask, send_and_stop

if TYPE_CHECKING:
    from tests.fakes.gcs import GcsServer

QUARTER = 256 * 1024
DATA = random.Random(7).randbytes(2 * QUARTER + 100)
BEGIN = "/upload/storage/v1/b/demo/o?uploadType=resumable&name=k"


def begin(server: GcsServer, query: str = "", body: dict[str, object] | None = None, **headers: str) -> str:
    answer = ask(server, "POST", BEGIN + query, body or {}, **headers)
    assert (answer.status, answer.body) == (200, b"")
    location = answer.headers["location"]
    assert location.startswith(f"{server.url}/upload/storage/v1/b/demo/o?uploadType=resumable")
    assert "upload_id=" in location
    return location


def put(server: GcsServer, session: str, start: int, end: int, total: int | str, **headers: str) -> Answer:
    return ask(server, "PUT", session, DATA[start:end], Content_Range=f"bytes {start}-{end - 1}/{total}", **headers)


def query(server: GcsServer, session: str, total: int | str = "*") -> Answer:
    return ask(server, "PUT", session, b"", Content_Range=f"bytes */{total}")


@pytest.mark.parametrize("total", [len(DATA), "*"])
def test_chunk_by_chunk(server: GcsServer, total: int | str) -> None:
    # Given a session with metadata
    session = begin(server, body={"metadata": {"src": "e1"}}, X_Upload_Content_Type="text/x-up")
    # When it is asked before anything came: no Range at all, which is not the same as bytes=0-0
    fresh = query(server, session)
    assert (fresh.status, fresh.headers.get("range")) == (308, None)
    # And two chunks are sent
    assert put(server, session, 0, QUARTER, total).headers["range"] == f"bytes=0-{QUARTER - 1}"
    second = put(server, session, QUARTER, 2 * QUARTER, total)
    assert (second.status, second.headers["range"], second.body) == (308, f"bytes=0-{2 * QUARTER - 1}", b"")
    # Then a query says the same, and nothing is visible yet
    assert query(server, session, len(DATA)).headers["range"] == f"bytes=0-{2 * QUARTER - 1}"
    assert server.keys("demo") == []
    # When the last bytes come, the object is there, whole
    last = put(server, session, 2 * QUARTER, len(DATA), len(DATA))
    assert (last.status, last.json["size"], last.json["crc32c"]) == (200, str(len(DATA)), crc32c(DATA))
    assert (last.json["metadata"], last.json["contentType"]) == ({"src": "e1"}, "text/x-up")
    assert server.data("demo", "k") == DATA
    # And the session goes on answering with it
    assert query(server, session).json["generation"] == last.json["generation"]
    assert put(server, session, 0, QUARTER, "*").json["generation"] == last.json["generation"]
    assert len(server.writes) == 1


def test_an_unknown_total_is_finished_by_naming_it(server: GcsServer) -> None:
    session = begin(server)
    put(server, session, 0, QUARTER, "*")
    assert query(server, session, QUARTER - 1).status == 308
    assert query(server, session, QUARTER + 1).status == 308
    assert query(server, session, QUARTER).json["size"] == str(QUARTER)


def test_all_at_once_and_nothing_at_all(server: GcsServer) -> None:
    assert ask(server, "PUT", begin(server), b"whole").json["size"] == "5"
    assert ask(server, "PUT", begin(server), b"").json["size"] == "0"
    assert query(server, begin(server), 0).json["size"] == "0"
    assert put(server, begin(server), 0, 10, 10).json["size"] == "10"
    assert ask(server, "POST", begin(server), b"posted").json["size"] == "6"


def test_a_small_chunk_in_the_middle_is_refused(server: GcsServer) -> None:
    session = begin(server)
    for total in (len(DATA), "*"):
        answer = put(server, session, 0, 1000, total)
        assert answer.status == 400
        assert b"required to be equal or greater than 262144" in answer.body
    assert query(server, session).headers.get("range") is None


def test_of_an_uneven_chunk_whole_quanta_are_kept(server: GcsServer) -> None:
    session = begin(server)
    answer = put(server, session, 0, QUARTER + 1000, len(DATA))
    assert (answer.status, answer.headers["range"]) == (308, f"bytes=0-{QUARTER - 1}")
    assert put(server, session, QUARTER, len(DATA), len(DATA)).status == 200
    assert server.data("demo", "k") == DATA


def test_bytes_sent_again_are_skipped(server: GcsServer) -> None:
    session = begin(server)
    put(server, session, 0, QUARTER, len(DATA))
    # When the first chunk comes again, and then one that overlaps
    assert put(server, session, 0, QUARTER, len(DATA)).headers["range"] == f"bytes=0-{QUARTER - 1}"
    assert put(server, session, 0, 2 * QUARTER, len(DATA)).headers["range"] == f"bytes=0-{2 * QUARTER - 1}"
    assert put(server, session, QUARTER, len(DATA), len(DATA)).status == 200
    assert server.data("demo", "k") == DATA


def test_a_gap_is_refused(server: GcsServer) -> None:
    session = begin(server)
    answer = put(server, session, QUARTER, 2 * QUARTER, len(DATA))
    assert answer.status == 503
    assert b"the upload offset is 262144 byte(s), which exceeds already uploaded size of 0 byte(s)" in answer.body


@pytest.mark.parametrize("header", ["bytes 0-9/5", "bytes 5-1/10", "bytes 0-3/10", "bytes 0-99/100", "bits 0-9/10", "bytes */x"])
def test_ranges_that_contradict_are_refused(server: GcsServer, header: str) -> None:
    session = begin(server)
    assert ask(server, "PUT", session, b"0123456789", Content_Range=header).status == 400
    assert server.keys("demo") == []


def test_a_total_that_changes_is_refused(server: GcsServer) -> None:
    session = begin(server, X_Upload_Content_Length=str(len(DATA)))
    assert put(server, session, 0, QUARTER, len(DATA) + 1).status == 400
    assert put(server, session, 0, len(DATA), len(DATA)).status == 200


def test_a_broken_connection_leaves_whole_quanta(server: GcsServer) -> None:
    # Given a session
    session = begin(server)
    path = session.removeprefix(server.url)
    head = f"PUT {path} HTTP/1.1\r\nContent-Length: {len(DATA)}\r\nContent-Range: bytes 0-{len(DATA) - 1}/{len(DATA)}\r\n\r\n"
    # When the connection ends after a bit more than one quantum
    send_and_stop(server, head.encode() + DATA[: QUARTER + 5000])
    # Then that quantum is committed, and the upload can go on from there
    assert query(server, session).headers["range"] == f"bytes=0-{QUARTER - 1}"
    assert put(server, session, QUARTER, len(DATA), len(DATA)).status == 200
    assert server.data("demo", "k") == DATA


def test_preconditions_hold_at_the_start_and_at_the_end(server: GcsServer) -> None:
    # Given a session that wants to create
    session = begin(server, "&ifGenerationMatch=0")
    put(server, session, 0, QUARTER, len(DATA))
    # When someone else creates first
    ask(server, "POST", MEDIA + "k", b"other")
    # Then the upload fails at its end, and the session with it
    answer = put(server, session, QUARTER, len(DATA), len(DATA))
    assert (answer.status, answer.reason) == (412, "conditionNotMet")
    assert server.data("demo", "k") == b"other"
    assert query(server, session).status == 410
    # And a new one is refused at its start
    assert ask(server, "POST", BEGIN + "&ifGenerationMatch=0", {}).status == 412


@pytest.mark.parametrize("where", ["begin body", "begin header", "last chunk"])
def test_checksums_are_compared_at_the_end(server: GcsServer, where: str) -> None:
    for given, status in ((crc32c(DATA), 200), ("AAAAAA==", 400)):
        header = {"X_Goog_Hash": f"crc32c={given}"}
        session = begin(
            server, body={"crc32c": given} if where == "begin body" else None, **(header if where == "begin header" else {})
        )
        put(server, session, 0, QUARTER, len(DATA))
        answer = put(server, session, QUARTER, len(DATA), len(DATA), **(header if where == "last chunk" else {}))
        assert answer.status == status
        if status == 400:
            assert answer.reason == "invalid"
    assert len(server.writes) == 1


def test_a_cancelled_session_says_499(server: GcsServer) -> None:
    session = begin(server)
    put(server, session, 0, QUARTER, len(DATA))
    assert ask(server, "DELETE", session).status == 499
    assert query(server, session).status == 499
    assert put(server, session, QUARTER, len(DATA), len(DATA)).status == 499
    assert server.keys("demo") == []


def test_an_unknown_session_says_404(server: GcsServer) -> None:
    assert put(server, f"{BEGIN}&upload_id=unknown", 0, 10, 10).status == 404
    assert ask(server, "DELETE", f"{BEGIN}&upload_id=unknown").status == 404


def test_a_session_needs_a_bucket_a_name_and_json(server: GcsServer) -> None:
    assert ask(server, "POST", BEGIN.replace("demo", "none"), {}).status == 404
    assert ask(server, "POST", BEGIN.replace("name=k", "name="), {}).status == 400
    assert ask(server, "POST", BEGIN, b"not json").reason == "parseError"


def test_the_session_uri_is_its_own_authorization(server: GcsServer) -> None:
    server.require_token = "secret"
    assert ask(server, "POST", BEGIN, {}).status == 401
    session = begin(server, Authorization="Bearer secret")
    assert ask(server, "PUT", session, b"x").status == 200


def test_clients_that_cannot_take_308(server: GcsServer) -> None:
    answer = put(server, begin(server), 0, QUARTER, "*", X_GUploader_No_308="yes")
    assert (answer.status, answer.headers["x-http-status-code-override"]) == (200, "308")
    assert answer.headers["range"] == f"bytes=0-{QUARTER - 1}"
