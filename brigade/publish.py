"""`brigade publish`: the publisher and its HTTP API."""

from __future__ import annotations

import click

from brigade.invocation import Invocation, examples, pass_invocation
from brigade.kill import on_step
from common import loop
from common.log_names import Program, main_program
from common.settings import EVERYTHING
from publisher import runner


@click.command(
    short_help="Find what is new and queue it; serve the HTTP API.",
    epilog=examples("brigade publish", "brigade --config /etc/brigade.toml publish --port 8080"),
)
@click.option("--host", help="Where the HTTP API listens. [default: 127.0.0.1, BRIGADE_HTTP_HOST]")
@click.option("--port", type=click.IntRange(0, 65535), help="Its port. [default: 8080, BRIGADE_HTTP_PORT]")
@click.option(
    "--sweep-seconds", type=click.FloatRange(min=1), help="Time from sweep to sweep. [default: 600, BRIGADE_SWEEP_SECONDS]"
)
@pass_invocation
def publish(invocation: Invocation, *, host: str | None, port: int | None, sweep_seconds: float | None) -> int:
    """Find what is new or changed and queue it, at once and every ten minutes; serve the HTTP API.

    Several publishers may run: one of them sweeps, all of them serve. Ends on SIGTERM or Ctrl-C; what was not finished goes on
    where it stopped when a publisher runs again.

    Needs a route, a queue, Redis (REDIS_ADDRESS), SYSTEM_ADMIN_USERNAME and SYSTEM_ADMIN_PASSWORD.
    """
    settings = invocation.load(EVERYTHING, BRIGADE_HTTP_HOST=host, BRIGADE_HTTP_PORT=port, BRIGADE_SWEEP_SECONDS=sweep_seconds)
    with main_program(Program.PUBLISHER):
        return loop.run(runner.run(settings, on_step(invocation.environ)))
