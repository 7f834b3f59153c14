"""Every Redis key of the project, in one place. Whoever wants to know what is in Redis reads this table.

P is the prefix (`RedisSettings.prefix`, "bb" unless set). The name R of a route stands in braces, so that all keys of a route
live in one slot of a Redis Cluster and a script may touch them together. A digest is the SHA-1 of the object key in hex:
raw object keys appear only as hash fields, never in the name of a Redis key, so that none can be read as a pattern or as another.

key                        type    lives         written by         holds
P:routes                   set     for good      both               names of the routes that ever had a record or a job
P:{R}                      hash    while used    both               level, split (_buckets.lua), objects, published, consumed
P:{R}:N                    hash    while used    both               bucket N: object key (`key_bytes`) -> record (see records.py)
P:{R}:workers              hash    for good      worker             worker names: "n"+name -> number, "i"+number -> name
P:{R}:lease:DIGEST         string  lease         worker             owner of the lease on the object
P:{R}:begun:DIGEST         hash    7 days        worker             who has begun with an object and was not heard of since
P:{R}:reported:DIGEST      hash    6 days        worker             a failure that is on Pub/Sub's error topic: what, times, first
P:{R}:failures:DIGEST      hash    7 days        worker             version -> how often it failed; one version at a time
P:{R}:upload:DIGEST        hash    7 days        worker             an upload under way: token, version, ... and part -> receipt
P:{R}:deleting:ID          string  1 hour        publisher          records removed so far by the deletion ID
P:{R}:flight               hash    while used    both               digest (20 bytes) -> the version that is awaited (_flight.lua)
P:{R}:failed               hash    while used    both               digest (20 bytes) -> what failed, in which job (_flight.lua)
P:{R}:early                set     one scan      both               digests of what was counted before the scan came to it
P:{R}:current              hash    for good      both               job (id of the open one), term, scan (number), missing, quiet
P:{R}:jobs                 zset    for good      publisher          job id -> when it was opened; ended jobs leave after 7 days
P:{R}:job:ID               hash    see below     both               a job: state, checkpoint, counters, times (see jobs.py)
P:{R}:feed                 hash    for good      publisher          how far the source's account of what changed was followed
P:{R}:ends                 hash    for good      publisher          which two places all this is of (route_ends.py)
P:{R}:reconciled           hash    for good      publisher          when the destination was last listed too (reconciliations.py)
P:{R}:parked               hash    8 days        worker             a route that waits for a limit of the day, or is held
                                                                    (hold.lua): until, reason, ...
P:agreed:DIGEST            string  30 min-7 days worker             what workers agreed on: the id of a new file or folder,
                                                                    when an unknown route was first met
P:budget:NAME              hash    while used    both               requests that a user of a service may still make: left, at
P:services                 hash    for good      both               service, NUL, ability -> what was found: kept, how, at
P:leader:NAME              string  lease         publisher          owner of the leadership NAME
P:leader:NAME:term         string  for good      publisher          how often it has been taken
P:format                   string  for good      both               number of the format of all this (formats.py)
P:probe                    string  1 minute      both               1: somebody has looked whether Redis takes writes

A job lives for 7 days after it has ended (for an hour after a later one stands for it), and for 31 days (the longest that Pub/Sub
keeps a message) after the last sign of life of one that has not.
"""

from __future__ import annotations

import hashlib
from binascii import a2b_base64, b2a_base64
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

PACKED = b"\xff"
"""Begins a key that is stored packed; no text in UTF-8 has this byte."""
SHORTEST_PACKED = 10
"""Bytes. Below that packing saves nothing."""
_LETTERS = b"ABCDEFGHIJLMNOPRSTUVWZabcdefghijklmnopqrstuvwxyz0123456789/-_.="
"""The 63 bytes that keys are made of most. The 64th value fills up the last three bytes."""
_LETTERS_AND_NUL = _LETTERS + b"\0"
_BASE64 = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+"
_TO_BASE64, _FROM_BASE64 = bytes.maketrans(_LETTERS, _BASE64), bytes.maketrans(_BASE64, _LETTERS)
_FILL = (b"", b"///", b"//", b"/")
_REVERSED_BITS = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))


def text_bytes(text: str) -> bytes:
    """Every str survives, lone surrogates of either half included, which "surrogateescape" would refuse or confuse with other
    bytes.
    """
    return text.encode("utf-8", "surrogatepass")


def text_of(stored: bytes) -> str:
    return stored.decode("utf-8", "surrogatepass")


