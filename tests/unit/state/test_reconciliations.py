"""When a destination is listed beside its source: once in a while, when wanted, and again where it did not come to its end."""

from __future__ import annotations

from typing import TYPE_CHECKING

from common.state.reconciliations import Reconciliations
from tests.unit.state.samples import NOW, ROUTE

if TYPE_CHECKING:
    from common.state.store import Store


async def test_once_in_a_while(store: Store) -> None:
    # Given a route that was never reconciled
    notes = Reconciliations(store)
    # Then it is due, unless it never is to be
    assert await notes.due(ROUTE, NOW, 100)
    assert not await notes.due(ROUTE, NOW, 0)
    # When a scan has begun, it is due until that has ended, and the scan knows itself again
    await notes.begun(ROUTE, "job 1", NOW)
    assert await notes.due(ROUTE, NOW + 1, 100)
    assert [await notes.under_way(ROUTE, scan) for scan in ("job 1", "job 2")] == [True, False]
    await notes.ended(ROUTE, "job 2")
    assert await notes.due(ROUTE, NOW + 1, 100)
    # When it has ended, then it is due so many seconds from its beginning, or where a clock was wrong
    await notes.ended(ROUTE, "job 1")
    assert [await notes.due(ROUTE, NOW + later, 100) for later in (0, 99, 100, -1)] == [False, False, True, True]
    assert not await notes.under_way(ROUTE, "job 1")
    assert await Reconciliations(store).due("another", NOW, 100)


async def test_what_is_wanted_while_one_is_under_way_is_wanted_still(store: Store) -> None:
    # Given somebody who wants it
    notes = Reconciliations(store)
    await notes.want(ROUTE)
    assert await notes.due(ROUTE, NOW, 0)
    # When a scan does it, and it is wanted again meanwhile
    await notes.begun(ROUTE, "job 1", NOW)
    await notes.want(ROUTE)
    await notes.ended(ROUTE, "job 1")
    # Then the next scan does it once more, and that is enough
    assert await notes.due(ROUTE, NOW, 0)
    await notes.begun(ROUTE, "job 2", NOW)
    await notes.ended(ROUTE, "job 2")
    assert not await notes.due(ROUTE, NOW, 0)
