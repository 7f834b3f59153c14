"""Addresses that come from outside: in an answer, or read back from Redis. What is sent there is ours: bytes, and tokens."""

from __future__ import annotations

import re

GOOGLE = "googleapis.com"
"""The services' own hosts are this one and those below it (https://cloud.google.com/vpc/docs/configure-private-google-access)."""
LONGEST_ADDRESS = 8192
"""Characters. A session's address has a few hundred."""

_ADDRESS = re.compile(r"(https?)://([A-Za-z0-9.-]+|\[[0-9A-Fa-f:.]+\])(?::([0-9]{1,5}))?(/[\x21-\x7e]*)?").fullmatch
_PORTS = {"http": 80, "https": 443}


def foreign(url: str, origin: str) -> str | None:
    """None when `url` leads to `origin`, the service as it is configured, or, where that is Google's own, to another host of
    Google's, over TLS. Else the host to which it leads, for an error: the address itself may be a key.
    """
    if url.startswith(f"{origin}/"):
        return None
    there, here = _origin(url), _origin(origin)
    if there is None:
        return "of an address that is none"
    if there == here or (here is not None and _is_google(here) and _is_google(there)):
        return None
    scheme, host, port = there
    return f"{scheme}://{host}:{port}"


def _origin(url: str) -> tuple[str, str, int] | None:
    """Scheme, host and port, when there is nothing in the URL that two readers might take differently: a user, a backslash."""
    found = _ADDRESS(url) if len(url) <= LONGEST_ADDRESS else None
    if found is None:
        return None
    return found[1], found[2].lower(), int(found[3] or _PORTS[found[1]])


def _is_google(origin: tuple[str, str, int]) -> bool:
    scheme, host, port = origin
    return scheme == "https" and port == _PORTS[scheme] and (host == GOOGLE or host.endswith(f".{GOOGLE}"))
