"""The connection to Redis, and patience with it.

Redis being away stops the work and never makes it look done or undone: a call that gets no answer is made again, with growing
pauses, until it is answered or its task is cancelled. So every script may run twice for one call, and each says at its
head what that does. The log hears of it when Redis goes away, once a minute while it is away, and when it is back.
"""

from __future__ import annotations

import asyncio
import random
from contextlib import suppress
from typing import TYPE_CHECKING, Any, NamedTuple, Self

from redis.exceptions import RedisError, ResponseError

from common.cancelling import heed
from common.errors import SettingsError, StateUnavailable
from common.state.absence import Absence
from common.state.connection import connect, leave_server
from common.state.formats import agree_on_format
from common.state.keys import Keys
from common.state.scripts import scripts
from common.state.trouble import ELSEWHERE, PASSING, REFUSED, Asked, Trouble, explained, trouble
from common.telemetry import get_logger

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from redis.asyncio import Redis

    from common.config import RedisSettings

    Argument = bytes | str | int | float
    Command = Sequence[Argument]

log = get_logger(__name__)

LISTPACK = {"hash-max-ziplist-entries": 1024, "hash-max-ziplist-value": 4096}
"""By the names that Redis 6.2 knows; Redis 7 and Valkey, which call them listpack, take these too.

Buckets hold some 30 to 150 entries, and keys are up to 1,024 bytes long. A hash that outgrows Redis's own limits (512
entries, 64 bytes) takes twice the memory; it works all the same. Whoever starts a Redis for us starts it with these."""
FIRST_PAUSE = 0.1
LONGEST_PAUSE = 5.0
_ANSWER_SECONDS = 20
"""Longer than any script takes and than Redis needs to write an append-only file on a slow disk."""
_PROBE_SECONDS = 60
"""For how long the key is there that a probe writes."""


class Memory(NamedTuple):
    """Bytes, as `maxmemory` counts them."""

    used: int
    limit: int


