"""`brigade health`: for the health check of a container."""

from __future__ import annotations

from dataclasses import asdict

import click

from brigade.invocation import FAILED, Invocation, echo_json, examples, pass_invocation
from common.heartbeat import Sign, directory, signs

MAX_AGE = 60.0


@click.command(
    short_help="Whether the processes of this machine are at work.",
    epilog=examples("brigade health", "brigade health --alive --max-age 300"),
)
@click.option("--max-age", type=click.FloatRange(min=1), default=MAX_AGE, help=f"Seconds. [default: {MAX_AGE:g}]")
@click.option("--alive", is_flag=True, help="Ask only whether they turn, not whether Redis and the queue answer them.")
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
@pass_invocation
def health(invocation: Invocation, *, max_age: float, alive: bool, as_json: bool) -> int:
    """Whether every brigade process of this user on this machine, or in this container, has shown lately that it is at work.

    Each writes every ten seconds when its event loop last turned and when Redis and the queue last answered it
    (BRIGADE_HEARTBEAT_DIR). Exit code 0: all did within --max-age seconds; 1: one did not, or there is none.
    """
    settings = invocation.load(set())
    found = signs(directory(settings.health.heartbeat_dir))
    faults = {sign.pid: _fault(sign, max_age, alive=alive) for sign in found}
    healthy = bool(found) and not any(faults.values())
    if as_json:
        echo_json({"healthy": healthy, "processes": [{**asdict(sign), "fault": faults[sign.pid]} for sign in found]})
    else:
        for sign in found:
            click.echo(f"{sign.role} {sign.pid}: {faults[sign.pid] or 'at work'}")
        if not found:
            click.echo("no brigade process of this user shows signs of life here", err=True)
    return 0 if healthy else FAILED


def _fault(sign: Sign, max_age: float, *, alive: bool) -> str | None:
    if sign.beat_age > max_age:
        return f"has not turned for {sign.beat_age:.0f} s: frozen, or the machine is overloaded"
    if alive:
        return None
    if sign.trip_age is None:
        return "Redis and the queue have not answered it yet"
    if sign.trip_age > max_age:
        return f"Redis or the queue has not answered it for {sign.trip_age:.0f} s"
    return None
