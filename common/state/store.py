"""The connection to Redis, and patience with it.

Redis being away stops the work and never makes it look done or undone: a call that gets no answer is made again, with growing
pauses, until it is answered or its task is cancelled. So every script may run twice for one call, and each says at its
head what that does. The log hears of it once when Redis goes away and once when it is back.
"""

from __future__ import annotations

import asyncio
import random
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Self

from redis import exceptions as redis_says
from redis.exceptions import NoPermissionError, NoScriptError, RedisError, ResponseError

from common.cancelling import heed
from common.errors import SettingsError
from common.state.connection import connect
from common.state.formats import agree_on_format
from common.state.keys import Keys
from common.state.scripts import scripts
from common.telemetry import get_logger

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from redis.asyncio import Redis

    from common.config import RedisSettings

    Argument = bytes | str | int | float
    Command = Sequence[Argument]

log = get_logger(__name__)

LISTPACK = {"hash-max-listpack-entries": 1024, "hash-max-listpack-value": 4096}
"""Buckets hold some 30 to 150 entries, and keys are up to 1,024 bytes long. A hash that outgrows Redis's own limits (512
entries, 64 bytes) takes twice the memory; it works all the same. Whoever starts a Redis for us starts it with these."""
FIRST_PAUSE = 0.1
LONGEST_PAUSE = 5.0
_ANSWER_SECONDS = 20
"""Longer than any script takes and than Redis needs to write an append-only file on a slow disk."""
_REFUSED = (
    redis_says.AuthenticationError,
    redis_says.AuthenticationWrongNumberOfArgsError,
    redis_says.AuthorizationError,
    NoPermissionError,
)
_AWAY = (
    redis_says.ConnectionError,
    redis_says.TimeoutError,
    redis_says.OutOfMemoryError,
    redis_says.ReadOnlyError,
    redis_says.ClusterDownError,
    redis_says.TryAgainError,
    OSError,
)
_AWAY_CODES = ("BUSY ", "UNKILLABLE ", "MISCONF ", "NOREPLICAS ")
"""Those for which the library has no class: a script that runs too long, a full disk, too few replicas."""


class Store:
    """One Redis, shared by everything in the process that keeps state. Belongs to one event loop.

    Calls raise SettingsError when Redis refuses our identity, and nothing else that waiting could cure.
    """

    def __init__(
        self,
        client: Redis,
        keys: Keys,
        *,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self.keys = keys
        self.client = client
        """For measurements and tests; what keeps state goes through `send`, which waits for Redis."""
        self._sleep = sleep
        self._jitter = jitter
        self._away = False

    @classmethod
    async def open(
        cls,
        settings: RedisSettings,
        *,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        jitter: Callable[[], float] = random.random,
    ) -> Self:
        """Connects with the first call, not here."""
        return cls(connect(settings, answer_seconds=_ANSWER_SECONDS), Keys(settings.prefix), sleep=sleep, jitter=jitter)

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
        pause = FIRST_PAUSE
        while True:
            try:
                answers = await self._exchange([commands[index] for index in waiting])
                for index, answer in zip(waiting, answers, strict=True):
                    replies[index] = answer
                waiting = [index for index in waiting if isinstance(replies[index], Exception)]
                if not waiting:
                    self._is_back()
                    return replies
                await self._repair([replies[index] for index in waiting])
            except (RedisError, OSError) as error:
                if not self._is_away(error):
                    raise
                await self._sleep(pause * (0.5 + self._jitter() / 2))
                pause = min(pause * 2, LONGEST_PAUSE)

    async def check(self) -> None:
        """Wait until Redis answers, then look whether it is set up as the cache needs it; warn where it is not. Raises
        SettingsError when a newer version has written what is stored there.
        """
        while True:
            await self.send([("PING",)])
            with suppress(*_AWAY):
                await self._look_at_eviction()
                await self._raise_limits()
                await agree_on_format(self)
                return

    async def close(self) -> None:
        """May be called twice."""
        await self.client.aclose()

    async def _exchange(self, commands: Sequence[Command]) -> list[Any]:
        """The replies, errors among them."""
        pipeline = self.client.pipeline(transaction=False)
        for command in commands:
            pipeline.execute_command(*command)
        return await heed(pipeline.execute(raise_on_error=False))

    async def _repair(self, errors: Sequence[Exception]) -> None:
        """After this the commands may be sent again. Raises what repeating does not cure."""
        for error in errors:
            if not isinstance(error, NoScriptError):
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

    def _is_away(self, error: Exception) -> bool:
        """Whether to wait and call again. Says so, the first time."""
        if isinstance(error, _REFUSED):
            raise SettingsError([_refused(error)]) from error
        if not isinstance(error, _AWAY) and not str(error).startswith(_AWAY_CODES):
            return False
        if not self._away:
            self._away = True
            log.warning(
                "Redis cannot be used; work waits until it can", action="redis_away", reason=str(error) or type(error).__name__
            )
        return True

    def _is_back(self) -> None:
        if self._away:
            self._away = False
            log.info("Redis can be used again; work goes on", action="redis_back")


def _refused(error: Exception) -> str:
    if isinstance(error, NoPermissionError):
        return f"REDIS_PASSWORD: Redis knows us but forbids what we need ({error}); grant the user all commands on our keys"
    said = str(error).rstrip(".")
    return f"REDIS_PASSWORD: Redis refuses it ({said}); write the password of the Redis at REDIS_ADDRESS, none if it has none"
