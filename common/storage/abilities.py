"""What a service was found to do, by its own answers: asked once, remembered for a day by all workers, and dropped at the first
answer that says otherwise.

Much speaks S3's protocol, and a service that does not know a header ignores it without a word. What is not known to be kept costs
a look before each write and an MD5 of every byte; what was asked costs nothing. A finding is dropped after a day, because a
service may have been replaced under its name, and is asked anew while it lasts, after each thousand writes.
"""

from __future__ import annotations

import time
from contextlib import asynccontextmanager
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from common.errors import StateUnavailable
from common.telemetry import get_logger

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping

    from common.storage.shared import Shared

log = get_logger(__name__)

FRESH = 24 * 3600.0
"""Seconds for which a finding holds."""
ASKED_AGAIN = 3600.0
"""Seconds from a question that was not answered to the next: permissions may forbid it, and each costs a write."""
WRITES = 1000
"""Writes that rest on a finding before the question is asked again."""
READ_AGAIN = 60.0
"""Seconds after which what the others have found is read again."""


class Ability(StrEnum):
    CONDITIONS = "conditions"
    """A write whose If-None-Match or If-Match does not hold is refused."""
    CHECKSUMS = "checksums"
    """A write whose CRC32C is not that of its bytes is refused, and the answer to any other repeats it."""
    PART_CHECKSUMS = "part_checksums"
    """The same for the parts of an upload."""
    NEW_HEADERS = "new_headers"
    """Requests with such headers are taken, kept or not; only "no" is ever found out."""
    START_ANYWHERE = "start_anywhere"
    """A listing begins behind any text, and so can be divided."""


@dataclass(frozen=True, slots=True)
class Finding:
    kept: bool
    how: str
    """For people: which answer said so."""
    at: float
    """Seconds since 1970."""


class Abilities:
    """Of one service (its origin), for one process. `given`: what the settings say of it, which is not asked.

    Used by many coroutines at once.
    """

    def __init__(self, service: str, given: Mapping[Ability, bool], shared: Shared, now: Callable[[], float] = time.time) -> None:
        self.service = service
        self._given = given
        self._shared = shared
        self._now = now
        self._found: dict[str, Finding] = {}
        self._read_at: float | None = None
        self._asked_at: dict[Ability, float] = {}
        self._rests: dict[Ability, int] = {}
        self._asking: set[Ability] = set()

    async def refresh(self) -> None:
        """Read what others have found, from time to time. To be called before the others are."""
        now = self._now()
        if len(self._given) == len(Ability) or (self._read_at is not None and now - self._read_at < READ_AGAIN):
            return
        self._read_at = now
        try:
            self._found = merged(self._found, await self._shared.findings(self.service))
        except StateUnavailable as error:
            log.info("what is known of a service could not be read", action="findings_unread", error=str(error))

    def keeps(self, ability: Ability) -> bool:
        """Known to. False where it is not known."""
        if ability in self._given:
            return self._given[ability]
        found = self._known(ability)
        return found is not None and found.kept

    def is_given(self, ability: Ability) -> bool:
        """By the settings: no answer changes it."""
        return ability in self._given

    def lacks(self, ability: Ability) -> bool:
        """Known not to."""
        if ability in self._given:
            return not self._given[ability]
        found = self._known(ability)
        return found is not None and not found.kept

    def rest(self, ability: Ability) -> bool:
        """`keeps`, for a write that rests on it: after so many of them it is asked again."""
        if not self.keeps(ability):
            return False
        self._rests[ability] = self._rests.get(ability, 0) + 1
        return True

    @asynccontextmanager
    async def question(self, ability: Ability) -> AsyncIterator[bool]:
        """Whether to ask the service now, and nobody else meanwhile."""
        if not self._due(ability):
            yield False
            return
        self._asking.add(ability)
        self._asked_at[ability] = self._now()
        try:
            yield True
        finally:
            self._asking.discard(ability)

    async def found(self, ability: Ability, *, kept: bool, how: str) -> None:
        """Holds from now on, for everybody."""
        if ability in self._given:
            return
        before = self._known(ability)
        finding = Finding(kept, how, self._now())
        self._found[ability] = finding
        self._rests[ability] = 0
        if before is None or before.kept != kept:
            said = {"service": self.service, "ability": ability.value, "kept": kept, "how": how}
            say = log.warning if before is not None and before.kept else log.info
            say("what a service does was found out", action="ability_found", **said)
        try:
            await self._shared.found(self.service, ability, finding)
        except StateUnavailable as error:
            log.info("what was found out of a service could not be kept", action="finding_unkept", error=str(error))

    def _known(self, ability: Ability) -> Finding | None:
        found = self._found.get(ability)
        return found if found is not None and self._now() - found.at < FRESH else None

    def _due(self, ability: Ability) -> bool:
        if ability in self._given or ability in self._asking:
            return False
        if self._known(ability) is not None:
            return self._rests.get(ability, 0) >= WRITES
        return self._now() - self._asked_at.get(ability, -ASKED_AGAIN) >= ASKED_AGAIN


def merged(one: Mapping[str, Finding], other: Mapping[str, Finding]) -> dict[str, Finding]:
    """The newer of each."""
    newer = {name: found for name, found in other.items() if name not in one or one[name].at < found.at}
    return {**one, **newer}
