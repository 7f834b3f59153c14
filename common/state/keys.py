"""Every Redis key of the project, in one place. Whoever wants to know what is in Redis reads this table.

P is the prefix (`RedisSettings.prefix`, "bb" unless set). The name R of a route stands in braces, so that all keys of a route
live in one slot of a Redis Cluster and a script may touch them together. A digest is the SHA-1 of the object key in hex:
raw object keys appear only as hash fields, never in the name of a Redis key, so that none can be read as a pattern or as another.

key                        type    lives         written by         holds
P:routes                   set     for good      both               names of the routes that ever had a record or a job
P:{R}                      hash    while used    both               level, split (_buckets.lua), objects, published, consumed
P:{R}:N                    hash    while used    both               bucket N: object key -> record (see records.py)
P:{R}:workers              hash    for good      worker             worker names: "n"+name -> number, "i"+number -> name
P:{R}:lease:DIGEST         string  lease         worker             owner of the lease on the object
P:{R}:failures:DIGEST      hash    7 days        worker             version -> how often it failed; one version at a time
P:{R}:upload:DIGEST        hash    7 days        worker             an upload under way: token, version, ... and part -> receipt
P:{R}:deleting:ID          string  1 hour        publisher          records removed so far by the deletion ID
P:{R}:jobs                 zset    for good      publisher          job id -> when it was opened; ended jobs leave after 7 days
P:{R}:scanning             zset    while used    publisher          job id -> when it was opened, of jobs whose scan has not ended
P:{R}:job:ID               hash    see below     both               a job: state, checkpoint, counters, times (see jobs.py)
P:{R}:job:ID:settled       string  see below     worker             bitmap: bit n is set once task n of the job has been counted
P:leader:NAME              string  lease         publisher          owner of the leadership NAME

A job and its bitmap live for 7 days after the job has ended, and for 31 days (the longest that Pub/Sub keeps a message) after
the last sign of life of one that has not.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

_REVERSED_BITS = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))


def key_bytes(key: str) -> bytes:
    """The object key as Redis stores it. Every str survives, lone surrogates of either half included, which "surrogateescape"
    would refuse or confuse with other bytes.
    """
    return key.encode("utf-8", "surrogatepass")


def key_text(stored: bytes) -> str:
    return stored.decode("utf-8", "surrogatepass")


def digest(stored: bytes) -> bytes:
    """Spreads keys over buckets and names leases. SHA-1, because a Redis script can compute it too, when it splits a bucket."""
    return hashlib.sha1(stored, usedforsecurity=False).digest()


def spread(digest: bytes) -> bytes:
    """The 32-bit number that picks the bucket, big-endian: the first 32 bits of the digest in reversed order.

    Reversed, because linear hashing looks at the low bits first. So a bucket always holds one whole range of digests, however
    often it has been split, and a walk in the order of digests (`browse.py`) misses nothing while buckets split.
    """
    return digest[3::-1].translate(_REVERSED_BITS)


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

    def jobs(self, route: str) -> str:
        return f"{self.route(route)}:jobs"

    def scanning(self, route: str) -> str:
        return f"{self.route(route)}:scanning"

    def job(self, route: str, job: str) -> str:
        return f"{self.route(route)}:job:{job}"

    def leader(self, name: str) -> str:
        return f"{self.prefix}:leader:{name}"
