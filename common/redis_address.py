"""The address of a Redis, taken apart once: what is written in it is honoured, or refused with what to write instead.

Redis's own library takes a database that it cannot read (`/abc`) for 0 and whatever stands behind a `?` for options of the
connection, the check of certificates among them; so the address is read here.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import unquote

HOW = "write host:port, redis://host:port/0, rediss://host:port or unix:///path"
PORT = 6379
_HOST = r"(?P<host>\[[0-9A-Fa-f:.%A-Za-z]+\]|[A-Za-z0-9._-]+)"
_BARE = re.compile(rf"{_HOST}:(?P<port>\d{{1,5}})")
_URL = re.compile(rf"(?P<scheme>rediss?)://(?:(?P<user>[^\s/@?#]*)@)?{_HOST}(?::(?P<port>\d{{1,5}}))?(?P<database>/[^\s?#]*)?")
_UNIX = re.compile(r"unix://(?P<path>/.*?)(?:\?db=(?P<database>[^?&=]*))?", re.DOTALL)
_DATABASE = re.compile(r"\d{1,5}")


@dataclass(frozen=True, slots=True)
class RedisAddress:
    """`path` is a socket of this machine, and then host and port mean nothing."""

    host: str = ""
    port: int = PORT
    path: str | None = None
    tls: bool = False
    database: int = 0
    username: str | None = None

    @classmethod
    def parse(cls, text: str) -> RedisAddress:
        """Raises ValueError, which says what to write and does not repeat the address: it may hold a password."""
        if unix := _UNIX.fullmatch(text):
            return cls(path=unix["path"], database=_database(unix["database"]))
        if bare := _BARE.fullmatch(text):
            return cls(_host(bare["host"]), _port(bare["port"]))
        if "?" in text:
            raise ValueError(f"nothing may stand behind a '?' but unix:///path?db=3: {HOW}")
        url = _URL.fullmatch(text)
        if url is None:
            raise ValueError("the address holds no password: set REDIS_PASSWORD" if "@" in text else HOW)
        if url["user"] and ":" in url["user"]:
            raise ValueError("the address holds no password: set REDIS_PASSWORD")
        return cls(
            _host(url["host"]),
            _port(url["port"]),
            tls=url["scheme"] == "rediss",
            database=_database((url["database"] or "").removeprefix("/")),
            username=unquote(url["user"]) if url["user"] else None,
        )

    def __str__(self) -> str:
        """For people: where it is, without the user."""
        if self.path is not None:
            return f"unix://{self.path}" + (f"?db={self.database}" if self.database else "")
        host = f"[{self.host}]" if ":" in self.host else self.host
        scheme = "rediss://" if self.tls else "redis://" if self.database else ""
        return f"{scheme}{host}:{self.port}" + (f"/{self.database}" if self.database else "")


def _host(written: str) -> str:
    return written.removeprefix("[").removesuffix("]")


def _port(written: str | None) -> int:
    port = int(written) if written else PORT
    if not 0 < port < 65536:
        raise ValueError(f"a port is a number from 1 to 65535: {HOW}")
    return port


def _database(written: str | None) -> int:
    if not written:
        return 0
    if not _DATABASE.fullmatch(written):
        raise ValueError("a database is a number: write redis://host:port/0")
    return int(written)
