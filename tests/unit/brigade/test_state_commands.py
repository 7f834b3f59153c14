"""`brigade cache`, `errors` and `jobs` on a real Redis: the same answers as the HTTP API, for any key, and nothing lost."""

from __future__ import annotations

import asyncio
import io
import json
import time
from datetime import UTC, datetime
from typing import Any

import pytest

from common.config import QueueSettings, RedisSettings, Route, Settings
from common.location import Location
from common.objects import Version
from common.queues.registry import open_errors, open_queue
from common.report import Report, encode
from common.state.agreements import Agreements
from common.state.cache import Cache
from common.state.claims import Settled, Settlement
from common.state.flight import Flight, Scan
from common.state.holds import Holds
from common.state.jobs import Jobs
from common.state.records import Receipt
from common.state.store import Store
from common.storage.shared import Parking
from common.task import Task
from common.task import encode as encode_task
from tests.published import publish

KEYS = ["a", "with: colon and space", "ключ\n", "*", "[a]?"]
ROUTES = """
[[route]]
name = "photos"
source = "s3://photos"
destination = "gs://copy"
"""
FILMS = ROUTES.replace("photos", "films")


@pytest.fixture
def environ(redis_address, fresh):
    return {"REDIS_ADDRESS": redis_address, "BRIGADE_REDIS_PREFIX": fresh, "BRIGADE_QUEUE": "redis", "BRIGADE_LOG_LEVEL": "error"}


@pytest.fixture
def settings(redis_address, fresh):
    route = Route(name="photos", source=Location.parse("s3://photos"), destination=Location.parse("gs://copy"))
    return Settings(routes=(route,), redis=RedisSettings(address=redis_address, prefix=fresh), queue=QueueSettings(kind="redis"))


@pytest.fixture
def filled(settings):
    """Every key is published, and the first one consumed."""

    async def fill():
        store = await Store.open(settings.redis)
        now = int(time.time())
        job = await Jobs(store).open("photos", "sweep", now)
        entries = [(key, f"etag {key}") for key in KEYS]
        await publish(store, "photos", job.id, entries, at=now, after="z")
        receipt = Receipt(etag="etag a", size=3, crc32c=7, destination_version="9", at=now, worker="w")
        await Cache(store).settle([Settlement("photos", "a", "etag a", "w", Settled.MOVED, receipt, 3)])
        await store.close()
        return job

    return asyncio.run(fill())


def test_cache_show_gives_every_record_whatever_its_key(filled, environ, brigade):
    # When the cache is shown as JSON and as lines
    as_json = brigade("cache", "show", "--json", **environ)
    as_lines = brigade("cache", "show", **environ)

    # Then every record is there once, in both
    assert filled
    shown = json.loads(as_json.out)
    assert set(shown) == {"consumed:a", *(f"published:{key}" for key in KEYS)}
    assert shown["published:*"]["etag"] == "etag *"
    assert shown["consumed:a"]["size"] == 3
    assert len(as_lines.out.splitlines()) == len(shown)


def test_cache_show_of_one_kind_one_name_and_no_more_than_the_limit(filled, environ, brigade):
    assert filled
    assert list(json.loads(brigade("cache", "show", "--type", "consumed", "--json", **environ).out)) == ["consumed:a"]
    assert len(json.loads(brigade("cache", "show", "--limit", "2", "--json", **environ).out)) == 2
    (name,) = json.loads(brigade("cache", "show", "--name", "published:with: colon and space", "--json", **environ).out)
    assert name == "published:with: colon and space"
    absent = brigade("cache", "show", "--name", "consumed:*", **environ)
    assert (absent.code, absent.out) == (1, "")
    assert "there is no record consumed:*" in absent.err


def test_an_empty_cache_is_an_empty_object(environ, brigade):
    assert json.loads(brigade("cache", "show", "--json", **environ).out) == {}


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (("--name", "a"), "--name is published:KEY or consumed:KEY"),
        (("--name", "other:a"), "--name is published:KEY or consumed:KEY"),
        (("--name", "consumed:a", "--type", "consumed"), "do not go together"),
        (("--route", "nonsense"), "there is no route 'nonsense'"),
    ],
)
def test_what_cannot_be_meant_is_refused(arguments, part, environ, brigade):
    answer = brigade("cache", "show", *arguments, **environ)
    assert answer.code == 2
    assert part in answer.err


