"""Faults on request: each does what it says, to the request it was planned for, and says how often it did; and the program."""

from __future__ import annotations

import http.client
import json
from typing import Any

import pytest

from tests import servers
from tests.fakes.http import Framing
from tests.fakes.s3 import Fault, Kind, S3Server
from tests.unit.fakes import fault_hits
from tests.unit.fakes.s3.test_multipart import Upload
from tests.unit.fakes.s3.wire import client, code, said, signed
from tests.unit.fakes.wire import ask


def test_slow_down(server: S3Server) -> None:
    fault = server.faults.add(Fault(Kind.STATUS, "GetObject", retry_after=1))
    server.put("demo", "k", b"x")
    answer = signed(server, "GET", "/demo/k")
    assert (answer.status, code(answer), answer.headers["retry-after"]) == (503, "SlowDown", "1")
    assert signed(server, "GET", "/demo/k").body == b"x"
    assert (fault.fired, fault.seen) == (1, 2)


@pytest.mark.parametrize(("fields", "hits"), fault_hits.cases(writes="Put*", read="GetObject"))
def test_which_requests_are_hit(server: S3Server, fields: dict[str, Any], hits: list[int]) -> None:
    fault = server.faults.add(Fault(Kind.STATUS, **fields))
    statuses = [signed(server, "PUT", f"/demo/a/part-{number}", b"x").status for number in range(4)]
    assert statuses == [503 if hit else 200 for hit in hits]
    assert fault.fired == sum(hits)


@pytest.mark.parametrize("kind", [Kind.STATUS, Kind.RESET])
def test_the_end_in_mid_upload(server: S3Server, kind: Kind) -> None:
    fault = server.faults.add(Fault(kind, "PutObject", after_bytes=100_000))
    if kind is Kind.STATUS:
        assert signed(server, "PUT", "/demo/k", bytes(300_000)).status == 503
    else:
        with pytest.raises((ConnectionError, http.client.HTTPException)):
            signed(server, "PUT", "/demo/k", bytes(300_000))
    assert (fault.fired, server.keys("demo")) == (1, [])


def test_a_download_that_goes_wrong(server: S3Server) -> None:
    server.put("demo", "k", bytes(1000))
    server.faults.add(
        Fault(Kind.CORRUPT, "GetObject", after_bytes=10),
        Fault(Kind.TRUNCATE, "GetObject", after_bytes=10),
        Fault(Kind.TRUNCATE, "GetObject", after_bytes=10, framing=Framing.CLOSE),
        Fault(Kind.RESET, "GetObject", after_bytes=10),
    )
    assert signed(server, "GET", "/demo/k").body == bytes(10) + b"\xff" + bytes(989)
    with pytest.raises(http.client.IncompleteRead):
        signed(server, "GET", "/demo/k")
    assert signed(server, "GET", "/demo/k").body == bytes(10)
    with pytest.raises((ConnectionError, http.client.HTTPException)):
        signed(server, "GET", "/demo/k")
    assert [fault.fired for fault in server.faults.planned] == [1, 1, 1, 1]
    assert signed(server, "GET", "/demo/k").body == bytes(1000)


def test_an_answer_that_is_lost_after_success(server: S3Server) -> None:
    server.faults.add(Fault(Kind.LOSE_REPLY, "PutObject"))
    with pytest.raises((ConnectionError, http.client.HTTPException)):
        signed(server, "PUT", "/demo/k", b"x")
    assert server.data("demo", "k") == b"x"


def test_an_object_that_changes_between_two_ranges(server: S3Server) -> None:
    server.put("demo", "k", b"abcd")
    server.faults.add(Fault(Kind.CHANGE, "GetObject"))
    first = signed(server, "GET", "/demo/k", Range="bytes=0-1")
    assert first.body == b"ab"
    assert code(signed(server, "GET", "/demo/k", Range="bytes=2-3", If_Match=first.headers["etag"])) == "PreconditionFailed"
    assert signed(server, "GET", "/demo/k", Range="bytes=2-3").body == bytes(byte ^ 0xFF for byte in b"cd")


def test_a_conflict_voids_an_upload(server: S3Server) -> None:
    """https://docs.aws.amazon.com/AmazonS3/latest/userguide/conditional-writes.html: after a 409 the upload is begun anew."""
    server.faults.add(Fault(Kind.CONFLICT, "CompleteMultipartUpload"))
    upload = Upload(server, "demo")
    etag = upload.part(1, b"bytes").headers["etag"]
    for _ in range(2):
        answer = upload.complete((1, etag), If_None_Match="*")
        assert (answer.status, code(answer), said(answer, "Condition")) == (409, "ConditionalRequestConflict", "If-None-Match")
    again = Upload(server, "demo")
    assert again.complete((1, again.part(1, b"bytes").headers["etag"]), If_None_Match="*").status == 200


def test_an_error_behind_a_200(server: S3Server) -> None:
    """https://docs.aws.amazon.com/AmazonS3/latest/API/API_CompleteMultipartUpload.html"""
    server.faults.add(Fault(Kind.ERROR_IN_200, "CompleteMultipartUpload", status=500))
    upload = Upload(server, "demo")
    etag = upload.part(1, b"bytes").headers["etag"]
    answer = upload.complete((1, etag))
    assert (answer.status, code(answer), server.keys("demo")) == (200, "InternalError", [])
    assert upload.complete((1, etag)).status == 200


def test_it_runs_as_a_program() -> None:
    # Given the program with a bucket
    with servers.s3_server(["one-1"]) as program:
        server = S3Server(port=program.port)
        # When it is given a fault over the wire
        assert ask(server, "POST", "/_faults", {"kind": "status", "operation": "ListBuckets"}).status == 200
        # Then it errs as it was told, and answers otherwise
        assert signed(server, "GET", "/").status == 503
        assert [each["Name"] for each in client(server).list_buckets()["Buckets"]] == ["one-1"]
        assert ask(server, "GET", "/_stats").json["requests"] == {"ListBuckets": 2}
        assert json.loads(ask(server, "GET", "/_faults").body)["faults"][0]["fired"] == 1
        assert ask(server, "DELETE", "/_faults").json == {"faults": []}
        assert ask(server, "POST", "/_faults", {"kind": "nonsense"}).status == 400


def test_it_runs_as_a_program_of_years_ago() -> None:
    with servers.s3_server(["one-1"], "--old") as program:
        answer = signed(S3Server(port=program.port), "PUT", "/one-1/k", b"bytes", x_amz_checksum_crc32c="AAAAAA==")
        assert answer.status == 200
