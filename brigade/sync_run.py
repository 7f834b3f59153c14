"""One sync from start to end: state, workers, publisher, progress, and what is left to say.

Whatever ends it, everything is stopped in the same order: publisher, workers, queue, Redis. What was not finished stays in the
state directory, and the next run of the same pair goes on from there.
"""

from __future__ import annotations

import asyncio
import json
import signal
import time
from collections import Counter
from contextlib import AsyncExitStack
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from brigade import preflight, private
from brigade.embedded import Pair, claim_directory, embedded_redis, locked
from brigade.error_topic import Selection, forget, look
from brigade.errors import described, line
from brigade.invocation import CANNOT_START, FAILED, INTERRUPTED
from brigade.kill import on_step
from brigade.notes import Notes, OwnLog
from brigade.progress import Snapshot, moment, size
from brigade.worker_child import WorkerChild
from common.cancelling import cancel
from common.errors import BrigadeError, ObjectError, SettingsError
from common.queues.registry import open_errors, open_queue
from common.settings import load
from common.state.cache import Cache, Kind, Settled
from common.state.flight import Flight
from common.state.holds import Holds
from common.state.jobs import ENDED, Jobs
from common.state.store import Store
from common.telemetry import configure
from publisher import runner

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from brigade.progress import Display
    from common.config import Settings
    from common.queues.base import Queue
    from common.state.jobs import Job

EVERY = 0.5
PASSES = 3
"""What was listed and not found when it was read is listed once more, to see whether it is gone. And a scan that goes on in the
middle has to look at the beginning once more."""
SHOWN_FAILURES = 20
LISTED_FAILURES = 10_000
LEASE_SECONDS = "15"
"""How long the run after a killed one waits for what the dead workers held. Short, because all is on one machine."""
PATIENCE_SECONDS = "120"
"""How long a state directory that cannot be written, being full, is waited for."""
COUNTERS = (
    "listed", "published", "moved", "proven", "in_flight", "failed", "bytes", "metadata_lost", "unverified",
    "overwritten", "unbalanced", "distrusted",
)  # fmt: skip

_NOT_OURS = (
    *("BRIGADE_CONFIG", "AWS_S3_BUCKET", "GCP_BUCKET_NAME", "BRIGADE_QUEUE", "BRIGADE_REDIS_PREFIX"),
    *("GCP_TOPIC_ID", "GCP_SUBSCRIPTION_ID", "PUBSUB_ERROR_TOP_ID", "PUBSUB_ERROR_SUBSCRIPTION_ID"),
    *("REDIS_ADDRESS", "REDIS_USERNAME", "REDIS_PASSWORD", "REDIS_PASSWORD_FILE", "REDIS_CA_FILE"),
)
"""Settings of a fleet. A sync has its own queue and Redis, and its state must not depend on what else is set on the machine."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be synced. `config` is the file with the one route, in the state directory."""

    directory: Path
    pair: Pair
    environ: Mapping[str, str]
    trust_state: bool = False
    """Not to list the destination."""

    @property
    def config(self) -> Path:
        return self.directory / "route.toml"

    @property
    def log(self) -> Path:
        return self.directory / "sync.log"

    @property
    def failures(self) -> Path:
        return self.directory / "failures.jsonl"

    def environment(self, redis_address: str) -> dict[str, str]:
        """The environment of the workers: the user's own, with everything about queue and state replaced."""
        kept = {name: value for name, value in self.environ.items() if name not in _NOT_OURS}
        ours = {"BRIGADE_CONFIG": str(self.config), "BRIGADE_QUEUE": "redis", "REDIS_ADDRESS": redis_address}
        return {
            "BRIGADE_LEASE_SECONDS": LEASE_SECONDS,
            "BRIGADE_REDIS_PATIENCE": PATIENCE_SECONDS,
            **kept,
            **ours,
            "BRIGADE_LOG_FORMAT": "json",
        }

    def settings(self, redis_address: str) -> Settings:
        return load(self.environment(redis_address), self.config, needs={"routes", "queue", "redis"})


class Stopped(Exception):  # noqa: N818 - named after the situation
    """The user asked to stop."""