def test_of_several_routes_one_has_to_be_named(filled, environ, brigade, tmp_path):
    # Given settings with two routes
    assert filled
    (tmp_path / "brigade.toml").write_text(ROUTES + FILMS)

    # When none is named, both are named in the answer; when one is, it is shown
    answer = brigade("cache", "show", **environ)
    assert answer.code == 2
    assert "--route: photos, films" in answer.err
    assert json.loads(brigade("cache", "show", "--route", "photos", "--type", "consumed", "--json", **environ).out)
    assert json.loads(brigade("cache", "show", "--route", "films", "--json", **environ).out) == {}


def test_cache_delete_asks_first(filled, environ, brigade, monkeypatch):
    # Given nobody who would say yes
    assert filled
    monkeypatch.setattr("click.termui.visible_prompt_func", lambda _prompt: "n")

    # When everything is to be deleted
    answer = brigade("cache", "delete", **environ)

    # Then nothing is
    assert answer.code == 1
    assert len(json.loads(brigade("cache", "show", "--json", **environ).out)) == len(KEYS) + 1


def test_cache_delete_takes_exactly_what_is_named(filled, environ, brigade):
    # One record whose key looks like a pattern, then one kind, then everything
    assert filled
    assert json.loads(brigade("cache", "delete", "--name", "published:*", "--yes", "--json", **environ).out) == {"deleted": 1}
    assert brigade("cache", "delete", "--name", "published:*", "--yes", **environ).code == 1
    assert brigade("cache", "delete", "--type", "consumed", "--yes", **environ).out == "1 deleted\n"
    assert brigade("cache", "delete", "--yes", **environ).out == f"{len(KEYS) - 1} deleted\n"
    assert json.loads(brigade("cache", "show", "--json", **environ).out) == {}


def test_jobs_list(filled, environ, brigade):
    as_json = json.loads(brigade("jobs", "list", "--json", **environ).out)
    assert (as_json["id"], as_json["published"], as_json["moved"]) == (filled.id, len(KEYS), 1)
    heading, row = brigade("jobs", "list", **environ).out.splitlines()
    assert heading.split()[0] == "id"
    assert row.split()[0] == filled.id


def test_a_job_whose_route_is_parked_says_until_when(settings, filled, environ, brigade):
    # Given a route that waits for a limit of the day
    async def park():
        store = await Store.open(settings.redis)
        await Agreements(store).park("photos", Parking(4_000_000_000, "the user has uploaded 750 GB in a day"))
        await store.close()

    asyncio.run(park())
    # Then the job says until when and why
    as_json = json.loads(brigade("jobs", "list", "--json", **environ).out)
    assert as_json["parked"] == {"until": "2096-10-02T07:06:40+00:00", "reason": "the user has uploaded 750 GB in a day"}
    said = brigade("jobs", "list", **environ).out.splitlines()[-1]
    assert said == f"{filled.id}: waits until 2096-10-02T07:06:40+00:00: the user has uploaded 750 GB in a day"


def test_a_job_whose_route_is_held_says_why_and_when_it_is_tried_again(settings, filled, environ, brigade):
    # Given a route that is held, because its destination refuses everything
    async def hold():
        store = await Store.open(settings.redis)
        await Holds(store).hold("photos", "destination forbidden", "no right to it", now=3_999_999_985, pauses=(15, 300))
        await store.close()

    asyncio.run(hold())
    # Then the job says so, and nothing about a limit of the day
    as_json = json.loads(brigade("jobs", "list", "--json", **environ).out)
    assert as_json["held"] == {"until": "2096-10-02T07:06:40+00:00", "reason": "no right to it"}
    assert as_json["parked"] is None
    said = brigade("jobs", "list", **environ).out.splitlines()[-1]
    assert said == f"{filled.id}: held: no right to it; tried again at 2096-10-02T07:06:40+00:00"


