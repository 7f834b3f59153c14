"""How far a source's account of its changes was followed: kept when a scan has ended, and by nobody else's scan."""

from __future__ import annotations

from typing import TYPE_CHECKING

from common.state.feeds import Feeds, Followed

if TYPE_CHECKING:
    from common.state.store import Store

FIRST = Followed("gdrive://root/a", "@1", 100)
SECOND = Followed("gdrive://root/ü", "@2", 200)


async def test_a_mark_holds_when_its_scan_has_ended(store: Store) -> None:
    # Given a scan that has begun
    feeds = Feeds(store)
    assert await feeds.find("r") is None
    await feeds.begun("r", "job-1", FIRST)

    # When it has not ended, or another one has, then nothing holds yet
    assert await feeds.find("r") is None
    await feeds.ended("r", "job-0")
    assert await feeds.find("r") is None

    # When it has ended, perhaps twice, then its mark holds
    for _ in range(2):
        await feeds.ended("r", "job-1")
        assert await feeds.find("r") == FIRST
    assert await feeds.find("other") is None


async def test_a_scan_that_is_given_up_leaves_the_mark_before(store: Store) -> None:
    # Given a mark that holds, and a scan that is given up
    feeds = Feeds(store)
    await feeds.begun("r", "job-1", FIRST)
    await feeds.ended("r", "job-1")
    await feeds.begun("r", "job-2", SECOND)
    assert await feeds.find("r") == FIRST

    # When another is begun and ends, then its mark holds
    await feeds.begun("r", "job-3", SECOND)
    await feeds.ended("r", "job-2")
    assert await feeds.find("r") == FIRST
    await feeds.ended("r", "job-3")
    assert await feeds.find("r") == SECOND


async def test_what_is_forgotten_begins_anew(store: Store) -> None:
    # Given a mark that holds, and a scan under way
    feeds = Feeds(store)
    await feeds.begun("r", "job-1", FIRST)
    await feeds.ended("r", "job-1")
    await feeds.begun("r", "job-2", SECOND)

    # When it is forgotten, because records were deleted, then the scan under way does not bring it back
    await feeds.forget("r")
    await feeds.ended("r", "job-2")
    assert await feeds.find("r") is None
