"""The report on the error topic: everything survives, and a foreign message is never taken for one."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest

from common.errors import Malformed
from common.report import LARGEST_PAYLOAD, Report, decode, encode

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def report(**fields):
    known = {
        "category": "forbidden",
        "message": "no permission",
        "attempts": 3,
        "worker": "w1",
        "queued": NOW,
        "failed": NOW,
        "route": "default",
        "key": "a/ключ \ud800",
        "payload": b'{"schema":1}',
    }
    return Report(**{**known, **fields})


@pytest.mark.parametrize(
    "fields", [{}, {"payload": b"\xff\x00 not text"}, {"payload": b""}, {"route": None, "key": None, "queued": None}]
)
def test_a_report_survives_the_way(fields):
    sent = report(**fields)
    assert decode(encode(sent)) == sent


def test_a_payload_that_is_text_can_be_read_in_the_message():
    assert json.loads(encode(report()))["payload"] == '{"schema":1}'


def test_a_payload_too_large_to_keep_is_cut_and_says_so():
    # Given a foreign message of several megabytes that JSON would multiply
    sent = report(payload=b"\x00" * (LARGEST_PAYLOAD + 1))

    # When it is reported
    message = encode(sent)

    # Then the report fits into Pub/Sub's 10 MB, and says that it is not whole
    assert len(message) < 9_000_000
    assert decode(message).truncated
    assert len(decode(message).payload) == LARGEST_PAYLOAD


@pytest.mark.parametrize(
    ("change", "part"),
    [
        ({"schema": 2}, "newer"),
        ({"schema": "1"}, "schema"),
        ({"attempts": -1}, "attempts"),
        ({"attempts": True}, "attempts"),
        ({"category": 5}, "category"),
        ({"failed": "yesterday"}, "ISO 8601"),
        ({"failed": "2026-01-02T03:04:05"}, "time zone"),
        ({"payload": None}, "payload"),
        ({"payload": "\ud800"}, "UTF-8"),
        ({"key": 3}, "key"),
    ],
)
def test_what_is_not_a_report_is_refused_with_a_reason(change, part):
    message = json.dumps({**json.loads(encode(report())), **change}).encode()
    with pytest.raises(Malformed, match=part):
        decode(message)


@pytest.mark.parametrize("message", [b"", b"[]", b"\xff", b"{}", b"[" * 100_000])
def test_what_is_not_even_an_object_is_refused(message):
    with pytest.raises(Malformed):
        decode(message)


def test_base64_that_is_none_is_refused():
    fields = json.loads(encode(report(payload=b"\xff")))
    with pytest.raises(Malformed, match="base64"):
        decode(json.dumps({**fields, "payload_b64": "***"}).encode())
