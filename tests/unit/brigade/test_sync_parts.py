"""The parts of a sync that need no server: what is shown, what is noted, and how the route reaches the workers."""

from __future__ import annotations

import asyncio
import io
import json
import tomllib
from pathlib import Path

import pytest
from rich.console import Console
from rich.progress import Progress

from brigade.embedded import Pair
from brigade.notes import NOTES, PERIOD, Notes, OwnLog
from brigade.progress import JsonDisplay, LineDisplay, Snapshot, Speed, TerminalDisplay, moment, size
from brigade.sync_run import Plan, route_as_toml
from brigade.worker_child import _bring_home
from common.location import Location
from common.settings import load

PAIR = Pair(Location.parse("s3://photos"), Location.parse("gs://copy"))


def snapshot(seconds, moved=0, *, scanning=False, **counts):
    return Snapshot(seconds=seconds, scanning=scanning, published=100, listed=100, moved=moved, bytes=moved * 1024, **counts)


def test_the_speed_is_that_of_the_last_moments():
    # Given a start at ten a second, and then a hundred a second
    speed = Speed()
    for second in range(30):
        speed.add(snapshot(second, second * 10))
    for second in range(30, 60):
        shown = speed.add(snapshot(second, 300 + (second - 30) * 100))

    # Then the beginning plays no part any more
    assert shown == (100.0, 102400.0)


def test_the_first_moment_has_no_speed():
    assert Speed().add(snapshot(0.0)) == (0.0, 0.0)


def test_lines_come_now_and_then_and_not_at_all_when_quiet(capsys):
    # Given ten seconds of progress, twice a second
    for display in (LineDisplay(quiet=False), LineDisplay(quiet=True)):
        for half in range(21):
            display.show(snapshot(half / 2, half))

    # Then there were two lines, from the one that is not quiet
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.splitlines() == [
        "brigade: 10 of 100 objects, 10.0 KiB, 2 objects/s, 2.0 KiB/s, 0 failed",
        "brigade: 20 of 100 objects, 20.0 KiB, 2 objects/s, 2.0 KiB/s, 0 failed",
    ]


def test_json_lines_are_the_only_thing_on_standard_output(capsys):
    # When everything that can be said is said
    display = JsonDisplay(quiet=False)
    display.show(snapshot(2.0, 5, failed=1))
    display.note("for people\n")
    display.failure({"key": "a", "category": "forbidden"}, "a line")
    display.summary({"failed": 1}, ["a line"])

    # Then every line of standard output is an event
    said = capsys.readouterr()
    events = [json.loads(line) for line in said.out.splitlines()]
    assert [event["event"] for event in events] == ["progress", "failure", "summary"]
    assert events[0]["moved"] == 5
    assert events[1]["category"] == "forbidden"
    assert said.err == "brigade: for people\\x0a\n"


def test_a_terminal_shows_a_bar_and_notes_above_it():
    # Given a terminal
    stream = io.StringIO()
    with Progress(console=Console(file=stream, force_terminal=True, width=120)) as progress:
        display = TerminalDisplay(progress)

        # When there is progress, and a failure whose key looks like markup
        display.show(snapshot(0.0, scanning=True))
        display.show(snapshot(5.0, 50, failed=2))
        display.failure({}, "default: [bold]key[/bold]\x1b[2J forbidden")

        # Then the bar stands where it should, and the key is shown as it is
        (task,) = progress.tasks
        assert (task.completed, task.total) == (52, 100)
        assert "2 failed" in task.fields["failed"]
    assert "[bold]key[/bold]\\x1b[2J forbidden" in stream.getvalue()


@pytest.mark.parametrize(
    ("count", "shown"), [(0, "0 B"), (1023, "1023 B"), (1536, "1.5 KiB"), (5 * 1024**3, "5.0 GiB"), (1024**4, "1.0 TiB")]
)
def test_sizes_for_people(count, shown):
    assert size(count) == shown


def test_a_few_warnings_are_told_and_then_only_that_there_are_more():
    # Given workers that warn of a hundred things within a moment, each of them twice, and again later
    told: list[str] = []
    now = [0.0]
    notes = Notes(told.append, "worker", clock=lambda: now[0])

    def warn(number):
        notes.line(json.dumps({"level": "warning", "event": "Redis is away", "reason": f"refused {number}"}).encode())

    for number in range(100):
        warn(number)
        warn(number)
    now[0] = PERIOD
    warn(0)

    # Then some are told, each once, with a hint to the rest
    assert told == [f"worker: Redis is away (refused {number})" for number in range(NOTES)] + [
        "and more warnings, see the log",
        "worker: Redis is away (refused 0)",
    ]