class Ended(BrigadeError):  # noqa: N818 - named after the situation
    """A part of the sync ended that should not have."""


async def run(plan: Plan, route: Mapping[str, Any], display: Display) -> int:
    """The exit code: 0 when everything that is listed is proven to be at the destination, or is left out for a reason. Raises
    SettingsError when nothing could be started.
    """
    with locked(plan.directory) as lock, private.log_file(plan.log) as log:
        with private.usable(plan.directory):
            claim_directory(plan.directory, plan.pair)
            plan.config.touch(mode=0o600)
            plan.config.write_text(route_as_toml(route), encoding="utf-8")
        configure(plan.settings("unix:///not/started/yet").log, OwnLog(log, Notes(display.note, "publisher")))
        await preflight.check(plan.settings("unix:///not/started/yet"))
        async with embedded_redis(plan.directory, lock) as redis, AsyncExitStack() as stack:
            settings = plan.settings(redis.address)
            store = await Store.open(settings.redis)
            stack.push_async_callback(store.close)
            await store.check()
            errors, tasks = await open_errors(settings), await open_queue(settings)
            stack.push_async_callback(errors.close)
            stack.push_async_callback(tasks.close)
            # What held an earlier run has been seen to, or is met again at once.
            await Holds(store).end(settings.routes[0].name, "", now=time.time(), well=True)
            await _try_failed_again(errors, Cache(store), Flight(store), display)
            notes = Notes(display.note, "worker")
            environ = {**plan.environment(redis.address), "BRIGADE_REDIS_PATIENCE": "0"}  # when to give up is decided here
            workers = await WorkerChild.start(environ, settings.worker.processes, log, notes)
            stack.push_async_callback(workers.stop, settings.worker.grace_seconds + 15)
            sync = _Sync(settings, Jobs(store), tasks, display, plan)
            try:
                await _watched(sync, workers, redis.ended())
            except Stopped:
                display.note("stopping; what was not finished goes on when the same command is run again")
                return INTERRUPTED
            return await _conclude(sync, errors, display, plan)


