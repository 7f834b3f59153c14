"""Retries: what is tried again, how long the waits are, and what must not be swallowed."""

from __future__ import annotations

import asyncio
import inspect
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common import errors
from common.errors import (
    ChecksumMismatch,
    DestinationConflict,
    Inconsistent,
    ObjectError,
    PreconditionFailed,
    RateLimited,
    Unavailable,
    UploadLost,
)
from common.objects import Headers, StoredObject, Version
from common.storage import retry
from common.storage.base import Absent, Body, Limits, PartReceipt
from common.storage.retry import Policy, Retrier, RetryingReader, RetryingUpload, RetryingWriter
from tests.unit.storage.conftest import retrier

if TYPE_CHECKING:
    from tests.unit.storage.conftest import Naps

THERE = StoredObject("key", 1, Version("1"))
BODY = Body(b"x", 0, Headers())
MAY_PASS = (ChecksumMismatch, DestinationConflict, Inconsistent, RateLimited, Unavailable)
MAY_NOT = tuple(
    kind
    for _, kind in inspect.getmembers(errors, inspect.isclass)
    if issubclass(kind, ObjectError) and kind is not ObjectError and kind not in MAY_PASS
)


class Scripted:
    """A reader, a writer and an upload that answer what is written down for them, one answer per call."""

    limits = Limits(1, 1)
    token = "token"

    def __init__(self, *answers: Any) -> None:
        self.answers = list(answers)
        self.calls: list[tuple[Any, ...]] = []

    async def stat(self, key: str) -> Any:
        return self._answer("stat", key)

    async def read(self, *asked: Any) -> Any:
        return self._answer("read", *asked)

    async def put(self, *asked: Any) -> Any:
        return self._answer("put", *asked)

    async def begin(self, *asked: Any) -> Any:
        return self._answer("begin", *asked)

    async def part(self, *asked: Any) -> Any:
        return self._answer("part", *asked)

    async def complete(self, *asked: Any) -> Any:
        return self._answer("complete", *asked)

    async def abort(self) -> Any:
        return self._answer("abort")

    async def close(self) -> None:
        self.calls.append(("close",))

    def _answer(self, *call: Any) -> Any:
        self.calls.append(call)
        answer = self.answers.pop(0)
        if isinstance(answer, BaseException):
            raise answer
        return answer


def reading(inner: Any, naps: Naps, **policy: Any) -> RetryingReader:
    return RetryingReader(inner, retrier(naps, **policy))


@pytest.mark.parametrize("fault", MAY_PASS)
async def test_a_passing_fault_is_a_pause(naps: Naps, fault: type[ObjectError]) -> None:
    # Given a writer that fails twice
    inner = Scripted(fault("no"), fault("no"), THERE)

    # When something is put
    answer = await RetryingWriter(inner, retrier(naps, attempts=3)).put("key", BODY, Absent())

    # Then it is there, with the same call made three times, and two waits between them
    assert answer is THERE
    assert inner.calls == [("put", "key", BODY, Absent())] * 3
    assert naps.seconds == [1.0, 2.0]


@pytest.mark.parametrize("fault", MAY_NOT)
async def test_a_lasting_fault_goes_through_at_once(naps: Naps, fault: type[ObjectError]) -> None:
    # Given a reader whose fault will not pass; also an upload that is lost, which must begin again and not call again
    more: dict[type[ObjectError], dict[str, Any]] = {errors.Parked: {"until": 0}, errors.NotKnownYet: {"subject": "route r"}}
    kind: Any = fault
    inner = Scripted(kind("no", **more.get(fault, {})))

    # When an object is looked at
    with pytest.raises(fault):
        await reading(inner, naps).stat("key")

    # Then that was the only call
    assert len(inner.calls) == 1
    assert naps.seconds == []


async def test_the_last_error_is_the_answer(naps: Naps) -> None:
    # Given a reader that never answers
    inner = Scripted(*(Unavailable(f"attempt {number}") for number in range(1, 9)))

    # When it is asked
    with pytest.raises(Unavailable, match="attempt 4"):
        await reading(inner, naps, attempts=4).read("key", None, None)

    # Then it was asked as often as the policy says
    assert len(inner.calls) == 4
    assert len(naps.seconds) == 3


async def test_a_fault_that_is_none_of_ours_goes_through(naps: Naps) -> None:
    # Given a fault in the program
    inner = Scripted(ZeroDivisionError())

    # When it is met
    # Then nobody tries it again
    with pytest.raises(ZeroDivisionError):
        await reading(inner, naps).stat("key")
    assert naps.seconds == []


@pytest.mark.parametrize(("asked", "waited"), [(7.0, 7.0), (0.1, 1.0), (0.0, 1.0), (None, 1.0), (60.0, 60.0)])
async def test_a_service_that_asks_for_time_gets_it(naps: Naps, asked: float | None, waited: float) -> None:
    # Given a service that says when to come back
    inner = Scripted(RateLimited("slow down", retry_after=asked), None)

    # When it is asked again
    await reading(inner, naps, longest=60).stat("key")

    # Then not before that, not before the backoff, and not later than the policy allows
    assert naps.seconds == [waited]


