"""What a listing names and a read does not find, over `brigade sync`: copied, failed by name or gone, and never passed over."""

from __future__ import annotations

from contextlib import contextmanager

import pytest

from tests.fakes.s3 import ACCESS_KEY, REGION, SECRET_KEY, Fault, Kind, S3Server
from tests.unit.brigade.test_sync import destination, files, state, sync

__all__ = ["destination", "state"]

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("redis_program")]
NAMES = ("a.bin", "half.bin", "z.bin")


@contextmanager
def served():
    with S3Server(buckets=["source"]) as server:
        for name in NAMES:
            server.put("source", f"dir/{name}", name.encode())
        yield (
            server,
            {
                "AWS_ACCESS_KEY_ID": ACCESS_KEY,
                "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
                "AWS_REGION": REGION,
                "AWS_ENDPOINT_URL_S3": server.url,
            },
        )


def hidden(key: str, times: int) -> list[Fault]:
    """Listed, and 404 when it is read or asked for, so often."""
    return [Fault(Kind.STATUS, operation, key=key, status=404, times=times) for operation in ("GetObject", "HeadObject")]


def balanced(summary):
    left_out = sum(summary["left_out"].values())
    parts = summary["moved"] + summary["proven"] + summary["in_flight"] + summary["failed"] + left_out
    return summary["listed"] == parts and summary["unbalanced"] == 0


def test_an_object_that_is_never_found_fails_by_name_until_it_can_be_read(destination, state):
    # Given a bucket that lists an object, and says that it is not there
    with served() as (server, environ):
        server.faults.add(*hidden("half", 0))
        for _ in range(2):
            # When it is copied, once and once more
            code, events, err = sync("s3://source/dir", destination, state=state, **environ)
            # Then that object has failed, by name, and the others have arrived
            assert code == 1, err
            (failure,) = [event for event in events if event["event"] == "failure"]
            assert (failure["category"], failure["key"], failure["route"]) == ("source_missing", "half.bin", "sync")
            summary = events[-1]
            assert (summary["listed"], summary["failed"], summary["in_flight"]) == (3, 1, 0)
            assert balanced(summary)
            assert files(destination) == {"a.bin", "z.bin"}
        # When it can be read
        server.faults.clear()
        code, events, err = sync("s3://source/dir", destination, state=state, **environ)
    # Then it arrives
    assert code == 0, err
    assert files(destination) == set(NAMES)
    assert balanced(events[-1])


def test_an_object_that_is_not_found_once_is_copied(destination, state):
    # Given a bucket that does not find an object the first time
    with served() as (server, environ):
        server.faults.add(*hidden("half", 1))
        # When it is copied
        code, events, err = sync("s3://source/dir", destination, state=state, **environ)
    # Then all of it arrives, in the same run, and each object counts once
    assert code == 0, err
    assert files(destination) == set(NAMES)
    assert (events[-1]["listed"], events[-1]["moved"], events[-1]["left_out"]) == (3, 3, {})
    assert balanced(events[-1])


def test_an_object_that_has_no_name_is_a_failure(destination, state):
    # Given an object with bytes whose key is exactly the prefix
    with served() as (server, environ):
        server.put("source", "dir/", b"bytes")
        # When the rest is copied
        code, events, err = sync("s3://source/dir", destination, state=state, **environ)
    # Then it is named, counted, and the exit code says so
    assert code == 1, err
    (failure,) = [event for event in events if event["event"] == "failure"]
    assert (failure["category"], failure["key"]) == ("invalid_name", "")
    assert (events[-1]["listed"], events[-1]["moved"], events[-1]["failed"]) == (4, 3, 1)
    assert balanced(events[-1])
    assert files(destination) == set(NAMES)
