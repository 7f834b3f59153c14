"""`brigade errors`: what could not be moved, sending it again, and discarding it."""

from __future__ import annotations

import sys
from collections import Counter
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

from brigade.error_topic import Entry, Outcome, Selection, discard, look, redrive, total, with_history
from brigade.invocation import Invocation, echo_json, examples, pass_invocation, run
from brigade.services import opened_queue, opened_store
from common.errors import Category
from common.queues.registry import open_errors, open_queue
from common.redaction import printable
from common.state.flight import Flight
from common.state.reported import Reported
from common.telemetry import get_logger

if TYPE_CHECKING:
    from common.config import Settings

log = get_logger(__name__)

_category = click.option(
    "--category",
    type=click.Choice([category.value for category in Category]),
    metavar="CATEGORY",
    help=f"One kind of failure only: {', '.join(Category)}.",
)
_route = click.option("--route", help="One route only.")
_json = click.option("--json", "as_json", is_flag=True, help="One JSON object per line.")

_KEPT: dict[Outcome, str] = {
    "not_a_report": "not a report of ours",
    "no_task": "there never was a task: it is tried again when a scan lists it in a form that can be moved",
    "truncated": "its message was too large to keep whole",
    "failed_again": "it has failed again since this command began",
}


@click.group(short_help="List what could not be moved; send it again, or discard it.")
def errors() -> None:
    """What could not be moved: every task that was given up is kept on the error topic with its reason."""


@errors.command("list", epilog=examples("brigade errors list", "brigade errors list --category forbidden --json"))
@_category
@_route
@click.option("--limit", type=click.IntRange(1, 10_000), default=100, show_default=True, help="At most so many.")
@_json
@pass_invocation
def list_errors(invocation: Invocation, *, category: str | None, route: str | None, limit: int, as_json: bool) -> None:
    """Show what could not be moved and why. The error topic stays as it is."""
    settings = invocation.load({"queue"})
    found = run(_look(settings, Selection(category, route), limit))
    for entry in found:
        if as_json:
            echo_json(described(entry))
        else:
            click.echo(line(entry))
    if not as_json:
        more = ", there may be more: --limit" if len(found) == limit else ""
        seen = (
            "" if settings.queue.kind == "redis" else ", among what Pub/Sub has handed out just now; what others hold is not seen"
        )
        click.echo(f"{len(found)} shown{more}{seen}" if found else f"nothing here{seen}", err=True)


@errors.command(
    "redrive",
    short_help="Send the tasks to the queue again.",
    epilog=examples("brigade errors redrive --dry-run", "brigade errors redrive --category forbidden --route photos"),
)
@_category
@_route
@click.option("--limit", type=click.IntRange(min=1), help="At most so many. [default: all]")
@click.option("--dry-run", is_flag=True, help="Only say what would be sent.")
@_json
@pass_invocation
def redrive_errors(
    invocation: Invocation, *, category: str | None, route: str | None, limit: int | None, dry_run: bool, as_json: bool
) -> None:
    """Send the original tasks to the queue again, once the cause is gone.

    A task that was sent is taken off the error topic; everything else stays on it.
    """
    settings = invocation.load({"queue", "redis"})
    counts = run(_redrive(settings, Selection(category, route), limit or sys.maxsize, dry_run=dry_run, as_json=as_json))
    sent = counts["would_send"] if dry_run else counts["sent"]
    if as_json:
        echo_json({"sent": 0 if dry_run else sent, **{outcome: counts[outcome] for outcome in ("would_send", *_KEPT)}})
        return
    click.echo(f"{sent} {'would be sent' if dry_run else 'sent'} again")
    for outcome, reason in _KEPT.items():
        if counts[outcome]:
            click.echo(f"{counts[outcome]} left on the error topic: {reason}")


