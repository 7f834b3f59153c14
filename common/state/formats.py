"""The format of what is stored in Redis, as a number: read, migrated, or refused by name.

1    until revision 7e22b72; has no number. Jobs counted tasks by number in a bitmap, and were listed in `scanning`.
2    the flight table; one open job for each route (jobs.py).

Records and receipts (records.py), uploads, leases and feeds are the same in both.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from common.errors import SettingsError
from common.telemetry import get_logger

if TYPE_CHECKING:
    from common.state.store import Store

log = get_logger(__name__)

FORMAT = 2
ENDED = "the version of Bucket Brigade that began this job counted in another way: the next scan counts afresh, nothing is lost"


async def agree_on_format(store: Store) -> None:
    """See to it that the state has our format. May be called by several processes at once, and again.

    Raises SettingsError for the format of a newer version.
    """
    (stored, routes) = await store.send([("GET", store.keys.format()), ("SMEMBERS", store.keys.routes())])
    found = 1 if stored is None else int(stored)
    if found > FORMAT:
        remedy = "run the version that wrote it, or set BRIGADE_REDIS_PREFIX to begin afresh"
        raise SettingsError([f"REDIS_ADDRESS: the state there has format {found}, this version reads up to {FORMAT}: {remedy}"])
    if found == FORMAT:
        return
    for route in sorted(name.decode() for name in routes):
        ended = await store.run("migrate", [store.keys.route(route)], [int(time.time()), ENDED])
        log.info("the state of a route was brought to a new format", action="state_migrated", route=route, jobs_ended=ended)
    await store.send([("SET", store.keys.format(), FORMAT)])
