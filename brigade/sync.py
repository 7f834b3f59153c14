"""`brigade sync`: both halves on one machine, with an embedded Redis and nothing to set up."""

from __future__ import annotations

import os
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, cast

import click

from brigade import progress, sync_run
from brigade.embedded import Pair, redis_program, state_directory
from brigade.invocation import Invocation, examples, pass_invocation, run
from common.config import LogSettings, StoreOptions
from common.errors import SettingsError, StateUnavailable
from common.location import Location, as_utf8, meant
from common.telemetry import configure

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_ENDPOINTS = {
    "s3": ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"),
    "gs": ("STORAGE_EMULATOR_HOST",),
    "gdrive": ("GDRIVE_ENDPOINT",),
}
_TABLES = {"tags"}
"""Settings that are no single value."""
_CONFLICTS = {"ignore_existing": "keep", "update": "newer", "immutable": "fail"}
"""Options, and the `on_conflict` that each means."""
MOST_PROCESSES = 8
"""By default. More are rarely faster on one machine; --processes may say otherwise."""


@click.command(
    short_help="Copy a bucket or directory from this machine.",
    epilog=examples(
        "brigade sync s3://photos gs://photos-copy",
        "brigade sync s3://photos/2024 gs://archive/photos --processes 4",
        "brigade sync /srv/data s3://backup --destination-endpoint https://minio.example:9000",
    ),
)
@click.argument("source")
@click.argument("destination")
@click.option(
    "--processes", type=click.IntRange(1, 256), help=f"Worker processes. [default: one per core, at most {MOST_PROCESSES}]"
)
@click.option("--slots", type=click.IntRange(1, 10_000), help="Objects in flight per process. [default: 128]")
@click.option("--source-endpoint", metavar="URL", help="Where the source's service is, if not at its provider.")
@click.option("--destination-endpoint", metavar="URL", help="The same for the destination.")
@click.option(
    "--source-option",
    "source_given",
    multiple=True,
    metavar="NAME=VALUE",
    help="A setting of the source, as in brigade.toml: region=eu-central-1, anonymous=true. May be repeated.",
)
@click.option(
    "--destination-option", "destination_given", multiple=True, metavar="NAME=VALUE", help="The same for the destination."
)
@click.option(
    "--compat",
    type=click.Choice(["auto", "aws", "basic"]),
    help="What S3 services other than AWS are taken to do, at both ends. [default: auto, they are asked]",
)
@click.option("--natives", type=click.Choice(["skip", "export"]), help="Google documents on Drive. [default: skip]")
@click.option("--shortcuts", type=click.Choice(["skip", "follow"]), help="Shortcuts on Drive. [default: skip]")
@click.option("--ignore-existing", is_flag=True, help="Leave what is at the destination and is no copy of ours.")
@click.option("--update", is_flag=True, help="The same, unless the source's was modified later.")
@click.option("--immutable", is_flag=True, help="Report what is at the destination, differs, and is no copy of ours, as failed.")
@click.option(
    "--state-dir",
    type=click.Path(path_type=Path, file_okay=False),
    help="Where progress and log are kept. [default: below ~/.local/state]",
)
@click.option("--trust-state", is_flag=True, help="Do not list the destination: rely on what earlier runs recorded of it.")
@click.option("--json", "as_json", is_flag=True, help="Progress, failures and summary as JSON lines.")
@click.option("--quiet", is_flag=True, help="No progress: only failures and the summary.")
@pass_invocation
def sync(
    invocation: Invocation,
    /,
    *,
    source: str,
    destination: str,
    processes: int | None,
    slots: int | None,
    source_endpoint: str | None,
    destination_endpoint: str | None,
    source_given: tuple[str, ...],
    destination_given: tuple[str, ...],
    compat: str | None,
    natives: str | None,
    shortcuts: str | None,
    state_dir: Path | None,
    trust_state: bool,
    as_json: bool,
    quiet: bool,
    **conflict: bool,
) -> int:
    """Copy everything from SOURCE to DESTINATION that is not there yet.

    Both are s3://bucket/prefix, gs://bucket/prefix, gdrive://FOLDER_ID/path, file:///directory or a directory. Nothing is ever
    deleted; what is there, differs and is no copy of ours is written over, unless --ignore-existing, --update or --immutable says
    otherwise. Interrupted, or run again later, it goes on where it stopped and copies only what is new, changed, failed
    before, or was deleted or altered at the destination.

    Credentials come from the environment (AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, GCP_CREDENTIALS, GDRIVE_TOKEN, …) or from
    what the machine has (profiles, instance roles, application default credentials). Routes in brigade.toml play no part.
    """
    at_source = _options("--source-option", source_given)
    at_destination = _options("--destination-option", destination_given)
    source_endpoint = source_endpoint or cast("str | None", at_source.get("endpoint"))
    destination_endpoint = destination_endpoint or cast("str | None", at_destination.get("endpoint"))
    of_source = {"endpoint": source_endpoint, "natives": natives, "shortcuts": shortcuts}
    named = {option: value for option, value in of_source.items() if value is not None}
    of_destination = {"endpoint": destination_endpoint} if destination_endpoint else {}
    route = _route(source, destination, {**at_source, **named}, {**at_destination, **of_destination})
    route |= _on_conflict(conflict)
    ends = Location.parse(str(route["source"])), Location.parse(str(route["destination"]))
    if compat is not None:
        _compatible(route, ends, compat)
    redis_program()
    given = {"SYSTEM_MAX_WORKERS": slots, "BRIGADE_PROCESSES": processes}
    defaults = {"BRIGADE_LOG_LEVEL": "WARNING", "BRIGADE_PROCESSES": str(min(os.cpu_count() or 1, MOST_PROCESSES))}
    environ = {**defaults, **invocation.environ, **{name: str(value) for name, value in given.items() if value is not None}}
    pair = Pair(*ends, source_endpoint or _endpoint(environ, ends[0]), destination_endpoint or _endpoint(environ, ends[1]))
    directory = (state_dir or state_directory(environ, pair)).absolute()
    plan = sync_run.Plan(directory=directory, pair=pair, environ=environ, trust_state=trust_state)
    configure(LogSettings(level="WARNING"))
    with progress.display(as_json=as_json, quiet=quiet) as display:
        try:
            return run(sync_run.run(plan, route, display))
        except StateUnavailable as error:
            text = f"{plan.directory}: the state cannot be kept there: {error}"
            raise SettingsError([f"{text}; then run the same command again to go on"]) from error


