"""The named points between an effect, its record and its acknowledgement.

A process may die at any of them and nothing is lost; the kill tests end a process at each (`BRIGADE_KILL_AT`, see
CONTRIBUTING.md).
"""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum


class Step(StrEnum):
    # publisher, for each page
    PAGE_LISTED = "publisher.page_listed"
    PAGE_DIFFED = "publisher.page_diffed"
    PAGE_RESERVED = "publisher.page_reserved"
    BATCH_QUEUED = "publisher.batch_queued"
    BATCH_RECORDED = "publisher.batch_recorded"
    SCAN_ENDED = "publisher.scan_ended"
    # worker, for each large object, and then for each object
    HANDED_ON = "worker.handed_on"
    RECEIVED = "worker.received"
    CLAIMED = "worker.claimed"
    SOURCE_READ = "worker.source_read"
    UPLOAD_BEGUN = "worker.upload_begun"
    PART_WRITTEN = "worker.part_written"
    WRITTEN = "worker.written"
    VERIFIED = "worker.verified"
    RECORDED = "worker.recorded"
    ACKNOWLEDGED = "worker.acknowledged"


OnStep = Callable[[Step], None]


def ignore(step: Step) -> None:
    """Go on. What every process does outside the kill tests."""
