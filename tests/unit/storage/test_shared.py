"""What workers tell each other: the same answers from memory and from Redis."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from common.config import RedisSettings
from common.state.agreements import Agreements
from common.state.store import Store
from common.storage.shared import Alone, Parking

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from common.storage.shared import Shared


@pytest.fixture(params=["alone", "redis"])
async def shared(request: pytest.FixtureRequest, fresh: str) -> AsyncIterator[Shared]:
    if request.param == "alone":
        yield Alone()
        return
    store = await Store.open(RedisSettings(address=request.getfixturevalue("redis_address"), prefix=fresh))
    yield Agreements(store)
    await store.close()


async def test_of_many_proposals_the_first_counts_for_everybody(shared: Shared) -> None:
    # Given ten who propose at the same moment
    answers = await asyncio.gather(*(shared.agree("folder:a/\u00e9", f"id-{number}") for number in range(10)))

    # Then all have the same answer, and it is what is recalled
    assert len(set(answers)) == 1
    assert await shared.recall("folder:a/\u00e9") == answers[0]
    assert await shared.recall("folder:b") is None


async def test_an_agreement_ends_when_it_is_still_the_one_that_was_meant(shared: Shared) -> None:
    # Given an agreement
    await shared.agree("file", "one")

    # When another is to end
    await shared.forget("file", "two")

    # Then it is as it was; and when it is meant, it is gone
    assert await shared.recall("file") == "one"
    await shared.forget("file", "one", after=60)
    assert await shared.recall("file") == "one"
    await shared.forget("file", "one")
    assert await shared.recall("file") is None
    assert await shared.agree("file", "three") == "three"


async def test_a_budget_has_one_bottom_for_all(shared: Shared) -> None:
    # Given a budget of 600 a minute, a tenth of which may be spent at once
    # When two spend together more than that
    waits = [await shared.spend("user", 30, 60, 600), await shared.spend("user", 30, 60, 600)]
    first, second = [await shared.spend("user", 90, 60, 600) for _ in range(2)]

    # Then what is there costs nothing, and what is not has to be waited for: 90 come back in ten seconds
    assert waits == [0, 0]
    assert 5 < first <= 10
    assert first < second <= 20
    # And another's budget is full
    assert await shared.spend("other", 60, 60, 600) == 0


async def test_a_route_waits_for_the_last_of_several_times(shared: Shared) -> None:
    # Given nothing
    assert await shared.parked("photos") is None

    # When it is parked until noon, and until an hour earlier
    noon = Parking(1_700_000_000.5, "750 GB")
    assert await shared.park("photos", noon) == noon
    assert await shared.park("photos", Parking(noon.until - 3600, "other")) == noon

    # Then noon counts, for this route
    assert await shared.parked("photos") == noon
    assert await shared.parked("videos") is None
    later = Parking(noon.until + 1, "again")
    assert await shared.park("photos", later) == later


async def test_time_runs_by_the_clock_that_was_given() -> None:
    # Given notes of one process, and a clock
    now = [0.0]
    alone = Alone(lambda: now[0])
    await alone.agree("file", "one", seconds=100)
    assert await alone.spend("user", 160, 60, 600) > 0

    # When the clock moves on
    now[0] = 50
    await alone.agree("file", "two", seconds=100)
    now[0] = 149

    # Then an agreement lives on from its last call, and a budget has filled up, but not beyond what may be spent at once
    assert await alone.recall("file") == "one"
    assert await alone.spend("user", 60, 60, 600) == 0
    assert await alone.spend("user", 9, 60, 600) == 1
    now[0] = 150
    assert await alone.recall("file") is None


async def test_two_writers_never_spend_more_than_the_limit_in_any_minute() -> None:
    # Given a budget, a clock, and two who spend from it without pause, each waiting as long as told
    now = [0.0]
    alone = Alone(lambda: now[0])
    used: list[float] = []
    ready = [0.0, 0.0]

    # When they have gone on for ten minutes
    while min(ready) < 600:
        writer = ready.index(min(ready))
        now[0] = max(now[0], ready[writer])
        ready[writer] = now[0] + await alone.spend("user", 50, 60, 6000)
        used.append(ready[writer])

    # Then in no minute, wherever it begins, more was used than there is, and all in all nearly as much
    used.sort()
    for begin in used:
        assert sum(50 for at in used if begin <= at < begin + 60) <= 6000 + 50
    assert sum(50 for at in used if at < 600) > 0.85 * 60_000