@errors.command(
    "discard",
    short_help="Take reports off for good, without sending their tasks again.",
    epilog=examples("brigade errors discard --category archived --reason 'stays in Glacier'"),
)
@_category
@_route
@click.option("--reason", required=True, help="Why nobody needs them any more; it goes to the log.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@_json
@pass_invocation
def discard_errors(
    invocation: Invocation, *, category: str | None, route: str | None, reason: str, yes: bool, as_json: bool
) -> None:
    """Take reports off the error topic for good. Their objects stay uncopied, unless a later sweep publishes them again."""
    settings = invocation.load({"queue", "redis"})
    selection = Selection(category, route)
    if not yes:
        try:
            click.confirm(f"discard {run(_total(settings, selection)):,} reports?", abort=True, err=True)
        except click.Abort:
            click.echo("\nnothing was discarded; with --yes nobody is asked", err=True)
            raise
    discarded = run(_discard(settings, selection))
    log.info(
        "reports were discarded", action="errors_discarded", reports=discarded, reason=reason, category=category, route=route
    )
    if as_json:
        echo_json({"discarded": discarded, "reason": reason})
    else:
        click.echo(f"{discarded:,} discarded: {printable(reason)}")


def described(entry: Entry) -> dict[str, Any]:
    """The entry as plain JSON values, without the payload: it repeats the rest, and may be large."""
    report = entry.report
    if report is None:
        return {"category": None, "message": f"not a report of ours: {entry.fault}", "bytes": len(entry.delivery.payload)}
    return {
        "category": report.category,
        "message": report.message,
        "route": report.route,
        "key": report.key,
        "attempts": report.attempts,
        "worker": report.worker,
        "queued": None if report.queued is None else report.queued.isoformat(),
        "failed": report.failed.isoformat(),
        "times": entry.times,
        "first": None if entry.first is None else datetime.fromtimestamp(entry.first, UTC).isoformat(timespec="seconds"),
    }


def line(entry: Entry) -> str:
    """The entry for people: when, what, which object, why."""
    report = entry.report
    if report is None:
        return printable(f"{'-':<20}  not_a_report  {entry.fault}")
    which = f"{report.route}: {report.key}" if report.key is not None else "a message that is no task"
    when = report.failed.strftime("%Y-%m-%d %H:%M:%SZ")
    times = "1 attempt" if report.attempts == 1 else f"{report.attempts} attempts"
    if entry.times > 1 and entry.first is not None:
        times += f", reported {entry.times} times since {datetime.fromtimestamp(entry.first, UTC):%Y-%m-%d %H:%M:%SZ}"
    return printable(f"{when}  {report.category}  {which}  ({times})  {report.message}")


async def _look(settings: Settings, selection: Selection, limit: int) -> list[Entry]:
    async with opened_queue(settings, open_errors(settings)) as queue:
        found = await look(queue, selection, limit)
    if settings.queue.kind == "redis" or not settings.redis.address:
        return found
    async with opened_store(settings) as store:
        return await with_history(found, Reported(store))


async def _total(settings: Settings, selection: Selection) -> int:
    async with opened_queue(settings, open_errors(settings)) as queue:
        return await total(queue, selection)


async def _discard(settings: Settings, selection: Selection) -> int:
    async with opened_queue(settings, open_errors(settings)) as queue:
        if settings.queue.kind == "redis":
            return sum([len(page) async for page in discard(queue, selection)])
        async with opened_store(settings) as store:
            return sum([len(page) async for page in discard(queue, selection, Reported(store))])


async def _redrive(settings: Settings, selection: Selection, limit: int, *, dry_run: bool, as_json: bool) -> Counter[Outcome]:
    counts: Counter[Outcome] = Counter()
    async with (
        opened_queue(settings, open_errors(settings)) as error_topic,
        opened_queue(settings, open_queue(settings)) as tasks,
        opened_store(settings) as store,
    ):
        flight, started = Flight(store), datetime.now(UTC)
        found = redrive(
            error_topic, tasks, flight, selection, limit=limit, dry_run=dry_run, started=started, reported=Reported(store)
        )
        async for entry, outcome in found:
            counts[outcome] += 1
            if dry_run and outcome == "would_send":
                if as_json:
                    echo_json(described(entry))
                else:
                    click.echo(line(entry))
    return counts
