"""`brigade sync` as its user runs it: as a program, on real directories, interrupted and killed, and always to be run again."""

from __future__ import annotations

import contextlib
import filecmp
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest

from brigade.embedded import locked
from common.checksums import crc32c
from common.objects import Headers
from common.storage.file_note import Note, write_note
from tests.fakes.drive import DriveServer
from tests.fakes.s3 import ACCESS_KEY, REGION, SECRET_KEY, Fault, Kind, S3Server
from tests.fakes.s3.adversarial import AdversarialS3, ignoring
from tests.unit.storage.drive import DOCX

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("redis_program")]
PATIENCE = 60
MANY = 3000
"""Files; more than a sync with two slots copies while another one starts, however busy the machine is."""


@pytest.fixture
def source(tmp_path):
    directory = tmp_path / "source"
    (directory / "sub").mkdir(parents=True)
    return directory


@pytest.fixture
def destination(tmp_path):
    directory = tmp_path / "destination"
    directory.mkdir()
    return directory


@pytest.fixture
def state(tmp_path):
    return tmp_path / "state"


def started(*arguments, state, preexec=None, **environ):
    here = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "GCP_", "BRIGADE_", "REDIS_"))}
    here["BRIGADE_PROCESSES"] = "1"  # a second one costs a second of start
    here["BRIGADE_LEASE_SECONDS"] = "10"  # for so long a run waits for what a killed one held
    command = [sys.executable, "-m", "brigade", "sync", *map(str, arguments), "--json", "--state-dir", str(state)]
    return subprocess.Popen(
        command,
        env={**here, **environ},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=preexec,  # noqa: PLW1509 - the tests have no other threads that hold locks
    )


def ended(process):
    """Exit code, events on standard output, and standard error."""
    out, err = process.communicate(timeout=PATIENCE)
    assert "Traceback" not in err, err
    return process.returncode, [json.loads(line) for line in out.splitlines()], err


def sync(*arguments, state, **environ):
    return ended(started(*arguments, state=state, **environ))


def files(directory):
    """What is there for its users. A killed worker may leave an unfinished upload behind, beside them."""
    paths = (path.relative_to(directory) for path in directory.rglob("*") if path.is_file())
    return {str(path) for path in paths if path.parts[0] != ".brigade-uploads"}


def assert_equal(source, destination):
    assert files(destination) == files(source)
    _, different, faulty = filecmp.cmpfiles(source, destination, files(source), shallow=False)
    assert not different
    assert not faulty


def fill(directory, count):
    for number in range(count):
        (directory / f"f {number:04}").write_bytes(b"%d" % number * 1000)


def test_everything_arrives_once_and_changes_follow(source, destination, state):
    # Given a directory with an empty file, one of several parts, and awkward names
    fill(source / "sub", 30)
    (source / "empty").touch()
    (source / "large").write_bytes(os.urandom(5_000_000))
    for name in ("50% #1?.txt", "ключ", "a+b&c=d"):
        (source / name).write_text(name)

    # When it is synced
    code, events, _ = sync(source, destination, state=state, BRIGADE_PART_BYTES="1MiB", BRIGADE_BUFFER_BYTES="4MiB")

    # Then everything is there
    assert code == 0
    assert_equal(source, destination)
    assert events[-1]["event"] == "summary"
    assert (events[-1]["listed"], events[-1]["moved"], events[-1]["failed"]) == (35, 35, 0)

    # When one file changes and the command is run again
    (source / "empty").write_text("no longer")
    code, events, _ = sync(source, destination, state=state)

    # Then that one moves
    assert code == 0
    assert_equal(source, destination)
    assert (events[-1]["listed"], events[-1]["moved"], events[-1]["proven"]) == (35, 1, 34)