def test_a_job_says_what_arrived_without_all_that_it_had(settings, filled, environ, brigade):
    # Given an object of which the destination could not keep all
    async def settle():
        store = await Store.open(settings.redis)
        receipt = Receipt(etag="etag *", size=3, crc32c=7, destination_version="9", at=1, worker="w")
        await Cache(store).settle([Settlement("photos", "*", "etag *", "w", Settled.MOVED, receipt, 3, metadata_lost=True)] * 2)
        await store.close()

    asyncio.run(settle())
    # Then the job has counted it, once
    assert json.loads(brigade("jobs", "list", "--json", **environ).out)["metadata_lost"] == 1
    said = brigade("jobs", "list", **environ).out.splitlines()[-1]
    assert said == f"{filled.id}: 1 arrived without all of their metadata (docs/metadata.md)"


def test_no_job_yet_says_how_to_get_one(environ, brigade):
    answer = brigade("jobs", "list", **environ)
    assert (answer.code, answer.out) == (0, "")
    assert "brigade publish" in answer.err


def test_errors_are_discarded_with_a_reason_once_the_number_was_confirmed(settings, environ, brigade, monkeypatch):
    # Given reports of two kinds, one object of which failed twice
    async def reject():
        errors = await open_errors(settings)
        fixed: dict[str, Any] = {
            "attempts": 1,
            "worker": "w",
            "queued": None,
            "failed": datetime.now(UTC),
            "route": "photos",
            "payload": b"task",
        }
        for key, category in [("k0", "archived"), ("k1", "archived"), ("k1", "archived"), ("k2", "forbidden")]:
            await errors.send([encode(Report(category=category, message="no", key=key, **fixed))])
        await errors.close()

    asyncio.run(reject())
    listed = [json.loads(line) for line in brigade("errors", "list", "--json", **environ).out.splitlines()]
    assert [(entry["key"], entry["times"]) for entry in listed] == [("k0", 1), ("k1", 2), ("k2", 1)]
    assert "reported 2 times since" in brigade("errors", "list", **environ).out

    # When some are to be discarded, and nobody confirms it
    monkeypatch.setattr("sys.stdin", io.StringIO("n\n"))
    asked = brigade("errors", "discard", "--category", "archived", "--reason", "stay in Glacier", **environ)

    # Then they were counted, and nothing has happened
    assert asked.code == 1
    assert "discard 2 reports?" in asked.err
    assert "nothing was discarded; with --yes nobody is asked" in asked.err
    assert len(brigade("errors", "list", **environ).out.splitlines()) == 3

    # And when it is confirmed, they are gone, and no other
    done = brigade("errors", "discard", "--category", "archived", "--reason", "stay in Glacier", "--yes", "--json", **environ)
    assert json.loads(done.out) == {"discarded": 2, "reason": "stay in Glacier"}
    (line,) = brigade("errors", "list", "--json", **environ).out.splitlines()
    assert json.loads(line)["key"] == "k2"


def test_errors_are_listed_and_sent_again(settings, environ, brigade):
    # Given two tasks that a worker has rejected
    async def reject():
        queue = await open_queue(settings)
        await queue.send([b"task 0", b"task 1"])
        for number, delivery in enumerate(await queue.receive(2, 5)):
            now = datetime.now(UTC)
            report = Report(
                category=["forbidden", "archived"][number],
                message="no permission\nforged line",
                attempts=2,
                worker="w",
                queued=now,
                failed=now,
                route="photos",
                key=f"k{number}",
                payload=delivery.payload,
            )
            await delivery.reject(encode(report))
        await queue.close()

    asyncio.run(reject())

    # When they are listed, twice
    first, second = brigade("errors", "list", "--json", **environ), brigade("errors", "list", **environ)

    # Then both are there both times, one line each
    listed = [json.loads(line) for line in first.out.splitlines()]
    assert {(entry["key"], entry["category"]) for entry in listed} == {("k0", "forbidden"), ("k1", "archived")}
    assert len(second.out.splitlines()) == 2
    assert second.err == "2 shown\n"

    # And where fewer are asked for, that there may be more is said
    assert brigade("errors", "list", "--limit", "1", **environ).err == "1 shown, there may be more: --limit\n"

    # When one is sent again
    assert "1 would be sent" in brigade("errors", "redrive", "--category", "archived", "--dry-run", **environ).out
    answer = brigade("errors", "redrive", "--category", "archived", **environ)

    # Then its original message is on the queue, and the other one is still listed
    async def received():
        queue = await open_queue(settings)
        deliveries = await queue.receive(10, 5)
        errors = await open_errors(settings)
        left = await errors.backlog()
        for delivery in deliveries:
            await delivery.ack()
        await queue.close()
        await errors.close()
        return [delivery.payload for delivery in deliveries], left

    assert answer.code == 0
    assert answer.out.splitlines()[0] == "1 sent again"
    assert asyncio.run(received()) == ([b"task 1"], 1)
    assert json.loads(brigade("errors", "redrive", "--json", **environ).out)["sent"] == 1
    assert brigade("errors", "list", **environ).err == "nothing here\n"


