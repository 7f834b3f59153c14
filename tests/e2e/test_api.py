"""The HTTP API as its users meet it: a real server on a real port, over a real Redis."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import time
from typing import TYPE_CHECKING
from urllib.parse import quote

import google_crc32c
import pytest
from pydantic import SecretStr

from common.config import ApiSettings, Location, LogSettings, PublisherSettings, QueueSettings, RedisSettings, Route, Settings
from common.errors import QueueUnavailable
from common.objects import Headers
from common.state.cache import Cache
from common.state.jobs import Jobs
from common.state.reconciliations import Reconciliations
from common.state.store import Store
from common.storage import memory
from common.storage.base import Absent, Body
from common.telemetry import configure
from publisher import runner
from tests.unit.publisher.served import PASSWORD, USER, Api, name, served

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

NASTY = [
    "a:b:c",
    "a b",
    "a+b",
    "a%20b",
    "100%",
    "a&b=c",
    "a#b",
    "a?b",
    "ключ/ö",
    "*",
    "[a-z]*",
    "new\nline",
    '"quoted"',
    "\\",
    " ",
    "x//../y",
]


@pytest.fixture
async def api(redis_address: str, fresh: str) -> AsyncIterator[Api]:
    async with served(RedisSettings(address=redis_address, prefix=fresh), "one") as made:
        yield made


@pytest.fixture
async def two_routes(redis_address: str, fresh: str) -> AsyncIterator[Api]:
    async with served(RedisSettings(address=redis_address, prefix=fresh), "one", "two") as made:
        yield made


PUBLISHED = {"key": "k", "etag": "e1", "at": "2027-01-15T08:00:00+00:00"}
CONSUMED = {**PUBLISHED, "size": 3, "crc32c": 7, "destination_version": "g1", "worker": "worker-1"}


async def test_the_table_of_the_cache(api: Api) -> None:
    # Given an object that was published and consumed
    await api.fill("k")
    # Then every line of the table answers as written
    both = {"published:k": PUBLISHED, "consumed:k": CONSUMED}
    answer = await api.ask("GET", "/cache")
    assert (answer.status, answer.json, answer.headers["Content-Type"]) == (200, both, "application/json")
    assert (await api.ask("GET", "/cache/type?value=published")).json == {"published:k": PUBLISHED}
    assert (await api.ask("GET", "/cache/type?value=consumed")).json == {"consumed:k": CONSUMED}
    assert (await api.ask("GET", "/cache/name?value=published:k")).json == {"published:k": PUBLISHED}
    assert (await api.ask("GET", "/cache/name?value=consumed:k")).json == {"consumed:k": CONSUMED}
    # And what is deleted is gone, and nothing else
    deleted = await api.ask("DELETE", "/cache/name?value=published:k")
    assert (deleted.status, deleted.json) == (200, {"deleted": 1})
    assert (await api.ask("GET", "/cache")).json == {"consumed:k": CONSUMED}
    assert (await api.ask("DELETE", "/cache/name?value=published:k")).status == 404
    await api.fill("a", "b")
    assert (await api.ask("DELETE", "/cache/type?value=consumed")).json == {"deleted": 3}
    assert set((await api.ask("GET", "/cache")).json) == {"published:a", "published:b"}
    assert (await api.ask("DELETE", "/cache")).json == {"deleted": 2}
    assert (await api.ask("GET", "/cache")).json == {}
    assert (await api.ask("DELETE", "/cache")).json == {"deleted": 0}


@pytest.mark.parametrize("key", [*NASTY, "\udcff", "k" * 1024], ids=ascii)
async def test_a_key_may_hold_anything_and_means_itself(api: Api, key: str) -> None:
    # Given a nasty key among others
    await api.fill(key, "other", "ab", "axb")
    path = f"/cache/name?value={quote(f'published:{key}', safe='', errors='surrogateescape')}"
    # Then it can be looked at, and is listed under its name
    answer = await api.ask("GET", path)
    assert (answer.status, answer.json) == (200, {f"published:{key}": {**PUBLISHED, "key": key}})
    assert (await api.ask("GET", "/cache")).json[f"published:{key}"]["key"] == key
    # And deleted, alone: nothing is a pattern
    assert (await api.ask("DELETE", path)).json == {"deleted": 1}
    assert (await api.ask("GET", path)).status == 404
    assert {"published:other", "published:ab", "published:axb"} <= set((await api.ask("GET", "/cache")).json)


async def test_a_plus_is_a_space_and_an_escaped_plus_is_a_plus(api: Api) -> None:
    # Given two keys that differ in what a plus means
    await api.fill("a b", "a+b")
    # Then each is found as it is written in a form
    assert set((await api.ask("GET", "/cache/name?value=published:a+b")).json) == {"published:a b"}
    assert set((await api.ask("GET", "/cache/name?value=published:a%2Bb")).json) == {"published:a+b"}


async def test_the_route_is_needed_only_when_there_are_several(two_routes: Api) -> None:
    # Given two routes with records of their own
    await two_routes.fill("x", route="one", consumed=False)
    await two_routes.fill("y", route="two", consumed=False)
    # Then a question without a route is not understood, and names them
    for method, path in [("GET", "/cache"), ("DELETE", "/cache"), ("DELETE", "/cache/type?value=published"), ("GET", name("x"))]:
        answer = await two_routes.ask(method, path)
        assert answer.status == 400
        assert "one, two" in answer.json["error"]
    # And each route has its own records
    assert set((await two_routes.ask("GET", "/cache?route=two")).json) == {"published:y"}
    assert (await two_routes.ask("GET", name("x") + "&route=two")).status == 404
    assert (await two_routes.ask("DELETE", "/cache?route=two")).json == {"deleted": 1}
    assert set((await two_routes.ask("GET", "/cache?route=one")).json) == {"published:x"}
    # And one that does not exist is not found
    answer = await two_routes.ask("GET", "/cache?route=three")
    assert answer.status == 404
    assert "one, two" in answer.json["error"]


async def test_a_listing_can_be_had_in_parts(api: Api) -> None:
    # Given 25 objects with two records each
    await api.fill(*(f"k{number}" for number in range(25)))
    seen: list[str] = []
    path = "/cache?limit=7"
    sizes = []
    # When they are fetched seven at a time, along the links
    while path:
        answer = await api.ask("GET", path)
        seen += answer.json
        sizes.append(len(answer.json))
        cursor, link = answer.headers["X-Next-Cursor"], answer.headers["Link"]
        assert (cursor is None) == (link is None)
        path = link and link.partition(">")[0].removeprefix("<")
        assert link is None or link.endswith('>; rel="next"')
        if cursor:
            assert (await api.ask("GET", f"/cache?limit=7&cursor={quote(cursor)}")).status == 200
    # Then every record came once
    assert len(seen) == len(set(seen)) == 50
    assert set(sizes[:-1]) == {7}
    # And a listing without a limit names no cursor
    assert (await api.ask("GET", "/cache")).headers["X-Next-Cursor"] is None
    # And one from a cursor on gives the rest
    first = await api.ask("GET", "/cache/type?value=consumed&limit=10")
    rest = await api.ask("GET", f"/cache/type?value=consumed&cursor={quote(first.headers['X-Next-Cursor'])}")
    assert len(first.json) == 10
    assert len({**first.json, **rest.json}) == 25


async def test_jobs_can_be_asked_for_and_looked_at(two_routes: Api) -> None:
    # When a scan of one route is asked for
    answer = await two_routes.ask("POST", "/jobs", body=b'{"route": "two"}')
    # Then there is a job
    assert answer.status == 202
    (job,) = answer.json["jobs"]
    assert (job["route"], job["kind"], job["state"], job["published"]) == ("two", "demand", "scanning", 0)
    # When all are asked for, by saying nothing or by saying so
    for body in (None, b"", b"{}", b'{"route": null}'):
        all_of_them = await two_routes.ask("POST", "/jobs", body=body)
        assert [each["route"] for each in all_of_them.json["jobs"]] == ["one", "two"]
    # Then each can be looked at
    looked = await two_routes.ask("GET", f"/jobs/{job['id']}")
    assert (looked.status, looked.json) == (200, job)
    recent = await two_routes.ask("GET", "/jobs")
    assert len(recent.json["jobs"]) == 2
    assert len((await two_routes.ask("GET", "/jobs?limit=2")).json["jobs"]) == 2
    # And what does not exist is not found
    for path in ("/jobs/nothing", "/jobs/one-x-y", "/jobs/%7Bone%7D-*-*", "/jobs/" + "j" * 3000):
        assert (await two_routes.ask("GET", path)).status == 404
    # And the destination is listed as well where that is wanted
    notes = Reconciliations(two_routes.store)
    assert not await notes.due("two", time.time(), 0)
    answer = await two_routes.ask("POST", "/jobs", body=b'{"route": "two", "reconcile": true}')
    assert (answer.status, answer.json["jobs"][0]["extra"], answer.json["jobs"][0]["distrusted"]) == (202, None, 0)
    assert await notes.due("two", time.time(), 0)
    missing = await two_routes.ask("POST", "/jobs", body=b'{"route": "three"}')
    assert missing.status == 404
    assert "one, two" in missing.json["error"]


async def test_health_needs_no_credentials(api: Api) -> None:
    # Given nothing wrong
    assert (await api.ask("GET", "/healthz", auth=None)).json == {"alive": True}
    assert (await api.ask("GET", "/readyz", auth=None)).json == {"ready": True, "missing": []}
    # When the queue is away
    api.trouble["queue"] = QueueUnavailable("secret details")
    # Then the process is alive but not ready, and says no more than what is missing
    assert (await api.ask("GET", "/healthz", auth=None)).status == 200
    assert (await api.ready({"ready": False, "missing": ["queue"]})).status == 503


async def test_a_scan_asked_for_over_http_takes_place(redis_address: str, fresh: str, capsys: pytest.CaptureFixture[str]) -> None:
    # Given a running publisher, whose source is empty so far
    configure(LogSettings(format="json"))
    store = memory.create(fresh)
    settings = Settings(
        routes=(Route(name="one", source=Location.parse(f"memory://{fresh}"), destination=Location.parse("memory://copy")),),
        queue=QueueSettings(kind="redis", topic=fresh),
        redis=RedisSettings(address=redis_address, prefix=fresh),
        publisher=PublisherSettings(),
        api=ApiSettings(port=0, username=USER, password=SecretStr(PASSWORD)),
    )
    running = asyncio.create_task(runner.run(settings))
    port = None
    while port is None:
        await asyncio.sleep(0.02)
        lines = [json.loads(line) for line in capsys.readouterr().err.splitlines() if line.startswith("{")]
        port = next((line["port"] for line in lines if line["action"] == "api_listening"), None)
    own = await Store.open(settings.redis)
    api = Api(port, own, Cache(own), Jobs(own), {})
    while not any(job["state"] == "done" for job in (await api.ask("GET", "/jobs")).json["jobs"]):  # noqa: ASYNC110 - over HTTP
        await asyncio.sleep(0.05)
    # When an object arrives and a scan is asked for
    store.write(b"new", Body(b"x", google_crc32c.value(b"x"), Headers()), Absent())
    (asked,) = (await api.ask("POST", "/jobs", body=b"{}")).json["jobs"]
    # Then it is published long before the next sweep
    end = time.monotonic() + 15
    while (await api.ask("GET", f"/jobs/{asked['id']}")).json["state"] == "scanning":
        assert time.monotonic() < end
        await asyncio.sleep(0.05)
    found = (await api.ask("GET", f"/jobs/{asked['id']}")).json
    assert (found["kind"], found["published"], found["in_flight"]) == ("demand", 1, 1)
    assert set((await api.ask("GET", "/cache")).json) == {"published:new"}
    os.kill(os.getpid(), signal.SIGTERM)
    assert await asyncio.wait_for(running, 15) == 0
    await own.close()
    memory.drop(fresh)
