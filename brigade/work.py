"""`brigade work`: workers that move objects."""

from __future__ import annotations

import click

from brigade.invocation import Invocation, examples, pass_invocation
from brigade.kill import on_step
from worker import processes as workers


@click.command(short_help="Move objects, until told to stop.", epilog=examples("brigade work", "brigade work --processes 4"))
@click.option(
    "--processes",
    type=click.IntRange(1, 256),
    help="Worker processes on this machine. [default: one per core, BRIGADE_PROCESSES]",
)
@click.option("--slots", type=click.IntRange(1, 10_000), help="Objects in flight per process. [default: 128, SYSTEM_MAX_WORKERS]")
@pass_invocation
def work(invocation: Invocation, *, processes: int | None, slots: int | None) -> int:
    """Take tasks off the queue and move the objects, until told to stop.

    Any number of workers may run, on any number of machines. On SIGTERM or Ctrl-C a worker takes no more, finishes what it can
    within BRIGADE_GRACE_SECONDS, hands the rest back and ends.

    Needs the same routes as the publisher, the queue, Redis (REDIS_ADDRESS), and access to both ends.
    """
    settings = invocation.load({"routes", "queue", "redis"}, BRIGADE_PROCESSES=processes, SYSTEM_MAX_WORKERS=slots)
    return workers.run(settings, settings.worker.processes, on_step(invocation.environ))