def key_bytes(key: str) -> bytes:
    """The object key as Redis stores it: a key of nothing but _LETTERS in six bits a letter behind PACKED, any other as it is.

    Keys are the larger part of what an object takes in Redis, and most are made of these letters. Each key has one form.
    """
    stored = text_bytes(key)
    if len(stored) < SHORTEST_PACKED or stored.translate(None, _LETTERS):
        return stored
    return PACKED + a2b_base64(stored.translate(_TO_BASE64) + _FILL[len(stored) % 4])


def keys_bytes(keys: Sequence[str]) -> list[bytes]:
    """`key_bytes` of many keys, in a third of the time for keys that can all be packed."""
    together = text_bytes("\0".join(keys))
    if not keys or together.translate(None, _LETTERS_AND_NUL) or together.count(0) != len(keys) - 1:
        return [key_bytes(key) for key in keys]
    return [
        PACKED + a2b_base64(word + _FILL[len(word) % 4]) if len(word) >= SHORTEST_PACKED else word.translate(_FROM_BASE64)
        for word in together.translate(_TO_BASE64).split(b"\0")
    ]


def key_text(stored: bytes) -> str:
    """The key that `key_bytes` has stored."""
    if not stored.startswith(PACKED):
        return text_of(stored)
    return b2a_base64(stored[1:], newline=False).rstrip(b"/").translate(_FROM_BASE64).decode("ascii")


def digest(stored: bytes) -> bytes:
    """Spreads keys over buckets and names leases. SHA-1, because a Redis script can compute it too, when it splits a bucket."""
    return hashlib.sha1(stored, usedforsecurity=False).digest()


def spread(digest: bytes) -> bytes:
    """The 32-bit number that picks the bucket, big-endian: the first 32 bits of the digest in reversed order.

    Reversed, because linear hashing looks at the low bits first. So a bucket always holds one whole range of digests, however
    often it has been split, and a walk in the order of digests (`browse.py`) misses nothing while buckets split.
    """
    return digest[3::-1].translate(_REVERSED_BITS)


def spreads(stored: Iterable[bytes]) -> bytes:
    """The numbers of many keys, one after the other."""
    sha1 = hashlib.sha1
    return b"".join([sha1(key, usedforsecurity=False).digest()[3::-1] for key in stored]).translate(_REVERSED_BITS)


def digests_of(stored: Iterable[bytes]) -> list[bytes]:
    sha1 = hashlib.sha1
    return [sha1(key, usedforsecurity=False).digest() for key in stored]


def placed(digests: Sequence[bytes]) -> tuple[bytes, bytes]:
    """The numbers that many digests give, as `spreads` does of their keys, and the digests, one after the other."""
    return b"".join([each[3::-1] for each in digests]).translate(_REVERSED_BITS), b"".join(digests)


def places(stored: Iterable[bytes]) -> tuple[bytes, bytes]:
    """`placed`, of keys."""
    return placed(digests_of(stored))


@dataclass(frozen=True, slots=True)
class Keys:
    prefix: str = "bb"

    def routes(self) -> str:
        return f"{self.prefix}:routes"

    def route(self, route: str) -> str:
        """The layout of a route; scripts make the names of its buckets, leases and failures from it."""
        return f"{self.prefix}:{{{route}}}"

    def deleting(self, route: str, deletion: str) -> str:
        return f"{self.route(route)}:deleting:{deletion}"

    def upload(self, route: str, digest: str) -> str:
        return f"{self.route(route)}:upload:{digest}"

    def reported(self, route: str, digest: str) -> str:
        return f"{self.route(route)}:reported:{digest}"

    def jobs(self, route: str) -> str:
        return f"{self.route(route)}:jobs"

    def current(self, route: str) -> str:
        return f"{self.route(route)}:current"

    def job(self, route: str, job: str) -> str:
        return f"{self.route(route)}:job:{job}"

    def feed(self, route: str) -> str:
        return f"{self.route(route)}:feed"

    def ends(self, route: str) -> str:
        return f"{self.route(route)}:ends"

    def reconciled(self, route: str) -> str:
        return f"{self.route(route)}:reconciled"

    def parked(self, route: str) -> str:
        return f"{self.route(route)}:parked"

    def agreed(self, digest: str) -> str:
        return f"{self.prefix}:agreed:{digest}"

    def budget(self, name: str) -> str:
        return f"{self.prefix}:budget:{name}"

    def probe(self) -> str:
        return f"{self.prefix}:probe"

    def services(self) -> str:
        return f"{self.prefix}:services"

    def leader(self, name: str) -> str:
        return f"{self.prefix}:leader:{name}"

    def format(self) -> str:
        return f"{self.prefix}:format"