@pytest.mark.parametrize(
    ("command", "away", "says"),
    [
        (("jobs", "list"), {"REDIS_ADDRESS": "127.0.0.1:1"}, "Redis at 127.0.0.1:1 does not answer"),
        (("errors", "list"), {"REDIS_ADDRESS": "127.0.0.1:1"}, "Redis at 127.0.0.1:1 does not answer"),
        (
            ("errors", "redrive"),
            {"BRIGADE_QUEUE": "pubsub", "GCP_PROJECT_ID": "p", "GCP_PUBSUB_HOST": "127.0.0.1:1"},
            "the Pub/Sub emulator at 127.0.0.1:1 does not answer",
        ),
    ],
)
def test_a_service_that_is_away_is_an_error_and_no_traceback(environ, brigade, monkeypatch, command, away, says):
    monkeypatch.setattr("brigade.services.PATIENCE", 0.5)
    answer = brigade(*command, **{**environ, **away})
    assert answer.code == 1
    assert says in answer.err


def test_what_is_sent_again_is_taken_off_the_job_that_counted_it(settings, environ, brigade):
    # Given a job that ended with two failures, one of which no task was ever made of
    made = datetime.now(UTC)
    task = Task("photos", "k", Version("etag k"), 3, None, "gs://copy/k", "photos-20261128T200000-abcdef", 0, made)

    async def fail():
        store = await Store.open(settings.redis)
        jobs, flight, now = Jobs(store), Flight(store), time.time()
        job = await jobs.open("photos", "sweep", now)
        await publish(store, "photos", job.id, [("k", "etag k")], at=now)
        await flight.refuse(Scan("photos", job.id, 0), [("", "!invalid_name")])
        await Cache(store).settle([Settlement("photos", "k", "etag k", "w", Settled.FAILED)])
        await jobs.scanned(job, 0)
        await store.close()
        errors = await open_errors(settings)
        for key, payload in (("k", encode_task(task)), ("", b"")):
            report = Report(
                category="forbidden",
                message="no",
                attempts=1,
                worker="w",
                queued=made,
                failed=made,
                route="photos",
                key=key,
                payload=payload,
            )
            await errors.send([encode(report)])
        await errors.close()

    asyncio.run(fail())
    (before,) = map(json.loads, brigade("jobs", "list", "--json", **environ).out.splitlines())
    assert (before["state"], before["listed"], before["failed"]) == ("done_with_failures", 2, 2)

    # When everything is sent again
    answer = json.loads(brigade("errors", "redrive", "--json", **environ).out)

    # Then what has a task is in flight, in a job of its own, and the other stays where it is
    assert (answer["sent"], answer["no_task"]) == (1, 1)
    newest, first = sorted(
        map(json.loads, brigade("jobs", "list", "--json", **environ).out.splitlines()), key=lambda job: job["kind"]
    )
    assert (newest["kind"], newest["state"], newest["listed"], newest["in_flight"]) == ("redrive", "moving", 1, 1)
    assert (first["id"], first["failed"], first["left_out"]) == (before["id"], 1, {"redriven": 1})
    assert newest["unbalanced"] == first["unbalanced"] == 0
