"""Jobs over HTTP: ask for a scan now, and see how it and the ones before it went."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from flask import Response, request

from common.telemetry import get_logger
from publisher.api.query import Query
from publisher.api.replies import ApiError, reply
from publisher.position import Position

if TYPE_CHECKING:
    from common.state.jobs import Job
    from publisher.api.desk import Desk

log = get_logger(__name__)

STATE_SECONDS = 10.0
USUAL = 100
MOST = 1000
COUNTERS = (
    "scans", "published", "listed", "moved", "proven", "in_flight", "missing", "failed", "bytes", "metadata_lost", "unverified",
    "overwritten", "unbalanced", "distrusted", "extra", "unlisted", "sweeps",
)  # fmt: skip
ASK = 'send {"route": "NAME"} for one route, or nothing for all of them; with "reconcile": true the destination is listed, too'


class JobViews:
    """The views of /jobs…; called by many threads at once."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    def request_scan(self) -> Response:
        Query(request.query_string, ())
        routes, reconcile = self._asked_for(request.get_data())
        jobs = self._desk.bridge.call(self._desk.scans.request(routes, reconcile=reconcile), STATE_SECONDS)
        ids = [job.id for job in jobs]
        log.info("scans asked for through the API", action="scan_requested", routes=routes, jobs=ids, reconcile=reconcile)
        return reply({"jobs": [describe(job) for job in jobs]}, 202)

    def show_recent(self) -> Response:
        limit = Query(request.query_string, {"limit"}).limit() or USUAL
        jobs = self._desk.bridge.call(self._desk.jobs.recent(min(limit, MOST)), STATE_SECONDS)
        return reply({"jobs": [describe(job) for job in jobs]})

    def show_one(self, job: str) -> Response:
        Query(request.query_string, ())
        found = self._desk.bridge.call(self._desk.jobs.get(job), STATE_SECONDS)
        if found is None:
            raise ApiError(404, f"no job {job[:80]!r}; finished jobs are kept for 7 days")
        return reply(describe(found))

    def _asked_for(self, body: bytes) -> tuple[list[str], bool]:
        """Names of routes, and whether their destinations are to be listed, too."""
        if not body.strip():
            return list(self._desk.routes), False
        try:
            wanted = json.loads(body)
        except (ValueError, RecursionError) as error:
            raise ApiError(400, f"the body is not JSON: {ASK}") from error
        if not isinstance(wanted, dict) or set(wanted) - {"route", "reconcile"}:
            raise ApiError(400, f"the body is not understood: {ASK}")
        route, reconcile = wanted.get("route"), wanted.get("reconcile", False)
        if not isinstance(reconcile, bool):
            raise ApiError(400, f"reconcile is true or false: {ASK}")
        if route is None:
            return list(self._desk.routes), reconcile
        if not isinstance(route, str):
            raise ApiError(400, f"route is a name: {ASK}")
        if route not in self._desk.routes:
            raise ApiError(404, f"no route {route[:80]!r}; there is: {', '.join(self._desk.routes)}")
        return [route], reconcile


def describe(job: Job) -> dict[str, Any]:
    """Ready for JSON. `after` is the place in the listing behind which the scan goes on."""
    return {
        "id": job.id,
        "route": job.route,
        "kind": job.kind,
        "state": job.state,
        "message": job.message,
        "parked": _waiting(job, held=False),
        "held": _waiting(job, held=True),
        "after": Position.of(job.checkpoint).after,
        **{name: getattr(job, name) for name in COUNTERS},
        "left_out": dict(job.left_out),
        "since": _iso(job.since),
        "started": _iso(job.started),
        "scanned": _iso(job.scanned),
        "finished": _iso(job.finished),
    }


def _waiting(job: Job, *, held: bool) -> dict[str, Any] | None:
    """What the job's route waits for: a limit of the day, or an end that refuses everything."""
    if job.parked is None or bool(job.parked.held) != held:
        return None
    return {"until": _iso(int(job.parked.until)), "reason": job.parked.reason}


def _iso(moment: int | None) -> str | None:
    return None if moment is None else datetime.fromtimestamp(moment, UTC).isoformat()
