"""What to check when one end of a route cannot be listed. The backends say what happened; this says what a person can do."""

from __future__ import annotations

from typing import TYPE_CHECKING

from common.errors import Category

if TYPE_CHECKING:
    from common.config import Route
    from common.errors import ObjectError

_ADVICE = {
    Category.LOCATION_MISSING: "Check that the bucket, directory or folder exists and is spelt like this, and that the region"
    " is right",
    Category.FORBIDDEN: "Check that the credentials are the right ones, and that they may list it"
    " (s3:ListBucket, storage.objects.list; on Drive, that the folder is shared with them)",
    Category.UNAUTHENTICATED: "Check that the credentials are right and have not expired; the next run tries again",
    Category.UNAVAILABLE: "The service or the network is away; the next run goes on where this one stopped",
    Category.PARKED: "A limit of the day is used up; a run after its reset goes on where this one stopped",
    Category.RATE_LIMITED: "The service asks for fewer requests; the next run goes on where this one stopped",
}
_OTHERWISE = "Check this end of the route, its region and its endpoint"


def explain(route: Route, error: ObjectError, *, at_destination: bool = False) -> str:
    """What, where, and what to check, in one line."""
    place = route.destination if at_destination else route.source
    what = str(error).rstrip(". ")
    where = "" if what.startswith(("cannot list ", "cannot open ")) else f"cannot list {place}: "
    return f"route {route.name}: {where}{what}. {_ADVICE.get(error.category, _OTHERWISE)}."