class Store:
    """One Redis, shared by everything in the process that keeps state. Belongs to one event loop.

    Calls raise SettingsError when Redis refuses our identity or a right before it has ever served us; later that is waited for,
    as everything is that somebody may put right. They raise StateUnavailable after `patience` seconds, where that is not 0.
    """

    def __init__(
        self,
        client: Redis,
        keys: Keys,
        *,
        patience: float = 0,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        jitter: Callable[[], float] = random.random,
        absence: Absence | None = None,
    ) -> None:
        self.keys = keys
        self.client = client
        """For measurements and tests; what keeps state goes through `send`, which waits for Redis."""
        self._patience = patience
        self._sleep = sleep
        self._jitter = jitter
        self._absence = absence or Absence(log)
        self._served = False
        self._low: set[str] = set()
        """Limits that could not be raised, and have been said."""

    @classmethod
    async def open(
        cls,
        settings: RedisSettings,
        *,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        jitter: Callable[[], float] = random.random,
    ) -> Self:
        """Connects with the first call, not here."""
        client = connect(settings, answer_seconds=_ANSWER_SECONDS)
        return cls(client, Keys(settings.prefix), patience=settings.patience_seconds, sleep=sleep, jitter=jitter)

    async def run(self, script: str, keys: Sequence[str], args: Sequence[Argument]) -> Any:
        """The reply of one script, in one round trip."""
        return (await self.send([self.call(script, keys, args)]))[0]

    def call(self, script: str, keys: Sequence[str], args: Sequence[Argument]) -> Command:
        """The command that runs a script, to be sent together with others."""
        return ("EVALSHA", scripts()[script].sha, len(keys), *keys, *args)

    async def send(self, commands: Sequence[Command]) -> list[Any]:
        """The replies to several commands in one round trip. Each is whole by itself; between them others may come."""
        replies: list[Any] = [None] * len(commands)
        waiting = list(range(len(commands)))
        pause, slept = FIRST_PAUSE, 0.0
        while True:
            try:
                await self._attempt(commands, replies, waiting)
            except (RedisError, OSError) as error:
                refused = next((commands[index] for index in waiting if replies[index] is error), None)
                await self._is_away(error, refused)
                if self._patience and slept >= self._patience:
                    raise StateUnavailable(f"gave up after {slept:.0f} seconds: {self._absence.reason}") from error
                seconds = pause * (0.5 + self._jitter() / 2)
                await self._sleep(seconds)
                slept, pause = slept + seconds, min(pause * 2, LONGEST_PAUSE)
            else:
                if not waiting:
                    await self._has_served()
                    return replies

    async def check(self) -> None:
        """Wait until Redis takes a write, then look whether it is set up as the cache needs it; warn where it is not. Raises
        SettingsError when a newer version has written what is stored there.
        """
        await self._wait_for_a_write()
        while True:
            try:
                await self._look_at_eviction()
                await self._raise_limits()
            except (RedisError, OSError) as error:
                if trouble(error) not in PASSING:
                    raise
                await self._wait_for_a_write()
            else:
                break
        await agree_on_format(self)

    async def probe(self) -> None:
        """Try once what the work does: a script that writes. Raises StateUnavailable, which says what Redis answers."""
        command = self._probe()
        try:
            waiting = [0]
            while waiting:  # twice where Redis had forgotten the script
                await self._attempt([command], [None], waiting)
        except (RedisError, OSError) as error:
            kind, text = trouble(error), explained(error, self._asked(command))
            if kind in ELSEWHERE:
                await leave_server(self.client)
            raise StateUnavailable(text, reason=kind.value) from error

    @property
    def away(self) -> str | None:
        """Why Redis cannot be used at this moment; None when the last call was answered."""
        return self._absence.reason

    async def memory(self) -> Memory | None:
        """What Redis uses of what it may use (`maxmemory`); None where it has no limit, does not tell, or does not answer."""
        with suppress(RedisError, OSError):  # whoever sends something next meets the same, and waits
            said = await heed(self.client.info("memory"))
            if limit := int(said.get("maxmemory", 0)):
                return Memory(int(said["used_memory"]) - int(said.get("mem_not_counted_for_evict", 0)), limit)
        return None

    async def close(self) -> None:
        """May be called twice."""
        await self.client.aclose()

    async def _exchange(self, commands: Sequence[Command]) -> list[Any]:
        """The replies, errors among them."""
        pipeline = self.client.pipeline(transaction=False)
        for command in commands:
            pipeline.execute_command(*command)
        return await heed(pipeline.execute(raise_on_error=False))

    async def _attempt(self, commands: Sequence[Command], replies: list[Any], waiting: list[int]) -> None:
        """Send those that wait for a reply; `waiting` then has those that still do. Raises what repeating does not cure."""
        answers = await self._exchange([commands[index] for index in waiting])
        for index, answer in zip(waiting, answers, strict=True):
            replies[index] = answer
        waiting[:] = [index for index in waiting if isinstance(replies[index], Exception)]
        if waiting:
            await self._repair([replies[index] for index in waiting])

    def _probe(self) -> Command:
        return self.call("probe", [self.keys.probe()], [_PROBE_SECONDS])

    async def _wait_for_a_write(self) -> None:
        await self.send([self._probe()])

    async def _has_served(self) -> None:
        self._served = True
        if self._absence.reason is None:
            return
        self._absence.ended()
        with suppress(RedisError, OSError):  # the next call meets the same, and waits
            await self._raise_limits()  # it may have started again: Redis 6.2 does so with our scripts, and without its limits

    async def _repair(self, errors: Sequence[Exception]) -> None:
        """After this the commands may be sent again. Raises what repeating does not cure."""
        for error in errors:
            if trouble(error) is not Trouble.FORGOTTEN:
                raise error
        # Redis has forgotten the scripts, so it is new to us or has started again, and then has forgotten its raised limits too.
        loads = await self._exchange([("SCRIPT", "LOAD", script.text) for script in scripts().values()])
        for reply in loads:
            if isinstance(reply, Exception):
                raise reply
        await self._raise_limits()

    async def _look_at_eviction(self) -> None:
        policy = await self._setting("maxmemory-policy")
        if policy is None:
            log.warning(
                "cannot read Redis's settings: make sure that maxmemory-policy is noeviction, or records will vanish one by one",
                action="redis_unchecked",
            )
        elif policy != "noeviction":
            log.warning(
                "Redis may drop records when memory is full, and then their objects are looked at again: "
                "write `maxmemory-policy noeviction` in redis.conf",
                action="redis_evicts",
                policy=policy,
            )

    async def _raise_limits(self) -> None:
        for name, needed in LISTPACK.items():
            present = await self._setting(name)
            if present is not None and int(present) >= needed:
                continue
            line = f"{name} {needed}"
            try:
                await self.client.config_set(name, needed)
            except ResponseError as error:
                if line in self._low:
                    continue
                self._low.add(line)
                log.warning(
                    "a limit of Redis is too low for us, records take up to twice the memory: write `line` in redis.conf",
                    action="redis_limit_low",
                    line=line,
                    reason=str(error),
                )
            else:
                log.info(
                    "raised a limit of Redis: write `line` in redis.conf, or Redis unpacks what is stored when it starts again",
                    action="redis_limit_raised",
                    line=line,
                )

    async def _setting(self, name: str) -> str | None:
        """None where Redis does not tell (managed services forbid CONFIG)."""
        try:
            found = await self.client.config_get(name)
        except ResponseError:
            return None
        for value in found.values():
            return value.decode() if isinstance(value, bytes) else str(value)
        return None

    async def _is_away(self, error: Exception, command: Command | None) -> None:
        """Return when the call is to be made again after a pause. Raises what waiting does not cure."""
        kind = trouble(error)
        if kind not in PASSING and kind not in REFUSED:
            raise error
        text = explained(error, self._asked(command) if command else None)
        if kind in REFUSED and not self._served:
            raise SettingsError([text]) from error
        self._absence.goes_on(text)
        if kind in ELSEWHERE:
            await leave_server(self.client)

    def _asked(self, command: Command) -> Asked:
        name, first, *rest = (_text(word) for word in command)
        if name != "EVALSHA":
            return Asked(name.lower(), [first])
        script = next((script for script in scripts().values() if script.sha == first), None)
        keys = rest[1 : 1 + int(rest[0])]
        return Asked(script.name, keys, script.text) if script else Asked("evalsha", keys)


def _text(word: Argument) -> str:
    return word.decode("utf-8", "replace") if isinstance(word, bytes) else str(word)