@pytest.fixture(scope="module")
def latin(tmp_path_factory):
    """The environment of a shell under ISO-8859-1; where no such locale can be made, of one under plain C, which has ASCII."""
    place = tmp_path_factory.mktemp("locales")
    made = shutil.which("localedef") and subprocess.run(
        ["localedef", "-i", "en_US", "-f", "ISO-8859-1", str(place / "en_US.ISO-8859-1")], capture_output=True, check=False
    )
    told = {"LOCPATH": str(place), "LC_ALL": "en_US.ISO-8859-1"} if made and made.returncode == 0 else {"LC_ALL": "POSIX"}
    return {**told, "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}


NAMES = (b"Hauptst\xc3\xa4dte.txt", b"\xe6\x97\xa5\xe6\x9c\xac.txt", b"plain.txt", b"not utf-8 \xe4.txt")


@pytest.mark.parametrize("where", ["latin", "C"])
def test_names_are_bytes_whatever_the_locale(tmp_path, destination, state, latin, where):
    # Given names of several scripts, one that is no UTF-8, and a directory that is not ASCII either
    environ = latin if where == "latin" else {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}
    source = tmp_path / os.fsdecode(b"St\xc3\xa4dte")
    source.mkdir()
    for name in NAMES:
        (source / os.fsdecode(name)).write_bytes(name)

    # When it is synced by somebody whose terminal has another encoding
    code, events, err = sync(source, destination, state=state, **environ)

    # Then all have arrived, byte for byte
    assert (code, err) == (0, ""), events
    assert events[-1]["moved"] == len(NAMES)
    assert {os.fsencode(path.name) for path in destination.iterdir()} - {b".brigade-uploads"} == set(NAMES)


def test_a_folder_of_drive_arrives_with_its_documents_where_they_are_wanted(destination, state):
    # Given a folder on Drive with a file, a document, and a shortcut
    with DriveServer() as server:
        place = server.folder("Photos")
        server.put("beach.jpg", b"first", parent=server.folder("summer", parent=place), modifiedTime="2020-01-02T03:04:05.000Z")
        server.document("letter", {DOCX: b"docx"}, parent=place)
        server.shortcut("elsewhere.txt", server.put("target", b"target"), parent=place)
        where = "gdrive://root/Photos", destination, "--source-endpoint", server.url

        # When it is synced
        code, events, _ = sync(*where, state=state)

        # Then the files are there, with their dates
        assert (code, files(destination)) == (0, {"summer/beach.jpg"})
        assert (destination / "summer" / "beach.jpg").stat().st_mtime == datetime(2020, 1, 2, 3, 4, 5, tzinfo=UTC).timestamp()

        # When the rest is wanted too, then that comes
        code, events, _ = sync(*where, "--natives", "export", "--shortcuts", "follow", state=state)
        assert (code, files(destination)) == (0, {"summer/beach.jpg", "letter.docx", "elsewhere.txt"})
        assert (destination / "letter.docx").read_bytes() == b"docx"
        assert (events[-1]["listed"], events[-1]["moved"], events[-1]["proven"]) == (3, 2, 1)


def test_what_had_to_be_left_behind_is_said_at_the_end(source, state):
    # Given a file with more metadata than S3 keeps
    path = source / "laden"
    with path.open("wb") as file:
        file.write(b"bytes")
        file.flush()
        write_note(file.fileno(), Note(Headers(metadata={"long": "l" * 2500, "owner": "somebody"}), crc32c(b"bytes")), "laden")
    with S3Server(buckets=["copy"]) as server:
        # When it is copied there
        keys = {"AWS_ACCESS_KEY_ID": ACCESS_KEY, "AWS_SECRET_ACCESS_KEY": SECRET_KEY, "AWS_REGION": REGION}
        code, events, err = sync(source, "s3://copy", state=state, AWS_ENDPOINT_URL_S3=server.url, **keys)
        # Then it arrives with the rest, which is counted
        assert code == 0, err
        assert (events[-1]["moved"], events[-1]["metadata_lost"]) == (1, 1)
        assert server.blob("copy", "laden").fields.metadata.keys() & {"long", "owner"} == {"owner"}


def test_what_fails_is_listed_and_tried_again_next_time(source, destination, state):
    # Given a destination where a file is in the way of a directory
    fill(source / "sub", 3)
    (source / "fine").write_text("x")
    (destination / "sub").touch()

    # When it is synced
    code, events, _ = sync(source, destination, state=state, RETRY_ATTEMPTS="1")

    # Then what failed is listed with its reason, and the rest is there
    failures = [event for event in events if event["event"] == "failure"]
    assert code == 1
    assert {failure["key"] for failure in failures} == {f"sub/f {number:04}" for number in range(3)}
    assert all(failure["category"] and failure["message"] for failure in failures)
    assert events[-1]["failed"] == 3
    assert len((state / "failures.jsonl").read_text().splitlines()) == 3
    assert (destination / "fine").read_text() == "x"

    # When the cause is gone and the command is run again
    (destination / "sub").unlink()
    code, events, err = sync(source, destination, state=state)

    # Then nothing is left to complain about
    assert code == 0
    assert "3 that failed in an earlier run are tried again" in err
    assert (events[-1]["moved"], events[-1]["failed"]) == (3, 0)
    assert_equal(source, destination)


def wait_for_the_first_object(process, destination):
    deadline = time.monotonic() + PATIENCE
    while not files(destination):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL], ids=lambda number: number.name)