def _on_conflict(given: Mapping[str, bool]) -> dict[str, str]:
    chosen = [name for name in _CONFLICTS if given[name]]
    if len(chosen) > 1:
        names = " and ".join(f"--{name.replace('_', '-')}" for name in chosen)
        raise SettingsError([f"{names} contradict each other: give one of them"])
    return {"on_conflict": _CONFLICTS[chosen[0]]} if chosen else {}


def _compatible(route: dict[str, object], ends: tuple[Location, Location], compat: str) -> None:
    """Say it of each end that is S3, where its own option does not. Raises SettingsError where neither is."""
    of_s3 = [name for name, end in zip(("source_options", "destination_options"), ends, strict=True) if end.scheme == "s3"]
    if not of_s3:
        raise SettingsError(["--compat is for S3, and neither end is: leave it out"])
    for name in of_s3:
        options = cast("dict[str, object]", route.setdefault(name, {}))
        options.setdefault("compat", compat)


def _endpoint(environ: Mapping[str, str], location: Location) -> str | None:
    """Where the environment says that the service of the location is."""
    return next((environ[name] for name in _ENDPOINTS.get(location.scheme, ()) if environ.get(name)), None)


def _route(
    source: str, destination: str, source_options: Mapping[str, object], destination_options: Mapping[str, object]
) -> dict[str, object]:
    faults: list[str] = []
    route: dict[str, object] = {"name": "sync"}
    for name, text in (("source", source), ("destination", destination)):
        try:
            route[name] = str(_end(text, written=name == "destination"))
        except UnicodeEncodeError:
            faults.append(f"{name.upper()}: is not UTF-8: give the directory a name that is")
        except ValueError as error:
            faults.append(f"{name.upper()}: {error}")
    if faults:
        raise SettingsError(faults)
    for name, options in (("source_options", source_options), ("destination_options", destination_options)):
        if given := {option: value for option, value in options.items() if value is not None}:
            route[name] = given
    return route


def _end(text: str, *, written: bool) -> Location:
    """A location, or a directory by its path. Raises ValueError that says what to write instead."""
    if "://" not in text and not os.path.lexists(text):
        if better := meant(text):
            raise ValueError(f"there is no directory {text!r} here: did you mean {better}?")
        if text.startswith("~"):
            raise ValueError(f"a shell leaves ~ as it is within quotes: write {os.path.expanduser(text)}")  # noqa: PTH111
    whole = as_utf8(text if "://" in text else f"file://{os.path.abspath(text)}")  # noqa: PTH100 - resolves ".."
    whole.encode()
    location = Location.parse(whole)
    if location.scheme == "memory":
        raise ValueError("memory:// lives in one process: write s3://, gs:// or file:///")
    if location.scheme == "file":
        _check_directory(Path(os.fsdecode(location.prefix.encode())), written=written)
    return location


def _check_directory(path: Path, *, written: bool) -> None:
    if path.is_dir():
        return
    if path.exists():
        raise ValueError(f"{path} is a file, and directories are copied: write {path.parent}")
    remedy = f"create it (mkdir -p {shlex.quote(str(path))})" if written else "check its name"
    raise ValueError(f"there is no directory {path}: {remedy}, or mount what belongs there")


def _options(name: str, given: Sequence[str]) -> dict[str, object]:
    """NAME=VALUE as brigade.toml has them. Raises SettingsError for a name that is none, with those that are."""
    found: dict[str, object] = {}
    for text in given:
        option, equals, value = text.partition("=")
        field = StoreOptions.model_fields.get(option)
        if not equals or field is None or option in _TABLES:
            known = ", ".join(sorted(set(StoreOptions.model_fields) - _TABLES))
            raise SettingsError([f"{name} {text.partition('=')[0]}: write NAME=VALUE, with one of these names: {known}"])
        found[option] = {"true": True, "false": False}.get(value, value) if field.annotation is bool else value
    return found
