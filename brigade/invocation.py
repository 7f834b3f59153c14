"""What every command shares: the global options, how settings are loaded, and how an expected error ends the program."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

import click

from common import telemetry
from common.errors import BrigadeError, SettingsError
from common.redaction import printable
from common.settings import load

if TYPE_CHECKING:
    from collections.abc import Coroutine, Mapping
    from collections.abc import Set as AbstractSet
    from pathlib import Path

    from common.config import Settings
    from common.settings import Need

Answer = TypeVar("Answer")

FAILED = 1
CANNOT_START = 2
INTERRUPTED = 130
"""As a shell says of a program that ended by SIGINT."""


@dataclass(frozen=True, slots=True)
class Invocation:
    """The options before the command's name, and the environment that the process was started with."""

    environ: Mapping[str, str] = field(repr=False)
    config: Path | None = None

    def load(self, needs: AbstractSet[Need], **overrides: object) -> Settings:
        """The settings, with options of the command (by the name of the variable that they stand for) before everything else.

        Logging follows them from here on. Raises SettingsError.
        """
        given = {name: str(value) for name, value in overrides.items() if value is not None}
        settings = load({**self.environ, **given}, self.config, needs=needs)
        telemetry.configure(settings.log)
        return settings


pass_invocation = click.make_pass_decorator(Invocation)


def examples(*lines: str) -> str:
    """The end of a command's help: lines that click leaves as they are."""
    return "\n".join(["\b", "Examples:", *(f"  {line}" for line in lines)])


def run(work: Coroutine[Any, Any, Answer]) -> Answer:
    """Run the work on an event loop of its own and give its answer."""
    import uvloop  # noqa: PLC0415 - commands that only look something up start without it

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(work)


def complain(error: BrigadeError) -> int:
    """Say what is wrong on standard error, one line per fault, and give the exit code."""
    if isinstance(error, SettingsError):
        for fault in error.faults:
            click.echo(f"brigade: {printable(fault)}", err=True)
        return CANNOT_START
    click.echo(f"brigade: {printable(str(error))}", err=True)
    return FAILED


def echo_json(value: Any) -> None:
    """One JSON value on one line of standard output. ASCII only: any terminal, any key."""
    click.echo(json.dumps(value, separators=(",", ":")))


def table(rows: list[tuple[str, ...]]) -> None:
    """Rows with the columns below each other; the first row is the heading."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        click.echo("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