def test_the_own_log_goes_to_a_file_and_what_is_worth_telling_to_the_user():
    # Given a log that is kept in a file
    told: list[str] = []
    file = io.BytesIO()
    log = OwnLog(file, Notes(told.append, "publisher"))

    # When the publisher says something
    for level in ("info", "warning"):
        log.write(json.dumps({"level": level, "event": "an event", "error": "a reason"}) + "\n")

    # Then all of it is in the file, and the warning is told in words
    assert [json.loads(line)["level"] for line in file.getvalue().splitlines()] == ["info", "warning"]
    assert told == ["publisher: an event (a reason)"]


def test_a_route_that_waits_says_until_when(capsys):
    # Given a route whose limit of the day is used up
    waiting = snapshot(5.0, 1, parked_until=moment(0))

    # When it is shown in all ways
    LineDisplay(quiet=False).show(waiting)
    JsonDisplay(quiet=False).show(waiting)
    stream = io.StringIO()
    with Progress(console=Console(file=stream, force_terminal=True, width=120)) as progress:
        TerminalDisplay(progress).show(waiting)

    # Then each of them says so
    said = capsys.readouterr()
    assert said.err.endswith("0 failed, waits until 1970-01-01T00:00:00+00:00\n")
    assert json.loads(said.out)["parked_until"] == "1970-01-01T00:00:00+00:00"
    assert "waits until 1970-01-01T00:00:00+00:00" in stream.getvalue()


@pytest.mark.parametrize(
    ("line", "told"),
    [
        (b'{"level":"info","event":"worker started"}', []),
        (b'{"level":"error","event":"an object could not be replicated","action":"object_failed"}', []),
        (b"Traceback (most recent call last):", ["Traceback (most recent call last):"]),
        (b"\n", []),
        (b'{"level":"error","event":"scan failed","action":"scan_failed","error":"no such bucket"}', []),
        (b'{"level":"warning","event":"a limit of the day is used up","action":"route_parked","until":"2026-11-22"}', []),
    ],
)
def test_what_is_worth_telling(line, told):
    said: list[str] = []
    Notes(said.append, "worker").line(line)
    assert said == told


@pytest.mark.parametrize(
    "prefix", ["plain", 'quote"s and \\ and \u00e9 and \u65e5\u672c', "del\x7f and tab\t", "emoji \U0001f6a3"]
)
def test_any_prefix_reaches_the_workers_unharmed(prefix, tmp_path):
    # Given a route with an awkward prefix and options
    route = {
        "name": "sync",
        "source": f"s3://bucket/{prefix}/",
        "destination": "gs://copy",
        "source_options": {"endpoint": "http://h:1"},
    }

    # When it is written down and read by a worker
    path = tmp_path / "route.toml"
    path.write_text(route_as_toml(route), encoding="utf-8")
    assert tomllib.loads(path.read_text(encoding="utf-8"))["route"] == [route]
    (read,) = load({}, path, needs={"routes"}).routes

    # Then nothing has changed
    assert read.source.prefix == f"{prefix}/"
    assert read.source_options.endpoint == "http://h:1"


def test_the_workers_get_the_credentials_but_no_queue_of_a_fleet(tmp_path):
    # Given a machine that is set up for a fleet
    environ = {
        "AWS_ACCESS_KEY_ID": "AKID",
        "GCP_TOPIC_ID": "fleet",
        "REDIS_ADDRESS": "fleet:6379",
        "REDIS_PASSWORD": "secret",
        "AWS_S3_BUCKET": "fleet",
        "BRIGADE_QUEUE": "pubsub",
    }

    # When a sync makes the environment of its workers
    made = Plan(directory=tmp_path, pair=PAIR, environ=environ).environment("unix:///s")

    # Then the credentials are there and the fleet is not
    assert made["AWS_ACCESS_KEY_ID"] == "AKID"
    assert made["REDIS_ADDRESS"] == "unix:///s"
    assert made["BRIGADE_QUEUE"] == "redis"
    assert made["BRIGADE_CONFIG"] == str(tmp_path / "route.toml")
    assert not {"GCP_TOPIC_ID", "REDIS_PASSWORD", "AWS_S3_BUCKET"} & made.keys()


@pytest.fixture
def full_disk():
    with Path("/dev/full").open("wb", buffering=0) as file:
        yield file


async def test_a_log_that_cannot_be_written_stops_no_worker(full_disk):
    # Given a disk that is full, and workers that say more than a pipe holds
    stream = asyncio.StreamReader()
    for number in range(3):
        stream.feed_data(json.dumps({"level": "warning", "event": f"line {number}"}).encode() + b"\n")
    stream.feed_eof()
    noted: list[str] = []
    # When their log is brought home
    await _bring_home(stream, full_disk, Notes(noted.append, "worker"))
    # Then it was read to the end, and what matters was still noted
    assert [text.split(": ")[-1] for text in noted] == ["line 0", "line 1", "line 2"]
