"""Uploads under way: what another worker needs to go on with one at the part where a dead one stopped.

A token may grant access (a GCS session URI is a key to its upload for a week), so it is as secret as Redis's password, and
never logged.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from common.state.keys import digest, key_bytes
from common.storage.base import PartReceipt

if TYPE_CHECKING:
    from collections.abc import Mapping

    from common.state.store import Store

LIFE_SECONDS = 7 * 24 * 3600
"""As long as a GCS session lives (https://cloud.google.com/storage/docs/resumable-uploads)."""


@dataclass(frozen=True, slots=True)
class Saved:
    """An upload and the parts of it that have arrived. It may be gone on with only for the same version, in the same parts, under
    the same precondition.
    """

    token: str = field(repr=False)
    version: str
    size: int
    part_bytes: int
    precondition: str
    receipts: tuple[PartReceipt, ...] = ()
    elsewhere: bool = False
    """It belongs to a pair of places that the route joined before."""

    def continues(self, version: str, size: int, part_bytes: int, precondition: str) -> bool:
        return not self.elsewhere and (self.version, self.size, self.part_bytes, self.precondition) == (
            version,
            size,
            part_bytes,
            precondition,
        )


class Uploads:
    """At most one upload per object is known; every call is one round trip and may be repeated."""

    def __init__(self, store: Store, ends: Mapping[str, str] | None = None) -> None:
        """`ends` are the digests of the places that routes join (`Cache`); an upload that does not say is of those."""
        self._store = store
        self._ends = ends or {}

    async def find(self, route: str, key: str) -> Saved | None:
        (found,) = await self._store.send([("HGETALL", self._name(route, key))])
        fields = {name.decode(): value.decode() for name, value in found.items()}
        if not fields:
            return None
        receipts = []
        for name, value in fields.items():
            if name.isdecimal():
                receipts.append(_receipt(int(name), value))
        return Saved(
            fields["token"],
            fields["version"],
            int(fields["size"]),
            int(fields["part_bytes"]),
            fields["precondition"],
            tuple(sorted(receipts, key=lambda receipt: receipt.number)),
            elsewhere=bool(fields.get("ends")) and fields["ends"] != self._ends.get(route, fields["ends"]),
        )

    async def begun(self, route: str, key: str, saved: Saved) -> None:
        """Instead of whatever was known of the object's upload before."""
        name = self._name(route, key)
        fields = ("token", saved.token, "version", saved.version, "size", saved.size, "part_bytes", saved.part_bytes)
        await self._store.send(
            [
                ("UNLINK", name),
                ("HSET", name, *fields, "precondition", saved.precondition, "ends", self._ends.get(route, "")),
                ("EXPIRE", name, LIFE_SECONDS),
            ]
        )

    async def arrived(self, route: str, key: str, receipt: PartReceipt) -> None:
        crc64nvme = "" if receipt.crc64nvme is None else f"/{receipt.crc64nvme}"
        value = f"{receipt.size}:{receipt.crc32c}{crc64nvme}:{receipt.token}"
        await self._store.send([("HSET", self._name(route, key), receipt.number, value)])

    async def forget(self, route: str, key: str) -> None:
        await self._store.send([("UNLINK", self._name(route, key))])

    def _name(self, route: str, key: str) -> str:
        return self._store.keys.upload(route, digest(key_bytes(key)).hex())


def _receipt(number: int, value: str) -> PartReceipt:
    size, sums, token = value.split(":", 2)
    crc32c, _, crc64nvme = sums.partition("/")
    return PartReceipt(number, int(size), int(crc32c), token, crc64nvme=int(crc64nvme) if crc64nvme else None)
