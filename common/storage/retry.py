"""Retries as wrappers of the storage contract: above them a passing fault is a pause, below them nobody waits.

Only what may pass is tried again (`ObjectError.retryable`), with two exceptions that must reach the caller at once:
UploadLost, because the upload has to begin again, not the call; and from `complete` anything that is not plainly
"try the same call later", because a service that refuses to assemble the parts wants the parts again.

A call whose answer was lost may have had its effect. The repeated put then meets its own object and gets PreconditionFailed,
the repeated complete gets that or UploadLost: both go through, and the caller looks at what is there.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar, cast

from common.errors import ObjectError, Parked, RateLimited, Unauthenticated, Unavailable, UploadLost
from common.telemetry import get_logger

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Sequence

    from common.objects import Headers, Span, StoredObject, Version
    from common.storage.base import (
        Body,
        ChangesReader,
        Content,
        Limits,
        Page,
        PartReceipt,
        Precondition,
        RangesReader,
        Reader,
        Upload,
        Writer,
    )

    Sleep = Callable[[float], Awaitable[object]]
    Random = Callable[[], float]

Result = TypeVar("Result")

log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Policy:
    """How often and how patiently. The wait after n failures is random between 0 and `first_delay` * 2**(n-1)."""

    attempts: int = 5
    """All attempts, the first one included."""
    first_delay: float = 1.0
    longest: float = 60.0
    """No wait is longer: a worker that sleeps for an hour holds a slot for an hour. When the service asks for more, the
    error goes to the caller, and the delivery back to the queue, which waits more cheaply."""

    def delay(self, failures: int, random: Random, retry_after: float | None) -> float:
        """Seconds to wait after so many failures: full jitter, or what the service asked for if that is longer."""
        ceiling = min(self.longest, self.first_delay * 2.0 ** min(failures - 1, 64))
        return min(self.longest, max(random() * ceiling, retry_after or 0.0))


class Retrier:
    """Carries out one operation at a time, as often as the policy allows. Stateless between operations; shared freely."""

    def __init__(self, policy: Policy, sleep: Sleep, random: Random, *, at_source: bool | None = None) -> None:
        self.policy = policy
        self._at_source = at_source
        self._sleep = sleep
        self._random = random

    async def call(
        self,
        operation: str,
        key: str,
        attempt: Callable[[], Awaitable[Result]],
        *,
        passing: Callable[[ObjectError], bool] | None = None,
    ) -> Result:
        """The first result, or the error that ended it: a permanent one, or the last of the attempts."""
        may_pass = passing or _may_pass
        failures = 0
        while True:
            try:
                return await attempt()
            except ObjectError as error:
                error.at_source = self._at_source
                failures += 1
                too_long = (error.retry_after or 0.0) > self.policy.longest
                if not may_pass(error) or failures >= self.policy.attempts or too_long:
                    raise
                await self.pause(operation, key, failures, error)

    async def pause(self, operation: str, key: str, failures: int, error: ObjectError) -> None:
        """Say that the operation is tried again, and wait until then."""
        seconds = self.policy.delay(failures, self._random, error.retry_after)
        log.info(
            "trying again after a fault that may pass",
            action="retry",
            operation=operation,
            key=key,
            category=error.category.value,
            error=str(error),
            failures=failures,
            seconds=round(seconds, 3),
        )
        await self._sleep(seconds)


def _may_pass(error: ObjectError) -> bool:
    """Within seconds. New credentials and another day take longer, and a lost upload is begun again by whoever began it."""
    return error.retryable and not isinstance(error, UploadLost | Unauthenticated | Parked)


def _only_away(error: ObjectError) -> bool:
    return isinstance(error, Unavailable | RateLimited)


class RetryingReader:
    """A reader whose passing faults are retried. Closing it closes the reader inside."""

    def __init__(self, inner: Reader, retrier: Retrier) -> None:
        self.limits = inner.limits
        self._inner = inner
        self._retrier = retrier

    async def stat(self, key: str) -> StoredObject | None:
        return await self._retrier.call("stat", key, lambda: self._inner.stat(key))

    async def list(self, after: str | None = None) -> AsyncIterator[Page]:
        """Goes on behind the last page that was handed out; each page has all attempts of its own."""
        failures = 0
        while True:
            pages = self._inner.list(after)
            try:
                async for page in pages:
                    failures = 0
                    yield page
                    after = page.after
                    if after is None:
                        return
            except ObjectError as error:
                failures += 1
                if not _may_pass(error) or failures >= self._retrier.policy.attempts:
                    raise
                await self._retrier.pause("list", after or "", failures, error)
            else:
                return
            finally:
                if isinstance(pages, AsyncGenerator):
                    await pages.aclose()

    async def mark(self) -> str | None:
        """None where the reader inside does not tell what has changed."""
        if not self.limits.tells_changes:
            return None
        inner = cast("ChangesReader", self._inner)
        return await self._retrier.call("mark", "", inner.mark)

    async def divisible(self, after: str | None, keys: Sequence[str]) -> bool:
        if not self.limits.parallel_listing:
            return False
        inner = cast("RangesReader", self._inner)
        return await self._retrier.call("divisible", after or "", lambda: inner.divisible(after, keys))

    async def indivisible(self) -> None:
        if self.limits.parallel_listing:
            await cast("RangesReader", self._inner).indivisible()

    async def read(self, key: str, span: Span | None, version: Version | None) -> Content:
        return await self._retrier.call("read", key, lambda: self._inner.read(key, span, version))

    async def close(self) -> None:
        await self._inner.close()


class RetryingWriter:
    """A writer whose passing faults are retried, and whose uploads are too. Closing it closes the writer inside."""

    def __init__(self, inner: Writer, retrier: Retrier) -> None:
        self._inner = inner
        self._retrier = retrier

    @property
    def limits(self) -> Limits:
        """What the service does may be found out on the way."""
        return self._inner.limits

    async def stat(self, key: str) -> StoredObject | None:
        return await self._retrier.call("stat", key, lambda: self._inner.stat(key))

    async def put(self, key: str, body: Body, precondition: Precondition) -> StoredObject:
        return await self._retrier.call("put", key, lambda: self._inner.put(key, body, precondition))

    async def begin(self, key: str, size: int, headers: Headers, precondition: Precondition, token: str | None = None) -> Upload:
        upload = await self._retrier.call("begin", key, lambda: self._inner.begin(key, size, headers, precondition, token))
        return RetryingUpload(upload, key, self._retrier)

    async def close(self) -> None:
        await self._inner.close()


class RetryingUpload:
    """An upload whose passing faults are retried part by part."""

    def __init__(self, inner: Upload, key: str, retrier: Retrier) -> None:
        self.token = inner.token
        self._inner = inner
        self._key = key
        self._retrier = retrier

    async def part(self, number: int, offset: int, data: bytes, crc32c: int) -> PartReceipt:
        return await self._retrier.call("part", self._key, lambda: self._inner.part(number, offset, data, crc32c))

    async def complete(self, receipts: Sequence[PartReceipt], crc32c: int) -> StoredObject:
        return await self._retrier.call("complete", self._key, lambda: self._inner.complete(receipts, crc32c), passing=_only_away)

    async def abort(self) -> None:
        await self._retrier.call("abort", self._key, self._inner.abort)
