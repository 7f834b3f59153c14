"""`brigade check-config`: what is set, where it was set, and everything that is wrong with it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click

from brigade.invocation import Invocation, echo_json, examples, pass_invocation
from common.redaction import printable
from common.settings import EVERYTHING, Need
from common.settings_sources import gather

if TYPE_CHECKING:
    from collections.abc import Iterator

    from common.config import Settings
    from common.settings_sources import Gathered

_NEEDS: dict[str, frozenset[Need]] = {"publish": EVERYTHING, "work": EVERYTHING - {"api"}}


@click.command(
    "check-config",
    short_help="Show the settings and everything that is wrong with them.",
    epilog=examples("brigade check-config --for work"),
)
@click.option(
    "--for", "command", type=click.Choice(list(_NEEDS)), default="publish", show_default=True, help="What is to be run."
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
@pass_invocation
def check_config(invocation: Invocation, *, command: str, as_json: bool) -> None:
    """Show the settings as they would be used, secrets masked, without contacting anything.

    With faults it shows all of them instead, each with the name of the setting and what to write, and exits with 2.
    """
    settings = invocation.load(_NEEDS[command])
    if as_json:
        echo_json(settings.model_dump(mode="json"))
        return
    gathered = gather(invocation.environ, invocation.config)
    click.echo(f"# file: {gathered.file or 'none'}")
    for line in _lines(settings, gathered):
        click.echo(line)


def _lines(settings: Settings, gathered: Gathered) -> Iterator[str]:
    document = settings.model_dump(mode="json")
    for route in document.pop("routes"):
        yield f"\n[[route]]  # {gathered.origins.get(('route', 'source'), gathered.file)}"
        for setting, value in route.items():
            yield f"{setting} = {_text(value)}"
    for section, values in document.items():
        yield f"\n[{section}]"
        if values is None:
            yield "# not needed"
        for setting, value in (values or {}).items():
            origin = gathered.origins.get((section, setting), "not set" if value is None else "default")
            yield f"{setting} = {_text(value)}  # {origin}"


def _text(value: Any) -> str:
    if isinstance(value, dict):
        value = {name: item for name, item in value.items() if item is not None}
    return printable(json.dumps(value, ensure_ascii=False))
