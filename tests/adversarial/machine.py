"""A state machine that edits, kills, and syncs, against two ends that answer wrongly at random. Its oracle is a dict: which bytes
each key has ever had.
"""

from __future__ import annotations

import asyncio
import random
import tempfile
import time
import uuid
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from brigade import sync_run
from common.config import Aws, QueueSettings, RedisSettings, Route, Settings, WorkerSettings
from tests.adversarial.deviations import Adversary, Deviation
from tests.adversarial.pipeline import KILLED, KilledError, Outcome, Pipeline, Steps
from tests.conftest import ACCESS_KEY, SECRET_KEY

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.adversarial.ends import End

KEYS = [f"{folder}/{name}" for folder in ("a", "b", "ä") for name in ("one", "two three", "drei+vier", "5%")]
RATES = st.sampled_from([0.2, 0.05, 0.5, 0.0])
KILLS = st.sampled_from([0.02, 0.0, 0.05])
MIB = 1024 * 1024
PATIENCE = 6
"""Runs after which everything has to be there, once the services are truthful again."""
SECOND = 1.1
"""Between those runs. What was reserved in this second and not sent is known as lost in the next; no process starts in less."""
TOLD: Counter[Deviation] = Counter()
RUNS: Counter[str] = Counter()


class Machine(RuleBasedStateMachine):
    """Subclasses say which ends."""

    make_source: Callable[[Adversary], End]
    make_destination: Callable[[Adversary], End]
    redis_address: str

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.runner.get_loop().set_exception_handler(_but_for_kills)
        self.directory = tempfile.TemporaryDirectory(prefix="bucketbrigade-")
        self.history: dict[str, list[bytes | None]] = {}
        self.edits: list[tuple[str, bytes | None]] = []
        """To be made while the next run is under way."""
        self.outcome: Outcome | None = None
        self.foreign: set[bytes] = set()
        """What others wrote to the destination."""

    @initialize(seed=st.integers(0, 2**32 - 1), large=st.booleans())
    def begin(self, seed: int, *, large: bool) -> None:
        self.dice = random.Random(seed)
        self.large = large
        cls = type(self)
        self.source = cls.make_source(Adversary(seed + 1, honest=True))
        self.destination = cls.make_destination(Adversary(seed + 2, honest=True))
        for end in (self.source, self.destination):
            self.runner.run(end.server.__aenter__())
        prefix = f"adv-{uuid.uuid4().hex[:12]}"
        queue = QueueSettings.model_construct(
            kind="redis",
            project=None,
            topic=prefix,
            subscription=f"{prefix}-sub",
            error_topic=f"{prefix}-errors",
            error_subscription=f"{prefix}-errors-sub",
            emulator_host=None,
            lease_seconds=0.6,
        )
        settings = Settings(
            routes=(
                Route(
                    name="r",
                    source=self.source.location,
                    destination=self.destination.location,
                    source_options=self.source.options,
                    destination_options=self.destination.options,
                ),
            ),
            aws=Aws(access_key_id=ACCESS_KEY, secret_access_key=SECRET_KEY),  # type: ignore[arg-type]
            redis=RedisSettings(address=self.redis_address, prefix=prefix),
            worker=WorkerSettings(
                slots=8, backoff_seconds=0.01, attempts=4, grace_seconds=0, part_bytes=MIB, buffer_bytes=8 * MIB
            ),
        ).model_copy(update={"queue": queue})
        self.pipeline = Pipeline(settings, Path(self.directory.name), Steps(self.dice), Steps(self.dice))

    def teardown(self) -> None:
        for end in (self.source, self.destination):
            TOLD.update(end.adversary.told)
            self.runner.run(end.server.__aexit__(None, None, None))
        self.runner.close()
        self.directory.cleanup()

    @rule(key=st.sampled_from(KEYS), size=st.sampled_from([0, 1, 10, 1000]))
    def write(self, key: str, size: int) -> None:
        self.edit(key, self.dice.randbytes(size + (3 * 1024 * 1024 if self.large and size == 1000 else 0)))

    @rule(keys=st.lists(st.sampled_from(KEYS), min_size=4, max_size=12, unique=True))
    def write_many(self, keys: list[str]) -> None:
        for key in keys:
            self.edit(key, self.dice.randbytes(100))

    @rule(key=st.sampled_from(KEYS))
    def delete(self, key: str) -> None:
        self.edit(key, None)

    @rule(key=st.sampled_from(KEYS), size=st.sampled_from([None, 1, 50]))
    def edit_later(self, key: str, size: int | None) -> None:
        """While the next run is under way."""
        self.edits.append((key, None if size is None else self.dice.randbytes(size)))

    @rule(key=st.sampled_from(KEYS), spoilt=st.booleans())
    def alter(self, key: str, *, spoilt: bool) -> None:
        """Somebody deletes a copy, or writes something else over it."""
        if not spoilt:
            self.destination.delete(key)
        elif key in self.destination.contents():
            foreign = b"foreign " + self.dice.randbytes(8)
            self.foreign.add(foreign)
            self.destination.put(key, foreign)

    def edit(self, key: str, data: bytes | None) -> None:
        self.history.setdefault(key, [None]).append(data)
        if data is None:
            self.source.delete(key)
        else:
            self.source.put(key, data)

    @rule(
        keys=st.lists(st.sampled_from(KEYS), max_size=8), rates=st.tuples(RATES, RATES), kills=st.sampled_from([0.02, 0.0, 0.05])
    )
    def sync(self, keys: list[str], rates: tuple[float, float], kills: float) -> None:
        """After some more objects have changed."""
        for key in keys:
            self.edit(key, self.dice.randbytes(100))
        for end, rate in zip((self.source, self.destination), rates, strict=True):
            end.adversary.honest, end.adversary.rate = False, rate
        for steps in (self.pipeline.publisher_steps, self.pipeline.worker_steps):
            steps.armed, steps.rate = kills > 0, kills
        self.run()

    def run(self) -> Outcome:
        before = self.source.contents()
        self.source.shown.clear()
        for end in (self.source, self.destination):
            end.adversary.trace.clear()
        outcome = self.outcome = self.runner.run(self.pipelined())
        after = self.source.contents()
        RUNS[f"exit {outcome.code}"] += 1
        for key, data in self.destination.contents().items():
            assert data in self.history.get(key, []) or data in self.foreign, (
                f"{key!r} at the destination has bytes that it never had"
            )
        if outcome.code != KILLED:
            self.check_sums(outcome)
        if outcome.code == 0:
            self.check_arrived(before, after)
        return outcome

    async def pipelined(self) -> Outcome:
        """The run, and the edits that wait for it, each after some more answers of the source."""
        pick = self.source.adversary.pick
        answers = [self.dice.randrange(30) for _ in self.edits]

        def edited(operation: str, thing: str, possible: Any) -> Deviation | None:
            for place, left in enumerate(answers):
                answers[place] = left - 1
                if left == 0:
                    self.edit(*self.edits[place])
            return pick(operation, thing, possible)

        self.source.adversary.pick = edited  # type: ignore[method-assign]
        try:
            return await self.pipeline.sync()
        finally:
            self.source.adversary.pick = pick  # type: ignore[method-assign]
            self.edits.clear()

    def check_sums(self, outcome: Outcome) -> None:
        job = outcome.job
        assert job is not None
        assert job.unbalanced == 0
        assert job.listed == job.moved + job.proven + job.in_flight + job.failed + sum(job.left_out.values()), job
        if outcome.code == 0:
            assert (job.in_flight, job.failed, job.state) == (0, 0, "done"), job

    def check_arrived(self, before: dict[str, bytes], after: dict[str, bytes]) -> None:
        """What was there all the time and was shown is there; an entry that no listing showed cannot be known of."""
        there = self.destination.contents()
        for key, data in before.items():
            if after.get(key) == data and key in self.source.shown:
                assert there.get(key) == data, f"{key!r} is lost, and the exit code was 0: {self.outcome}\n{self.traced(key)}"

    def traced(self, key: str) -> str:
        """What the ends were asked about a key, and how they answered."""
        ends = (("source", self.source), ("destination", self.destination))
        lines = [f"{name}: {line}" for name, end in ends for line in end.adversary.trace]
        there, versions = self.destination.contents().get(key), self.history[key]
        what = f"version {versions.index(there)} of {len(versions) - 1}" if there in versions else "what somebody else wrote"
        asked = [line for line in lines if key in unquote(line) or "ist" in line.split(" ")[1]]
        return "\n".join([f"the destination has {what}", *asked])

    @precondition(lambda self: self.outcome is not None)
    @invariant()
    def nothing_broke(self) -> None:
        """The stand-ins themselves met no fault of their own."""
        for end in (self.source, self.destination):
            assert not end.server.failures, end.server.failures

    @rule()
    def honest(self) -> None:
        """Once the services tell the truth and nobody kills anything, a few runs bring everything."""
        for end in (self.source, self.destination):
            end.adversary.honest = True
        for steps in (self.pipeline.publisher_steps, self.pipeline.worker_steps):
            steps.armed = False
        if self.edits:
            self.run()  # what is changed after it was read is for the next run
        for _ in range(PATIENCE):
            if self.run().code == 0:
                break
            time.sleep(SECOND)
        assert self.outcome is not None
        assert self.outcome.code == 0, self.outcome
        there = self.destination.contents()
        for key, data in self.source.contents().items():
            assert there.get(key) == data, key


sync_run.EVERY = min(sync_run.EVERY, 0.02)


def _but_for_kills(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """A delivery that was killed has nobody to look at how it ended."""
    if not isinstance(context.get("exception"), KilledError):
        loop.default_exception_handler(context)
