"""The `brigade` command. Every command is a file of its own; here they are put on one list, and every expected error ends."""

from __future__ import annotations

import io
import os
import sys
from importlib import import_module
from importlib.metadata import version
from pathlib import Path

import click

from brigade.invocation import FAILED, Invocation, complain
from common import telemetry
from common.config import LogSettings
from common.errors import BrigadeError

EPILOG = """
\b
Examples
  brigade sync s3://photos gs://photos-copy     copy a bucket from this machine, nothing to set up
  brigade check-config                          what is set, and what is wrong with it
  brigade publish                               find what is new, every ten minutes, and serve the HTTP API
  brigade work --processes 4                    move it
  brigade errors list                           what could not be moved, and why

Settings come from brigade.toml and the environment; the environment goes first.
Exit codes: 0 all well, 1 something failed, 2 nothing was started because the settings or arguments cannot work,
130 a sync was interrupted.
"""

COMMANDS = {
    "auth": "auth",
    "cache": "cache",
    "check-config": "check_config",
    "errors": "errors",
    "health": "health",
    "jobs": "jobs",
    "publish": "publish",
    "services": "abilities",
    "sync": "sync",
    "work": "work",
}
"""Command -> module of this package, and the name of the command in it."""

_LEVELS = click.Choice(["debug", "info", "warning", "error"], case_sensitive=False)


class _Commands(click.Group):
    """Loads the command that is asked for and no other: a worker need not carry a web server."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        return sorted(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 - click's signature
        module = COMMANDS.get(cmd_name)
        if module is None:
            return None
        command: click.Command = getattr(import_module(f"brigade.{module}"), module)
        return command


@click.group(cls=_Commands, epilog=EPILOG, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.option("--config", type=click.Path(path_type=Path), help="The TOML file with the routes. [default: brigade.toml]")
@click.option("--log-level", type=_LEVELS, help="How much is logged. [default: info]")
@click.option("--log-format", type=click.Choice(["auto", "json", "console"]), help="JSON lines, or plain. [default: auto]")
@click.version_option(version("bucketbrigade"), prog_name="brigade")
@click.pass_context
def brigade(context: click.Context, config: Path | None, log_level: str | None, log_format: str | None) -> None:
    """Bucket Brigade replicates objects between clouds: S3, Google Cloud Storage, Google Drive,
    directories.

    A publisher finds what is new or changed at a source and queues a task per object; workers take the tasks and stream each
    object to its destination; Redis remembers which version is where, with proof.
    """
    given = {"BRIGADE_LOG_LEVEL": log_level, "BRIGADE_LOG_FORMAT": log_format}
    telemetry.configure(LogSettings())
    context.obj = Invocation({**os.environ, **{name: value for name, value in given.items() if value}}, config)


def main() -> None:
    """The entry point. A traceback means a fault of ours; everything else is one line and an exit code."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # keys are Unicode, and a terminal's locale may be older than that
    try:
        code = brigade.main(standalone_mode=False)
    except click.exceptions.Exit as request:
        code = request.exit_code
    except click.Abort:
        click.echo("brigade: stopped", err=True)
        code = FAILED
    except click.ClickException as error:
        error.show()
        code = error.exit_code
    except BrigadeError as error:
        code = complain(error)
    except BrokenPipeError:
        # The reader of our output has enough of it (`brigade cache show | head`); Python would complain once more at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 0
    sys.exit(code if isinstance(code, int) else 0)


if __name__ == "__main__":
    main()
