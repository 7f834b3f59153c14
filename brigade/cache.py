"""`brigade cache`: what is recorded as published and as consumed. The twin of the HTTP API's /cache, over the same calls."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from brigade.invocation import FAILED, Invocation, echo_json, examples, pass_invocation, run
from brigade.services import opened_store
from common.errors import SettingsError
from common.redaction import printable
from common.state.cache import Cache, Kind

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from common.config import Settings

PAGE = 1000

_type = click.option("--type", "kind", type=click.Choice([kind.value for kind in Kind]), help="Records of one kind only.")
_name = click.option("--name", metavar="TYPE:KEY", help="One record: published:KEY or consumed:KEY. KEY may hold anything.")
_route = click.option("--route", help="The route; needed only where there are several.")
_json = click.option("--json", "as_json", is_flag=True, help="JSON as the HTTP API answers it.")


@click.group(short_help="Show or delete what is recorded as published and consumed.")
def cache() -> None:
    """What is recorded: which version of each object was published, and which is proved to be at its destination.

    Deleting records never deletes objects. Without them the next sweep looks at the destination and copies only what differs.
    """


@cache.command(
    epilog=examples(
        "brigade cache show --limit 10",
        "brigade cache show --type consumed --json",
        'brigade cache show --name "published:summer/beach 1.jpg"',
    )
)
@_type
@_name
@_route
@click.option("--limit", type=click.IntRange(min=1), help="At most so many records.")
@_json
@pass_invocation
def show(
    invocation: Invocation, *, kind: str | None, name: str | None, route: str | None, limit: int | None, as_json: bool
) -> int:
    """Show records."""
    settings = invocation.load({"redis"})
    return run(_show(settings, _wanted(kind, name, route), limit or sys.maxsize, _Json() if as_json else _Lines()))


@cache.command(
    epilog=examples(
        'brigade cache delete --name "consumed:summer/beach 1.jpg"',
        "brigade cache delete --type published --yes",
    )
)
@_type
@_name
@_route
@click.option("--yes", is_flag=True, help="Do not ask.")
@_json
@pass_invocation
def delete(invocation: Invocation, *, kind: str | None, name: str | None, route: str | None, yes: bool, as_json: bool) -> int:
    """Delete records, after asking. Objects stay where they are."""
    settings = invocation.load({"redis"})
    wanted = _wanted(kind, name, route)
    if not yes:
        where = f"route {printable(route)}" if route else "every route" if len(settings.routes) > 1 else "the route"
        click.confirm(f"Delete {printable(wanted.words)} of {where}?", abort=True, err=True)
    deleted = run(_delete(settings, wanted))
    if as_json:
        echo_json({"deleted": deleted})
    else:
        click.echo(f"{deleted} deleted")
    return FAILED if wanted.key is not None and not deleted else 0


@dataclass(frozen=True, slots=True)
class _Wanted:
    """Which records are meant: all, one kind, or one record (`key`)."""

    route: str | None
    kind: Kind | None = None
    key: str | None = None

    @property
    def words(self) -> str:
        if self.key is not None:
            return f"the record {self.kind}:{self.key}"
        return f"every {self.kind} record" if self.kind else "every record"


def _wanted(kind: str | None, name: str | None, route: str | None) -> _Wanted:
    """TYPE:KEY is taken apart at the first colon: a key may hold more of them."""
    if name is None:
        return _Wanted(route, None if kind is None else Kind(kind))
    if kind is not None:
        raise SettingsError(["--type and --name do not go together: the name begins with its type"])
    head, colon, key = name.partition(":")
    if not colon or head not in list(Kind):
        raise SettingsError([f"--name is {' or '.join(f'{known}:KEY' for known in Kind)}"])
    return _Wanted(route, Kind(head), key)


async def _show(settings: Settings, wanted: _Wanted, limit: int, output: _Lines | _Json) -> int:
    async with opened_store(settings) as store:
        records = Cache(store)
        route = await _route_meant(settings, records, wanted.route)
        if wanted.kind is not None and wanted.key is not None:
            record = await records.get(route, wanted.kind, wanted.key)
            if record is None:
                click.echo(f"brigade: there is no record {printable(f'{wanted.kind}:{wanted.key}')}", err=True)
                return FAILED
            output.record(f"{wanted.kind}:{wanted.key}", record)
        else:
            async for name, record in _pages(records, route, wanted.kind, limit):
                output.record(name, record)
        output.end()
        return 0


async def _pages(records: Cache, route: str, kind: Kind | None, limit: int) -> AsyncIterator[tuple[str, dict[str, Any]]]:
    cursor: str | None = None
    left = limit
    while left > 0:
        page, cursor = await records.page(route, kind, cursor, min(PAGE, left))
        for name, record in page:
            yield name, record
        left -= len(page)
        if cursor is None:
            return


async def _delete(settings: Settings, wanted: _Wanted) -> int:
    async with opened_store(settings) as store:
        records = Cache(store)
        route = await _route_meant(settings, records, wanted.route)
        if wanted.kind is not None and wanted.key is not None:
            return int(await records.delete_one(route, wanted.kind, wanted.key))
        return await records.delete(route, wanted.kind)


async def _route_meant(settings: Settings, records: Cache, given: str | None) -> str:
    """The route that is named, or the only one. Without routes in the settings those count that have records.

    Raises SettingsError that names them where there are several.
    """
    names = [route.name for route in settings.routes] or await records.routes()
    if given is None and len(names) > 1:
        raise SettingsError([f"there are several routes: name one with --route: {', '.join(names)}"])
    if given is not None and given not in names:
        raise SettingsError([f"there is no route {given!r}: known are {', '.join(names) or 'none'}"])
    return given or next(iter(names), "default")


class _Lines:
    """Records for people, one per line."""

    def record(self, name: str, record: dict[str, Any]) -> None:
        details = "  ".join(f"{field}={value}" for field, value in record.items() if field != "key" and value is not None)
        click.echo(f"{printable(name)}  {printable(details)}")

    def end(self) -> None:
        """Nothing more to say."""


class _Json:
    """One JSON object, written record by record: a million records take no more memory than a page of them."""

    def __init__(self) -> None:
        self._before = "{"

    def record(self, name: str, record: dict[str, Any]) -> None:
        click.echo(f"{self._before}{json.dumps(name)}:{json.dumps(record, separators=(',', ':'))}")
        self._before = ","

    def end(self) -> None:
        click.echo("{}" if self._before == "{" else "}")