def test_interrupted_in_any_way_it_goes_on_where_it_stopped(number, source, destination, state):
    # Given a sync that is at work
    fill(source / "sub", MANY)
    process = started(source, destination, "--slots", "2", state=state)
    wait_for_the_first_object(process, destination)

    # When another one is started on the same state, it is told who has it
    code, _, err = sync(source, destination, state=state)
    assert code == 2
    assert f"process {process.pid} on" in err

    # When the first one is interrupted
    process.send_signal(number)
    if number == signal.SIGKILL:
        process.wait()
        with contextlib.closing(process.stdout), contextlib.closing(process.stderr):
            pass
    else:
        code, _, err = ended(process)
        assert code == 130
        assert "goes on when the same command is run again" in err
        assert len(files(destination)) < MANY

    # Then its state is free, and nothing of it is left running (workers that lost their parent finish what they have)
    with locked(state):
        deadline = time.monotonic() + PATIENCE
        while list(children_with(state)):
            assert time.monotonic() < deadline
            time.sleep(0.05)

    # When the command is run again, everything arrives
    code, events, _ = sync(source, destination, state=state)
    assert code == 0
    assert_equal(source, destination)

    # And each object is counted once, whatever the first run had done of it
    last = events[-1]
    assert (last["listed"], last["moved"] + last["proven"]) == (MANY, MANY)
    assert (last["in_flight"], last["failed"], last["left_out"], last["unbalanced"]) == (0, 0, {}, 0)


def children_with(state):
    """Processes that have the state directory in their command line or environment."""
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if str(state).encode() in (process / "environ").read_bytes() and int(process.name) != os.getpid():
                yield process.name


def test_when_its_redis_dies_it_says_so_and_loses_nothing(source, destination, state):
    # Given a sync that is at work
    fill(source / "sub", 300)
    process = started(source, destination, "--slots", "2", state=state)
    wait_for_the_first_object(process, destination)

    # When its server is killed
    (server,) = servers_of(state)
    os.kill(server, signal.SIGKILL)
    code, _, err = ended(process)

    # Then it says so, and goes on when it is run again
    assert code == 1
    assert "the embedded Redis ended in mid-run" in err
    assert sync(source, destination, state=state)[0] == 0
    assert_equal(source, destination)


def servers_of(state):
    """A server stands in the directory where its data is."""
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if (process / "cwd").readlink() == state:
                yield int(process.name)


def test_a_source_that_does_not_exist_cannot_start(destination, state, s3_endpoint, fresh):
    # When a bucket that does not exist is synced
    code, events, err = sync(
        *(f"s3://{fresh}-missing", destination, "--source-endpoint", s3_endpoint),
        state=state,
        AWS_ACCESS_KEY_ID="a",
        AWS_SECRET_ACCESS_KEY="b",
        AWS_REGION="us-east-1",
    )

    # Then it is named, with what to check
    assert code == 2
    assert f"{fresh}-missing" in err
    assert "Check that the bucket" in err
    assert err.startswith("brigade: cannot list")
    assert err.count("\n") == 1
    assert events[-1]["message"]


