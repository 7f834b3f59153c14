"""Basic auth, compared so that the time of the answer tells nothing about what was nearly right; and guessing, slowed down."""

from __future__ import annotations

import base64
import hashlib
import hmac
import threading
import time
from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from common.errors import SettingsError
from common.telemetry import get_logger

if TYPE_CHECKING:
    from collections.abc import Callable

    from common.config import ApiSettings

log = get_logger(__name__)

FREE_GUESSES = 5
"""Wrong passwords that cost nothing: a person who mistypes, a program that was not told of the new one yet."""
LONGEST_DELAY = 60.0
FORGET_SECONDS = 600.0
SAID_EVERY = 60.0
MOST_CLIENTS = 1024
"""Addresses that are remembered; the one that was seen longest ago is forgotten first."""

CHALLENGE = 'Basic realm="Bucket Brigade", charset="UTF-8"'


class BasicAuth:
    """Holds digests only. Refuses an empty user name or password: it would stand open, or lock everyone out."""

    def __init__(self, settings: ApiSettings) -> None:
        password = settings.password.get_secret_value()
        faults = [
            f"{name} is empty: the HTTP API does not start without it"
            for name, value in (("SYSTEM_ADMIN_USERNAME", settings.username), ("SYSTEM_ADMIN_PASSWORD", password))
            if not value
        ]
        if faults:
            raise SettingsError(faults)
        self._username = _digest(settings.username)
        self._password = _digest(password)

    def admits(self, header: str | None) -> bool:
        """Whether this Authorization header names our user and password. Both are always compared, in constant time."""
        username, password = _parse(header)
        right_username = hmac.compare_digest(_digest(username), self._username)
        right_password = hmac.compare_digest(_digest(password), self._password)
        return right_username & right_password


@dataclass(slots=True)
class _Client:
    wrong: int = 0
    since: int = 0
    """Of those, how many since they were last said in the log."""
    barred_until: float = 0.0
    last: float = 0.0
    said: float = float("-inf")


class Guesses:
    """Wrong passwords by client address.

    After FREE_GUESSES each one bars the address for twice as long as the one before, at most LONGEST_DELAY: its requests are
    refused at once, without looking at the password and without holding a thread. Other clients notice nothing. Forgotten
    FORGET_SECONDS after the last one, and with a right password.

    May be used by many threads at once.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._clients: OrderedDict[str, _Client] = OrderedDict()
        self._lock = threading.Lock()

    def barred(self, address: str) -> float:
        """Seconds until this address is listened to again; 0 if it is now."""
        with self._lock:
            client = self._clients.get(address)
            return 0.0 if client is None else max(0.0, client.barred_until - self._clock())

    def right(self, address: str) -> None:
        with self._lock:
            self._clients.pop(address, None)

    def wrong(self, address: str) -> None:
        """Says so in the log, once a minute for each address, with how many there were."""
        now = self._clock()
        with self._lock:
            client = self._clients.pop(address, None)
            if client is None or now - client.last > FORGET_SECONDS:
                client = _Client()
            self._clients[address] = client
            if len(self._clients) > MOST_CLIENTS:
                self._clients.popitem(last=False)
            client.wrong, client.since, client.last = client.wrong + 1, client.since + 1, now
            if client.wrong > FREE_GUESSES:
                client.barred_until = now + min(LONGEST_DELAY, 2.0 ** min(client.wrong - FREE_GUESSES - 1, 10))
            count = client.since
            tell = client.wrong >= FREE_GUESSES and now - client.said >= SAID_EVERY
            if tell:
                client.said, client.since = now, 0
        if tell:
            log.warning(
                "wrong passwords for the HTTP API; the client is slowed down",
                action="http_wrong_passwords",
                client=address,
                count=count,
            )


def _parse(header: str | None) -> tuple[str, str]:
    """User and password as sent; empty ones, which nobody has, for anything that is not Basic auth."""
    scheme, _, rest = (header or "").strip().partition(" ")
    if scheme.lower() != "basic":
        return "", ""
    try:
        pair = base64.b64decode(rest.strip(), validate=True)
    except ValueError:
        return "", ""
    username, _, password = _text(pair).partition(":")
    return username, password


def _text(raw: bytes) -> str:
    """UTF-8 as the challenge asks for; Latin-1 is what clients send that do not read the challenge (Python's requests)."""
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        return raw.decode("latin-1")


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()
