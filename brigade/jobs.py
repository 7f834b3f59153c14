"""`brigade jobs`: what the publisher did, run by run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from brigade.invocation import Invocation, echo_json, examples, pass_invocation, run, table
from brigade.services import opened_store
from common.redaction import printable
from common.state.jobs import Jobs
from publisher.api.jobs import describe

if TYPE_CHECKING:
    from collections.abc import Iterator

    from common.config import Settings

_COLUMNS = ("id", "kind", "state", "scans", "listed", "moved", "proven", "in_flight", "failed", "left_out", "bytes", "started")
_COUNTED = {
    "missing": "were listed and not found when they were read; the next full scan decides",
    "overwritten": "written over what was there and no copy of ours (`on_conflict` in docs/settings.md)",
    "metadata_lost": "arrived without all of their metadata (docs/metadata.md)",
    "unverified": "moved, though one end states no checksum to compare them with (docs/design.md)",
    "distrusted": "were not at the destination as they had been copied, and were looked at again",
    "extra": "at the destination that the source does not have: left as they are",
}


@click.group(short_help="List what the publisher did.")
def jobs() -> None:
    """What the publisher did: one job per run over a route."""


@jobs.command("list", epilog=examples("brigade jobs list --limit 5", "brigade jobs list --json"))
@click.option("--limit", type=click.IntRange(1, 1000), default=20, show_default=True, help="The most recent ones.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object per line.")
@pass_invocation
def list_jobs(invocation: Invocation, *, limit: int, as_json: bool) -> None:
    """Show the most recent jobs with their counters, the newest first."""
    recent = run(_recent(invocation.load({"redis"}), limit))
    if as_json:
        for job in recent:
            echo_json(job)
        return
    if not recent:
        click.echo("no job yet: `brigade publish` opens one for every route at start", err=True)
        return
    table([_COLUMNS, *(tuple(_cell(job[column]) for column in _COLUMNS) for job in recent)])
    for job in recent:
        for said in _remarks(job):
            click.echo(f"{job['id']}: {said}")


def _remarks(job: dict[str, Any]) -> Iterator[str]:
    """What does not fit into the table."""
    if job["message"]:
        yield printable(job["message"])
    for reason, count in job["left_out"].items():
        yield f"{count} left out: {reason}"
    for counter, said in _COUNTED.items():
        if count := job[counter]:
            yield f"{count} {said}"
    if job["unlisted"]:
        yield f"the destination was not compared to its end: {printable(job['unlisted'])}"
    if job["sweeps"] > 1:
        yield f"stands for {job['sweeps']} sweeps since {job['since']} that found nothing to do"
    if job["unbalanced"]:
        yield f"its counters do not add up (by {job['unbalanced']}): a fault of Bucket Brigade, please report it"
    if job["parked"]:
        yield f"waits until {job['parked']['until']}: {printable(job['parked']['reason'])}"
    if held := job["held"]:
        yield f"held: {printable(held['reason'])}; tried again at {held['until']}"


def _cell(value: Any) -> str:
    return str(sum(value.values()) if isinstance(value, dict) else value)


async def _recent(settings: Settings, limit: int) -> list[dict[str, Any]]:
    async with opened_store(settings) as store:
        return [describe(job) for job in await Jobs(store).recent(limit)]