@given(st.integers(1, 10_000), st.floats(0, 1, exclude_max=True), st.one_of(st.none(), st.floats(0, 1e9)))
def test_no_wait_is_out_of_bounds(failures: int, dice: float, asked: float | None) -> None:
    # Given any policy's view of any failure
    policy = Policy(first_delay=0.5, longest=30)

    # When the wait is computed
    seconds = policy.delay(failures, lambda: dice, asked)

    # Then it is within the bounds
    assert 0 <= seconds <= 30
    assert seconds >= min(asked or 0, 30)


def test_the_jitter_is_full() -> None:
    # Given the fourth failure of a policy that starts at one second
    policy = Policy(first_delay=1, longest=60)

    # When the dice fall differently
    # Then the wait is anything between nothing and eight seconds: callers that failed together do not come back together
    assert [policy.delay(4, lambda dice=dice: dice, None) for dice in (0.0, 0.25, 1.0)] == [0.0, 2.0, 8.0]  # type: ignore[misc]


async def test_a_put_whose_answer_was_lost_says_so(naps: Naps) -> None:
    # Given a put that had its effect, but no answer
    inner = Scripted(Unavailable("connection reset"), PreconditionFailed("exists"))

    # When it is tried again
    # Then the caller learns that something is there, and looks
    with pytest.raises(PreconditionFailed):
        await RetryingWriter(inner, retrier(naps)).put("key", BODY, Absent())


async def test_an_upload_is_retried_part_by_part(naps: Naps) -> None:
    # Given an upload on a bad line
    receipt = PartReceipt(0, 1, 0)
    upload = Scripted(Unavailable("reset"), receipt, Unavailable("reset"), THERE, RateLimited("slow"), None)
    writer = RetryingWriter(Scripted(Unavailable("reset"), upload), retrier(naps))

    # When it is made
    begun = await writer.begin("key", 1, Headers(), Absent())
    assert begun.token == "token"
    assert await begun.part(0, 0, b"x", 0) == receipt
    assert await begun.complete([receipt], 0) is THERE
    await begun.abort()

    # Then every call was repeated by itself
    assert [call[0] for call in upload.calls] == ["part", "part", "complete", "complete", "abort", "abort"]


@pytest.mark.parametrize("fault", [UploadLost, DestinationConflict, ChecksumMismatch, PreconditionFailed])
async def test_a_refusal_to_complete_reaches_the_caller(naps: Naps, fault: type[ObjectError]) -> None:
    # Given a service that will not make these parts an object
    upload = Scripted(fault("no"))

    # When the upload is completed
    # Then the same call is not made again: the upload has to begin again, or somebody has to look
    with pytest.raises(fault):
        await RetryingUpload(upload, "key", retrier(naps)).complete([], 0)
    assert len(upload.calls) == 1


async def test_a_lost_upload_reaches_the_caller_from_a_part(naps: Naps) -> None:
    # Given an upload that the service has forgotten
    upload = Scripted(UploadLost("gone"))

    # When a part is written
    # Then that is the caller's to know
    with pytest.raises(UploadLost):
        await RetryingUpload(upload, "key", retrier(naps)).part(0, 0, b"x", 0)
    assert naps.seconds == []


async def test_cancelling_ends_the_wait() -> None:
    # Given a reader that is waiting for its next attempt
    waiting = asyncio.Event()

    async def forever(seconds: float) -> None:
        waiting.set()
        await asyncio.Event().wait()

    inner: Any = Scripted(Unavailable("no"), THERE)
    call = asyncio.create_task(RetryingReader(inner, Retrier(Policy(), forever, lambda: 1.0)).stat("key"))
    await waiting.wait()

    # When it is cancelled
    call.cancel()

    # Then it ends, and there is no next attempt
    with pytest.raises(asyncio.CancelledError):
        await call
    assert len(inner.calls) == 1


async def test_each_retry_is_said_once(naps: Naps, monkeypatch: pytest.MonkeyPatch) -> None:
    # Given somebody who listens
    lines: list[dict[str, Any]] = []

    class Listener:
        def info(self, text: str, **fields: Any) -> None:
            lines.append(fields)

    monkeypatch.setattr(retry, "log", Listener())

    # When a call is tried again twice
    await reading(Scripted(Unavailable("a"), RateLimited("b"), THERE), naps).stat("some key")

    # Then there are two lines that say what and why
    assert [(line["action"], line["operation"], line["key"], line["category"], line["failures"]) for line in lines] == [
        ("retry", "stat", "some key", "unavailable", 1),
        ("retry", "stat", "some key", "rate_limited", 2),
    ]


async def test_closing_closes_what_is_inside(naps: Naps) -> None:
    # Given a reader and a writer in their wrappers
    reader, writer = Scripted(), Scripted()

    # When the wrappers are closed
    await reading(reader, naps).close()
    await RetryingWriter(writer, retrier(naps)).close()

    # Then those inside are
    assert reader.calls == writer.calls == [("close",)]
