"""`brigade sync` lists the destination as well: what happened to it since the last run is mended, or it says why not."""

from __future__ import annotations

import pytest

from tests.fakes.s3 import ACCESS_KEY, REGION, SECRET_KEY, Fault, Kind, S3Server
from tests.unit.brigade.test_sync import assert_equal, fill, sync

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("redis_program")]
KEYS = {"AWS_ACCESS_KEY_ID": ACCESS_KEY, "AWS_SECRET_ACCESS_KEY": SECRET_KEY, "AWS_REGION": REGION, "RETRY_BACKOFF_SEC": "0.01"}


@pytest.fixture
def source(tmp_path):
    directory = tmp_path / "source"
    directory.mkdir()
    return directory


def test_what_was_deleted_or_altered_is_mended_by_the_next_run(source, tmp_path):
    # Given a copy of a directory, of which somebody deletes, overwrites and cuts files, and one file of their own beside it
    destination, state = tmp_path / "destination", tmp_path / "state"
    destination.mkdir()
    fill(source, 12)
    assert sync(source, destination, state=state)[0] == 0
    (destination / "f 0003").unlink()
    size = (source / "f 0004").stat().st_size
    (destination / "f 0004").write_bytes(b"x" * size)
    (destination / "f 0005").write_bytes(b"5")
    (destination / "theirs").write_bytes(b"theirs")

    # When the command is run by somebody who trusts its state, then it sees nothing of that
    code, events, _ = sync(source, destination, "--trust-state", state=state)
    assert (code, events[-1]["proven"], events[-1]["moved"], events[-1]["extra"]) == (0, 12, 0, None)

    # When it is run as usual, then all is mended, and what was beside it is left
    code, events, _ = sync(source, destination, state=state)
    assert code == 0
    last = events[-1]
    assert (last["listed"], last["proven"], last["moved"], last["distrusted"], last["extra"]) == (12, 9, 3, 3, 1)
    assert (destination / "theirs").read_bytes() == b"theirs"
    (destination / "theirs").unlink()
    assert_equal(source, destination)


def test_a_destination_that_cannot_be_listed_is_said(source, tmp_path):
    # Given a copy in a bucket
    fill(source, 3)
    where = "s3://copy", "--destination-option", "compat=aws"
    with S3Server(buckets=["copy"]) as server:
        first = sync(source, *where, state=tmp_path / "state", AWS_ENDPOINT_URL_S3=server.url, **KEYS)
        assert (first[0], first[1][-1]["moved"], first[1][-1]["extra"]) == (0, 3, 0)
        # Whose listing is forbidden from then on; and a new file
        server.faults.add(Fault(Kind.STATUS, "ListObjectsV2", status=403, times=0))
        (source / "new").write_bytes(b"new")

        # When the command is run again
        code, events, err = sync(source, *where, state=tmp_path / "state", AWS_ENDPOINT_URL_S3=server.url, **KEYS)

        # Then what is new has come, nothing else was touched, and it says what it does not know
        assert code == 1
        assert (events[-1]["moved"], events[-1]["proven"], events[-1]["distrusted"]) == (1, 3, 0)
        assert err.startswith("brigade: cannot list 's3://copy'"), err
        assert "--trust-state" in err
        assert err.count("\n") == 1
        assert events[-1]["message"]
        assert len(server.writes) == 4

        # And whoever trusts the state does without
        trusting = sync(source, *where, "--trust-state", state=tmp_path / "state", AWS_ENDPOINT_URL_S3=server.url, **KEYS)
        assert (trusting[0], trusting[1][-1]["proven"]) == (0, 4)
