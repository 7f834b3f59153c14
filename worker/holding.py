"""A circuit breaker for each end of a route: what refuses everything is left alone for a while, and tried again by itself.

When one end has refused different objects in a row, for a reason that is of the location and not of an object (`of_location`: no
permission, no credentials, no bucket, no room), and has served none in between, the route is held for the whole fleet: deliveries
go back to the queue uncounted. After a pause one worker tries it with one object. If that is refused, the pause doubles; if it is
served, the route goes on. One refused object among good ones never holds a route: each success begins the row anew.

After FREE_TRIALS trials the objects that are tried count as failed, so that a route of which nothing but refused objects is left
comes to its end, one object for each pause.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from common.telemetry import get_logger

if TYPE_CHECKING:
    from collections.abc import Callable

    from common.errors import ObjectError
    from common.state.holds import Hold, Holds
    from common.task import Task

log = get_logger(__name__)

FREE_TRIALS = 10


@dataclass(slots=True)
class _Row:
    """Objects that one end has refused since it last served one, all for this reason."""

    category: str
    keys: set[str] = field(default_factory=set)


class Holding:
    """What this process has seen of its routes' ends, and its trials of held routes. `now` is in seconds since 1970."""

    def __init__(
        self, holds: Holds, *, after: int, pauses: tuple[float, float], trial_seconds: float, now: Callable[[], float]
    ) -> None:
        """`after` objects in a row hold a route, 0: none do. `pauses`: the first and the longest, in seconds. A trial that has
        not ended after `trial_seconds` no longer keeps others from trying.
        """
        self._holds = holds
        self._after = after
        self._pauses = pauses
        self._trial_seconds = trial_seconds
        self._now = now
        self._rows: dict[tuple[str, bool], _Row] = {}
        self._trials: dict[str, tuple[str, str]] = {}
        """route -> (key of the object that is tried, the trial's name)"""

    def in_a_row(self, task: Task, error: ObjectError) -> bool:
        """Note that an end has refused the object; whether the route is to be held for it."""
        if not self._after or not error.of_location or error.at_source is None:
            return False
        row = self._rows.get((task.route, error.at_source))
        if row is None or row.category != error.category:
            row = self._rows[task.route, error.at_source] = _Row(error.category)
        if len(row.keys) < self._after:
            row.keys.add(task.key)
        return len(row.keys) >= self._after

    def tries(self, task: Task) -> bool:
        """Whether the object is the one with which this process tries its held route."""
        return self._trials.get(task.route, ("", ""))[0] == task.key

    async def hold(self, task: Task, error: ObjectError) -> Hold:
        """Hold the route, or go on holding it. Says so once for the fleet."""
        end = "source" if error.at_source else "destination"
        _, trial = self._trials.pop(task.route, ("", "")) if self.tries(task) else ("", "")
        hold = await self._holds.hold(
            task.route,
            f"{end} {error.category}",
            f"the {end} refuses every object ({error.category}): {error}",
            now=self._now(),
            pauses=self._pauses,
            trial=trial,
        )
        if hold.begun:
            log.error(
                "an end of a route refuses everything: the route is held, and tried again by itself",
                action="route_held",
                route=task.route,
                end=end,
                category=error.category,
                reason=hold.parking.reason,
                next_try_seconds=round(hold.parking.until - self._now(), 1),
            )
        return hold

    async def attempt(self, task: Task) -> Hold | None:
        """Ask for the trial of a held route whose pause is over, with this object; None: it is not held any more."""
        hold = await self._holds.attempt(task.route, now=self._now(), seconds=self._trial_seconds)
        if hold is not None and hold.trial:
            self._trials[task.route] = (task.key, hold.trial)
        return hold

    def served(self, task: Task, *, source: bool, destination: bool) -> bool:
        """Note which ends have just served the object; whether it was a trial, which then is to be ended."""
        for at_source, well in ((True, source), (False, destination)):
            if well and self._rows:
                self._rows.pop((task.route, at_source), None)
        return source and destination and self.tries(task)

    def forget(self, route: str) -> None:
        """The route waits no longer: each row begins anew. Until then every further refusal finds its row full."""
        for at_source in (True, False):
            self._rows.pop((route, at_source), None)

    async def end(self, task: Task, *, well: bool) -> None:
        """End the trial with this object, if it is one. Says once for the fleet that the route goes on."""
        if not self.tries(task):
            return
        _, trial = self._trials.pop(task.route)
        if await self._holds.end(task.route, trial, now=self._now(), well=well):
            log.warning("a held route was tried and goes on", action="route_goes_on", route=task.route)
