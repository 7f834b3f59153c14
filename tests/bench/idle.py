"""A worker with nothing to do: what it costs, and how soon it is at work when a task comes."""

from __future__ import annotations

import http.client
import json
import random
import time
import urllib.parse
from typing import TYPE_CHECKING

from tests.bench import process
from tests.bench.line import ROOT, Line, conductor, environment, working
from tests.bench.moving import KIB
from tests.bench.outcome import Goal, Outcome
from tests.bench.runs import RunFailed, Spread
from tests.bench.stage import DESTINATION, SOURCE, Ends, Stage

if TYPE_CHECKING:
    from tests.bench.options import Options

TASKS = 30
SETTLE_SECONDS, WATCH_SECONDS = 3.0, 15.0
LONGEST = 15.0
SOON_MS = {"redis": 100.0, "pubsub": 300.0}
PREFIX = "idle/"


def idle(queue: str, _stage: Stage, _options: Options) -> Outcome:
    """On a stage of its own: the queue is another one."""
    called = {"redis": "Redis Streams", "pubsub": "the Pub/Sub emulator"}[queue]
    line = Line()
    with Stage(queue=queue) as stage:
        store = stage.store()
        store.fill(SOURCE, TASKS, KIB, prefix=PREFIX)
        store.empty(DESTINATION)
        store.begin()
        ends = Ends(store, f"s3://{SOURCE}", f"s3://{DESTINATION}", TASKS, TASKS * KIB)
        folder = stage.folder()
        environ = environment(line, stage, ends, folder)
        with conductor(ROOT, environ, folder) as hands, working(line, environ, folder) as workers:
            hands.ask(do="open")
            time.sleep(SETTLE_SECONDS)
            shares = _watched(workers.pids)
            latencies = []
            for number in range(TASKS):
                time.sleep(random.uniform(0.2, 1.2))
                key = f"{PREFIX}{number:08d}"
                seen = _Seen(ends)
                put = hands.ask(do="send", key=key, token=_etag(ends, key), size=KIB)["at"]
                latencies.append((seen.when() - put) * 1000)
            time.sleep(1.0)
        store.verify(ends)
    spread = Spread.of(latencies)
    ordered = sorted(latencies)
    note = (
        f"task put to first GET, ms, {TASKS} tasks one by one: {spread.least:.1f} - median {spread.median:.1f} - "
        f"95 % {ordered[int(TASKS * 0.95)]:.1f} - {spread.most:.1f}; CPU of each process while idle: "
        + ", ".join(f"{share:.2f} %" for share in shares)
    )
    goals = [
        Goal("% of a core for an idle worker process, the busiest", max(shares), 1, more_is_better=False),
        Goal("ms from a task put on an idle queue to its first GET, median", spread.median, SOON_MS[queue], False),
        Goal("the same, the slowest", spread.most, SOON_MS[queue], False),
    ]
    return Outcome(f"idle-{queue}", f"idle workers on {called}", [], goals, [note], raw={"latency": [{"ms": latencies}]})


def _watched(pids: list[int]) -> list[float]:
    before = [process.cpu_seconds(pid) for pid in pids]
    time.sleep(WATCH_SECONDS)
    return [(process.cpu_seconds(pid) - start) / WATCH_SECONDS * 100 for pid, start in zip(pids, before, strict=True)]


class _Seen:
    """Asks the server, a thousand times a second, whether it has had a GET since this was made."""

    def __init__(self, ends: Ends) -> None:
        self._ends = ends
        self._before = self._gets()

    def when(self) -> float:
        deadline = time.monotonic() + LONGEST
        while time.monotonic() < deadline:
            if self._gets() > self._before:
                return time.monotonic()
            time.sleep(0.001)
        raise RunFailed(f"no worker asked for the object within {LONGEST:.0f} s")

    def _gets(self) -> int:
        return int(self._ends.store.server.stats().gets)


def _etag(ends: Ends, key: str) -> str:
    address = urllib.parse.urlsplit(ends.endpoint)
    connection = http.client.HTTPConnection(address.hostname or "", address.port, timeout=10)
    try:
        connection.request("HEAD", f"/{ends.buckets[0]}/{urllib.parse.quote(key)}")
        answer = connection.getresponse()
        answer.read()
        if answer.status != 200:
            raise RunFailed(f"HEAD of {key} answers {answer.status}: {json.dumps(dict(answer.headers))}")
        return (answer.headers["ETag"] or "").strip('"')
    finally:
        connection.close()
