"""The `[route.cdn]` table: the private key that the environment holds, and what the settings of one table say together.

A key is looked at here, so that one that cannot sign is found before anything starts; no fault repeats a byte of it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from common.config import Cdn, Route
    from common.settings_sources import Gathered

_FOR_SIGNED = ("key_id", "private_key_file", "private_key_env")
_FOR_CUSTOM = ("not_before", "source_ip")


def take_keys(gathered: Gathered, environ: Mapping[str, str]) -> list[str]:
    """Put the keys that routes name by variable into what was gathered. What is wrong with the names comes back as faults."""
    faults = []
    for number, content in enumerate(gathered.routes):
        table = content.get("cdn") if isinstance(content, dict) else None
        if not isinstance(table, dict):
            continue
        taken: dict[str, Any] = {**table}
        where = f"{gathered.file}: route {content.get('name', number + 1)!r}: cdn."
        if taken.pop("private_key", None) is not None:
            faults.append(f"{where}private_key is a secret: take it out and set private_key_env or private_key_file")
        name = taken.get("private_key_env")
        if isinstance(name, str) and environ.get(name, "").strip():
            taken["private_key"] = environ[name]
        gathered.routes[number] = {**content, "cdn": taken}
    return faults


def check(gathered: Gathered, routes: Sequence[Route]) -> Iterator[str]:
    for route in routes:
        if route.cdn is not None:
            for fault in _faults(route, route.cdn):
                yield f"{gathered.file}: route {route.name!r}: {fault}"


def _faults(route: Route, cdn: Cdn) -> Iterator[str]:
    if route.source.scheme != "s3":
        yield f"cdn stands in front of S3, and the source is {route.source}: take the table out"
    if cdn.signing != "custom":
        for setting in (name for name in _FOR_CUSTOM if getattr(cdn, name) is not None):
            yield f'cdn.{setting} is part of a custom policy: set signing = "custom", or take it out'
        if cdn.policy == "prefix":
            yield 'cdn.policy = "prefix" is a custom policy: set signing = "custom", or take it out'
    if cdn.signing == "none":
        for setting in (name for name in _FOR_SIGNED if getattr(cdn, name) is not None):
            yield f'cdn.{setting} belongs to signed URLs: set signing = "canned" or "custom", or take it out'
    else:
        yield from _key_faults(cdn)


def _key_faults(cdn: Cdn) -> Iterator[str]:
    from common.transport.cloudfront import read_key  # noqa: PLC0415 - cryptography takes a while, and few routes need it

    if cdn.key_id is None:
        yield "cdn.key_id is missing: write the id of the public key at CloudFront"
    if (cdn.private_key_file is None) == (cdn.private_key_env is None):
        yield "cdn needs either private_key_file or private_key_env: write one of them"
        return
    setting = f"private_key_env {cdn.private_key_env}"
    if cdn.private_key_file is not None:
        setting = f"private_key_file {str(cdn.private_key_file)!r}"
    if cdn.private_key_env is not None and cdn.private_key is None:
        yield f"cdn.{setting} is not set, or empty: put the key there, as PEM or as base64 of the PEM"
        return
    try:
        read_key(cdn)
    except OSError as error:
        yield f"cdn.{setting} cannot be read ({error.strerror}): name the PEM file with the private key"
    except ValueError as error:
        yield f"cdn.{setting} {error}"
