"""`brigade services`: what services were found to do, how, and when."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from brigade.embedded import embedded_redis, locked
from brigade.invocation import Invocation, echo_json, examples, pass_invocation, run, table
from brigade.progress import moment
from brigade.services import opened_store
from common.config import RedisSettings
from common.redaction import printable
from common.state.findings import Findings
from common.state.store import Store
from common.storage.abilities import FRESH

if TYPE_CHECKING:
    from collections.abc import Mapping

    from common.storage.abilities import Finding

_COLUMNS = ("service", "ability", "kept", "found", "how")


@click.command(
    "services",
    short_help="What services were found to do.",
    epilog=examples("brigade services", "brigade services --forget", "brigade services --state-dir DIRECTORY"),
)
@click.option(
    "--state-dir",
    type=click.Path(path_type=Path, file_okay=False, exists=True),
    help="Of `brigade sync`, which has a state of its own. [default: the fleet's Redis]",
)
@click.option("--forget", is_flag=True, help="Forget what was found: every service is asked again.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object per line.")
@pass_invocation
def abilities(invocation: Invocation, *, state_dir: Path | None, forget: bool, as_json: bool) -> None:
    """Show what services that speak S3's protocol were found to do with conditions, checksums and listings.

    A service is asked with its first writes. A finding holds for a day, and ends at the first answer that says otherwise;
    `compat` in the settings goes before it (docs/settings.md).
    """
    found, forgotten = run(_of_sync(state_dir.absolute(), forget=forget) if state_dir else _of_fleet(invocation, forget=forget))
    if forget:
        click.echo(f"{forgotten} forgotten: they are asked again")
        return
    rows = [_row(service, ability, finding) for (service, ability), finding in sorted(found.items())]
    if as_json:
        for row in rows:
            echo_json(row)
    elif rows:
        table([_COLUMNS, *(tuple(printable(row[column]) for column in _COLUMNS) for row in rows)])
    else:
        click.echo("nothing was found out yet: a service is asked with its first writes", err=True)


async def _of_fleet(invocation: Invocation, *, forget: bool) -> tuple[Mapping[tuple[str, str], Finding], int]:
    async with opened_store(invocation.load({"redis"})) as store:
        return await _in(store, forget=forget)


async def _of_sync(directory: Path, *, forget: bool) -> tuple[Mapping[tuple[str, str], Finding], int]:
    with locked(directory) as lock:
        async with embedded_redis(directory, lock) as redis:
            store = await Store.open(RedisSettings(address=redis.address))
            try:
                return await _in(store, forget=forget)
            finally:
                await store.close()


async def _in(store: Store, *, forget: bool) -> tuple[Mapping[tuple[str, str], Finding], int]:
    findings = Findings(store)
    return await findings.all(), await findings.forget() if forget else 0


def _row(service: str, ability: str, finding: Finding) -> dict[str, str]:
    old = time.time() - finding.at >= FRESH
    kept = ("yes" if finding.kept else "no") + (", too long ago to count" if old else "")
    return {"service": service, "ability": ability, "kept": kept, "found": moment(finding.at), "how": finding.how}
