"""What it means when Redis refuses, whatever version says it in which words.

Redis 7 and Valkey answer a script's error with the code in front; Redis 6.2 wraps it: `ERR Error running script (call to f_…):
@user_script:4: @user_script: 4: -READONLY You can't write against a read only replica.` Both are told by the same code here.
Tried on Redis 6.2.14 and Valkey 9.1 (tests/unit/state/test_trouble.py).
"""

from __future__ import annotations

import re
from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple

from redis import exceptions as redis_says

if TYPE_CHECKING:
    from collections.abc import Sequence


class Trouble(StrEnum):
    """Why a call was not answered as it should have been. The values are words of the log and of /readyz."""

    UNREACHABLE = "unreachable"
    STARTING = "starting"
    FULL = "out_of_memory"
    DISK = "disk_full"
    READ_ONLY = "read_only"
    REPLICAS = "too_few_replicas"
    BUSY = "busy"
    CLUSTER = "cluster_down"
    IDENTITY = "refused"
    RIGHTS = "forbidden"
    DATABASE = "no_such_database"
    FORGOTTEN = "script_forgotten"
    OTHER = "other"


REFUSED = frozenset({Trouble.IDENTITY, Trouble.RIGHTS, Trouble.DATABASE})
"""Somebody has to change a setting or the user's rights."""
PASSING = frozenset(Trouble) - REFUSED - {Trouble.FORGOTTEN, Trouble.OTHER}
"""Goes away by itself, or when somebody sees to the server."""
ELSEWHERE = frozenset({Trouble.READ_ONLY, Trouble.CLUSTER})
"""The connection leads to a server that is no master any more, and it will stay open for as long as we like."""

_CLASSES: tuple[tuple[type[Exception], Trouble], ...] = (
    (redis_says.NoPermissionError, Trouble.RIGHTS),
    (redis_says.AuthenticationError, Trouble.IDENTITY),
    (redis_says.AuthenticationWrongNumberOfArgsError, Trouble.IDENTITY),
    (redis_says.AuthorizationError, Trouble.IDENTITY),
    (redis_says.NoScriptError, Trouble.FORGOTTEN),
    (redis_says.OutOfMemoryError, Trouble.FULL),
    (redis_says.ReadOnlyError, Trouble.READ_ONLY),
    (redis_says.MasterDownError, Trouble.READ_ONLY),
    (redis_says.ClusterDownError, Trouble.CLUSTER),
    (redis_says.TryAgainError, Trouble.CLUSTER),
    (redis_says.BusyLoadingError, Trouble.STARTING),
    (redis_says.ConnectionError, Trouble.UNREACHABLE),
    (redis_says.TimeoutError, Trouble.UNREACHABLE),
    (OSError, Trouble.UNREACHABLE),
)
"""The first that fits counts: several are kinds of others."""
_CODES = {
    "OOM": Trouble.FULL,
    "READONLY": Trouble.READ_ONLY,
    "MASTERDOWN": Trouble.READ_ONLY,
    "UNBLOCKED": Trouble.READ_ONLY,
    "MISCONF": Trouble.DISK,
    "NOREPLICAS": Trouble.REPLICAS,
    "BUSY": Trouble.BUSY,
    "UNKILLABLE": Trouble.BUSY,
    "LOADING": Trouble.STARTING,
    "CLUSTERDOWN": Trouble.CLUSTER,
    "TRYAGAIN": Trouble.CLUSTER,
    "NOPERM": Trouble.RIGHTS,
    "NOAUTH": Trouble.IDENTITY,
    "WRONGPASS": Trouble.IDENTITY,
    "NOSCRIPT": Trouble.FORGOTTEN,
}
_CODE = re.compile(rf"(?:^|-|: )({'|'.join(_CODES)}) ")
_NO_RIGHT = re.compile(r"ACL failure in script|user executing the script can't|has no permissions to|^No permissions to")
_NO_DATABASE = re.compile(r"DB index is out of range|SELECT is not allowed|invalid DB index", re.IGNORECASE)
_LINE = re.compile(r"@user_script: ?(\d+)")
_CALLED = re.compile(r"""redis\.p?call\(\s*['"](\w+)['"]""")
_UNTRUSTED = "CERTIFICATE_VERIFY_FAILED"

_ADVICE = {
    Trouble.FULL: "raise its maxmemory",
    Trouble.DISK: "make room where it keeps its files",
    Trouble.READ_ONLY: "a failover is under way, or REDIS_ADDRESS names a replica: it must name the master",
    Trouble.REPLICAS: "look after its replicas (min-replicas-to-write)",
    Trouble.IDENTITY: "set REDIS_PASSWORD (and REDIS_USERNAME) to those of this Redis, neither where it has none",
    Trouble.RIGHTS: "grant the user what docs/settings.md lists",
    Trouble.DATABASE: "REDIS_ADDRESS must end with a database that this Redis has",
}


class Asked(NamedTuple):
    """A call that was refused: the command, or the script and its text, and its keys."""

    name: str
    keys: Sequence[str]
    text: str = ""

    def described(self, said: str) -> str:
        """With the command inside a script that was refused: Redis 6.2 tells only its line."""
        inside: list[str] = []
        if self.text and (line := _LINE.search(said)):
            inside = _CALLED.findall(self.text.splitlines()[int(line[1]) - 1])
        name = f"the script {self.name}{f' ({inside[0]})' if inside else ''}" if self.text else self.name
        return " on ".join([name, ", ".join(self.keys)] if self.keys else [name])


def trouble(error: BaseException) -> Trouble:
    """What kind of trouble an exception of the library or of the system means."""
    text = str(error)
    if isinstance(error, redis_says.ResponseError):
        if _NO_RIGHT.search(text):
            return Trouble.RIGHTS
        if _NO_DATABASE.search(text):
            return Trouble.DATABASE
    for kind, meaning in _CLASSES:
        if isinstance(error, kind):
            return meaning
    code = _CODE.search(text)
    return _CODES[code[1]] if code else Trouble.OTHER


def explained(error: BaseException, asked: Asked | None = None) -> str:
    """What Redis says, and what to do about it; `asked` is what was refused. One line, without a secret."""
    kind = trouble(error)
    said = next(iter(str(error).strip().splitlines()), "")[:300].rstrip(".") or type(error).__name__
    if kind is Trouble.UNREACHABLE and _UNTRUSTED in said:
        return f"{said}; name the file of the authority that signed its certificate in REDIS_CA_FILE"
    if kind is Trouble.RIGHTS and asked:
        said = f"{asked.described(said)}: {said}"
    return f"{said}; {_ADVICE[kind]}" if kind in _ADVICE else said
