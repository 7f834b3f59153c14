"""Leadership has one holder at a time, and passes on."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from common.state.locks import Leader

if TYPE_CHECKING:
    from common.state.store import Store


async def test_one_leads_until_it_gives_up(store: Store) -> None:
    one, two, other = Leader(store, "sweep", "one", 30), Leader(store, "sweep", "two", 30), Leader(store, "trim", "two", 30)
    assert await one.take()
    assert await one.take()
    assert not await two.take()
    assert await other.take()
    assert not await two.give_up()
    assert await one.give_up()
    assert not await one.give_up()
    assert await two.take()


async def test_who_stops_renewing_leads_no_more(store: Store) -> None:
    one, two = Leader(store, "sweep", "one", 0.1), Leader(store, "sweep", "two", 30)
    assert await one.take()
    await asyncio.sleep(0.15)
    assert await two.take()
    assert not await one.take()