def test_a_destination_that_refuses_everything_cannot_start(source, state):
    # Given a file, and a folder on Drive that is not there
    fill(source, 1)
    with DriveServer() as server:
        # When the file is to go there
        code, _, err = sync(source, "gdrive://nosuchfolder/x", "--destination-endpoint", server.url, state=state)

    # Then the reason is told, and the exit code is that of settings that cannot work
    assert code == 2
    assert "gdrive://nosuchfolder/x/: there is no folder" in err
    assert "mid-run" not in err


def test_when_a_limit_of_the_day_is_used_up_it_says_until_when_it_waits(source, state):
    # Given a Drive that takes nothing more today
    fill(source, 1)
    with DriveServer() as server:
        server.settings.upload_limit = 0

        # When a file is to go there
        process = started(source, "gdrive://root/Copy", "--destination-endpoint", server.url, state=state)
        said = process.stderr.readline()
        process.terminate()
        code, events, _ = ended(process)

    # Then it says until when, stops when it is told to, and counts nothing as failed
    assert code == 130
    assert "a limit of the day is used up: waits until 2" in said
    assert not [event for event in events if event["event"] == "failure"]


def test_a_source_that_is_away_for_a_while_is_waited_for(destination, state):
    # Given a source that answers the first requests for a listing with 503, more often than one request is tried again
    with S3Server(buckets=["there"]) as server:
        for number in range(3):
            server.put("there", f"k{number}", b"x")
        away = server.faults.add(Fault(Kind.STATUS, "ListObjectsV2", status=503, times=5))
        keys = {"AWS_ACCESS_KEY_ID": ACCESS_KEY, "AWS_SECRET_ACCESS_KEY": SECRET_KEY, "RETRY_BACKOFF_SEC": "0.05"}
        # When it is copied
        code, events, err = sync("s3://there", destination, "--source-endpoint", server.url, state=state, **keys)
    # Then it is waited for, which is said, and everything arrives
    assert away.fired == 5
    assert (code, files(destination)) == (0, {"k0", "k1", "k2"}), err
    assert "cannot be listed just now" in err
    assert events[-1]["failed"] == 0


def test_a_source_that_repeats_itself_is_named_and_not_waited_for(destination, state):
    # Given a service whose listing begins anew at each page, as it ignores where it is to go on
    with AdversarialS3(buckets=["there"]) as server:
        for number in range(30):
            server.put("there", f"k{number:02}", b"x")
        server.hears.append(lambda call: call.query.update({"max-keys": "10"}) if call.operation == "ListObjectsV2" else None)
        server.hears.append(ignoring("start-after", "continuation-token"))
        keys = {"AWS_ACCESS_KEY_ID": ACCESS_KEY, "AWS_SECRET_ACCESS_KEY": SECRET_KEY, "RETRY_BACKOFF_SEC": "0.05"}
        # When it is copied
        code, _, err = sync("s3://there", destination, "--source-endpoint", server.url, state=state, **keys)
    # Then that is said of the listing, at once, and the exit code says that it is not all
    assert code == 1, err
    assert "cannot list 's3://there/'" in err
    assert "page 2" in err
    assert "cannot be listed just now" not in err
    assert server.requests["ListObjectsV2"] <= 20


def test_a_destination_that_refuses_each_write_ends_a_sync_at_once_and_not_the_next_one(source, state):
    # Given credentials that may list the destination and not write to it, which only a write can find out
    fill(source, 600)
    keys = {"AWS_ACCESS_KEY_ID": ACCESS_KEY, "AWS_SECRET_ACCESS_KEY": SECRET_KEY}
    with S3Server(buckets=["copy"]) as server:
        refuses = server.faults.add(Fault(Kind.STATUS, "PutObject", status=403, times=0))
        # When files are to go there
        code, _, err = sync(source, "s3://copy", "--destination-endpoint", server.url, state=state, **keys)
        # Then a few were tried, and the reason is one line
        assert code == 2
        assert "nothing could be moved: the destination refuses every object (forbidden)" in err
        assert refuses.fired < 600
        # When the right has been given, then the next run does not wait for anything
        server.faults.clear()
        code, _, err = sync(source, "s3://copy", "--destination-endpoint", server.url, state=state, **keys)
        assert code == 0, err
        assert len(server.keys("copy")) == 600