async def _watched(sync: _Sync, workers: WorkerChild, redis_ended: Any) -> None:
    """Run the sync until it is through, the user stops it, or a part of it ends. A second signal kills the workers."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()

    def asked_to_stop() -> None:
        if stop.is_set():
            workers.kill()
        stop.set()

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, asked_to_stop)
    work = asyncio.create_task(sync.run())
    stopped, workers_ended, server_ended = map(asyncio.ensure_future, (stop.wait(), workers.ended(), redis_ended))
    try:
        await asyncio.wait([work, stopped, workers_ended, server_ended], return_when=asyncio.FIRST_COMPLETED)
        if work.done():
            return work.result()
        if stopped.done():
            raise Stopped
        if server_ended.done():
            workers.kill()  # nothing that they finish now could be recorded
            raise Ended("the embedded Redis ended in mid-run; nothing is lost: run the same command again to go on")
        if workers_ended.result() == CANNOT_START:
            raise SettingsError(["the workers cannot start with these settings, for the reason above"])
        raise Ended(f"the workers ended in mid-run (exit code {workers_ended.result()}); run the same command again to go on")
    finally:
        await cancel(work, stopped, workers_ended, server_ended)


class _Sync:
    """Publishes, watches, and counts. The state in Redis says what has ended; this holds nothing that matters."""

    def __init__(self, settings: Settings, jobs: Jobs, tasks: Queue, display: Display, plan: Plan) -> None:
        self._settings = settings
        self._route = settings.routes[0].name
        self._jobs = jobs
        self._tasks = tasks
        self._display = display
        self._on_step = on_step(plan.environ)
        self._trust_state = plan.trust_state
        self._began = time.monotonic()
        self._job: Job | None = None
        self.last = Snapshot(seconds=0.0, scanning=True)
        self._waits: str | None = None
        """What was last said that the route waits for: "" for a limit of the day, else what holds it."""
        self.missing = 0
        """Of what is in flight at the end: objects that are listed and not found when they are read."""
        self.broken: str | None = None
        """Why the source could not be listed to the end."""
        self.unlisted: str | None = None
        """Why the destination could not."""

    @property
    def ended(self) -> bool:
        """Whether the source was listed to the end and nothing of it is in flight."""
        return self.broken is None and self._job is not None and self._job.state in ENDED

    async def run(self) -> None:
        """Until everything that is listed has been moved or given up. Passes are scans of one job: each object counts once."""
        unfinished = await self._jobs.resumable(self._route)
        again = unfinished is not None and unfinished.checkpoint.after is not None
        resumed = False
        for number in range(PASSES):
            # After the first pass the queue is empty and the workers wait: what is in flight all the same has no task.
            # Both sides are compared from end to end once: in the first pass, and after one that went on in the middle once more.
            scanning = runner.run_once(
                self._settings,
                kind="sync",
                on_step=self._on_step,
                again=again,
                only_here=number > 0,
                reconcile=not self._trust_state and (number == 0 or resumed),
            )
            resumed = again
            scan = asyncio.create_task(scanning)
            try:
                await self._until_moved(scan)
            finally:
                await cancel(scan)
            again = False
            if self.broken is not None or self.ended:
                return

    async def _until_moved(self, scan: asyncio.Task[Job]) -> None:
        while True:
            await asyncio.wait([scan], timeout=EVERY if not scan.done() else 0)
            waiting = await self._tasks.backlog() if scan.done() else None
            # Looked at after the queue: what is not on it any more has been settled before.
            await self._look(scan)
            self._display.show(self.last)
            if scan.done():
                self._look_at(scan)
                if waiting == 0 or not self.last.in_flight:
                    return
                await asyncio.sleep(EVERY)

    def _look_at(self, scan: asyncio.Task[Job]) -> None:
        """A source that cannot be listed is for the user; what was listed before is moved all the same."""
        error = scan.exception()
        if isinstance(error, ObjectError):
            self.broken = str(error).removeprefix(f"route {self._route}: ")
        elif error is not None:
            raise error

    async def _look(self, scan: asyncio.Task[Job]) -> None:
        found = await self._jobs.current(self._route)
        if found is None and scan.done():  # it has ended; what has scanned to no end is the last that was begun
            ours = scan.result() if not scan.cancelled() and scan.exception() is None else None
            found = ours or next(iter(await self._jobs.recent(1, self._route)), None)
        job = await self._jobs.get(found.id) if found is not None else None
        self._job = job or self._job
        self.missing = job.missing if job is not None else 0
        self.unlisted = job.unlisted if job is not None and not self._trust_state else None
        parked = job.parked if job is not None else None
        until = moment(parked.until) if parked else None
        if parked and parked.held != self._waits:
            self._display.note(
                f"held: {parked.reason}; tried again at {until}"
                if parked.held
                else f"a limit of the day is used up: waits until {until}, then goes on by itself ({parked.reason})"
            )
        self._waits = parked.held if parked else self._waits or None  # between two trials a hold is not to be seen
        if parked and parked.held and job is not None and not job.moved:
            raise SettingsError([f"nothing could be moved: {parked.reason}"])
        self.last = Snapshot(
            seconds=time.monotonic() - self._began,
            scanning=not scan.done(),
            parked_until=until,
            left_out=dict(job.left_out) if job is not None else {},
            extra=job.extra if job is not None else None,
            **{name: int(getattr(job, name)) if job is not None else 0 for name in COUNTERS},
        )


async def _try_failed_again(errors: Queue, cache: Cache, flight: Flight, display: Display) -> None:
    """What an earlier run gave up gets another chance, because that is why the user runs the command again.

    Without its record the scan publishes it again, and counts it again.
    """

    async def take_back(route: str, key: str) -> None:
        await cache.delete_one(route, Kind.PUBLISHED, key)
        await flight.forgive(route, [key])

    total = 0
    while forgotten := await forget(errors, take_back):
        total += forgotten
    if total:
        display.note(f"{total:,} that failed in an earlier run are tried again")


async def _conclude(sync: _Sync, errors: Queue, display: Display, plan: Plan) -> int:
    """List what failed, sum up, and give the exit code."""
    display.show(sync.last)
    failures = await look(errors, Selection(), LISTED_FAILURES)
    total = max(len(failures), await errors.backlog() or 0)
    with private.text_file(plan.failures) as file:
        for number, entry in enumerate(failures):
            file.write(json.dumps(described(entry)) + "\n")
            if number < SHOWN_FAILURES:
                display.failure(described(entry), line(entry))
    if total > SHOWN_FAILURES:
        display.note(f"and {total - SHOWN_FAILURES:,} more failures, listed in {plan.failures}")
    if sync.broken:
        display.note(sync.broken)
    for note in _notes(sync):
        display.note(note)
    categories = Counter(entry.report.category if entry.report else "not_a_report" for entry in failures)
    summary = {
        **asdict(sync.last),
        "seconds": round(sync.last.seconds, 1),
        "categories": categories,
        "message": sync.broken or sync.unlisted,
    }
    del summary["scanning"], summary["parked_until"]
    display.summary(summary, _summary_lines(sync.last, categories))
    if sync.broken and not sync.last.listed:
        return CANNOT_START
    last = sync.last
    unproven = total or last.failed or last.in_flight or last.unbalanced or last.left_out.get(Settled.CHANGING, 0)
    return FAILED if unproven or sync.unlisted or not sync.ended else 0


def _notes(sync: _Sync) -> list[str]:
    notes = []
    if sync.unlisted:
        notes.append(
            f"{sync.unlisted.removeprefix('route sync: ')} What was copied before is not known to be there still; --trust-state "
            "leaves this comparison out"
        )
    if sync.missing:
        notes.append(f"{sync.missing:,} were listed, and not found each time that they were read: run the same command again")
    if lost := sync.last.in_flight - sync.missing:
        notes.append(f"{lost:,} are not known to have arrived: run the same command again")
    if changing := sync.last.left_out.get(Settled.CHANGING, 0):
        notes.append(f"{changing:,} kept changing while they were copied: run the same command again")
    if sync.last.unbalanced:
        notes.append(f"the counters do not add up (by {sync.last.unbalanced:,}): a fault of Bucket Brigade, please report it")
    return notes


def _summary_lines(last: Snapshot, categories: Counter[str]) -> list[str]:
    speed = f"{last.moved / last.seconds:,.0f} objects/s, {size(last.bytes / last.seconds)}/s" if last.seconds else ""
    parts = [
        f"{last.listed:,} objects listed",
        f"{last.moved:,} moved ({size(last.bytes)})",
        f"{last.proven:,} proven",
        *([f"{last.in_flight:,} in flight"] if last.in_flight else []),
        f"{last.failed:,} failed",
    ]
    lines = [", ".join(parts), f"{last.seconds:.1f} s, {speed}"]
    lines += [f"  {count:,} left out: {reason}" for reason, count in last.left_out.items()]
    if last.overwritten:
        lines.append(
            f"  {last.overwritten:,} written over what was there and no copy of ours (--update or --ignore-existing keeps it)"
        )
    if last.distrusted:
        lines.append(f"  {last.distrusted:,} were not there any more as they had been copied, and were looked at again")
    if last.extra:
        lines.append(f"  {last.extra:,} more at the destination that are not at the source: left as they are")
    if last.metadata_lost:
        lines.append(f"  {last.metadata_lost:,} arrived without all of their metadata (docs/metadata.md)")
    if last.unverified:
        lines.append(f"  {last.unverified:,} moved, though one end states no checksum to compare them with (docs/design.md)")
    return lines + [f"  {count:,} {category}" for category, count in categories.most_common()]


def route_as_toml(route: Mapping[str, Any]) -> str:
    """The route as the settings file has it. A JSON string is a TOML string, but for DEL."""
    lines = ["[[route]]"]
    for name, value in sorted(route.items(), key=lambda item: isinstance(item[1], dict)):  # what follows a table belongs to it
        if isinstance(value, dict):
            lines += ["", f"[route.{name}]", *(_assignment(inner, item) for inner, item in value.items())]
        else:
            lines.append(_assignment(name, value))
    return "\n".join(lines) + "\n"


def _assignment(name: str, value: Any) -> str:
    return f"{name} = {json.dumps(value, ensure_ascii=False)}".replace("\x7f", "\\u007f")
