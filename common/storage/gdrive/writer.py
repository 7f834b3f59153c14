"""Google Drive as a destination: one multipart request for small objects, a resumable session for large ones.

https://developers.google.com/workspace/drive/api/guides/manage-uploads. Drive has no preconditions: it is looked at before
each write, and what two looks at the same moment cannot see is caught by the id that the fleet has agreed on (places.py). An
object that is there gets a new revision; its id, its place and who may see it stay.

Drive knows no CRC32C. What it holds is compared by MD5, which is reckoned for this destination alone.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import secrets
from typing import TYPE_CHECKING, Any
from weakref import WeakValueDictionary

from common.checksums import crc32c
from common.errors import ChecksumMismatch, Forbidden, ObjectError, PreconditionFailed, SourceMissing, Unavailable
from common.storage.gdrive import names, properties
from common.storage.gdrive.folders import Folders, Ids
from common.storage.gdrive.limits import LIMITS
from common.storage.gdrive.places import Place, Places
from common.storage.gdrive.quota import UNITS_WRITE
from common.storage.gdrive.resource import FIELDS, stored
from common.storage.gdrive.upload import DriveUpload
from common.storage.resumable import begun_at

if TYPE_CHECKING:
    from common.location import Location
    from common.objects import Headers, StoredObject
    from common.storage.base import Body, Precondition, Upload
    from common.storage.gdrive.control import Drive
    from common.transport.http import Response

HASHED_AT_ONCE = 64 * 1024
"""Bytes; more is hashed beside the event loop."""
_JSON = ("Content-Type", "application/json; charset=UTF-8")

CONFLICT = 409


class DriveWriter:
    limits = LIMITS

    def __init__(self, drive: Drive, location: Location) -> None:
        self._drive = drive
        self._location = location
        ids = Ids(drive)
        self._folders = Folders(drive, location, ids)
        self._places = Places(drive, location, self._folders, ids)
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    async def ready(self) -> None:
        """Raises LocationMissing or Forbidden where nothing could ever be written. Asks once, and then knows."""
        root, user = await self._folders.root(), await self._drive.user()
        if root.drive is None and user.storage_limit == 0:
            raise Forbidden(
                f"{self._location} is in My Drive, and {user.email} is a service account without storage of its own: "
                "either write to a shared drive and make the account a Content manager of it, or let it write as a person "
                "(GDRIVE_SUBJECT with domain-wide delegation, or sign in with `brigade auth gdrive`)"
            )
        if not root.writable:
            raise Forbidden(
                f"{user.email} may not write to {self._location}: share the folder with it as Editor or Content manager"
            )

    async def stat(self, key: str) -> StoredObject | None:
        self._check(key)
        found = await self._places.find(key)
        return None if found is None else self._stored(found, key, "look at")

    async def put(self, key: str, body: Body, precondition: Precondition) -> StoredObject:
        self._check(key)
        if crc32c(body.data) != body.crc32c:
            raise ChecksumMismatch(f"the bytes for {self._name(key)!r} are not those that were hashed")
        await self.ready()
        md5 = await asyncio.to_thread(_md5, body.data) if len(body.data) > HASHED_AT_ONCE else _md5(body.data)
        fields = properties.fields(body.headers, self._name(key), properties.checks(md5, body.crc32c))
        async with self.lock(key):
            place = await self._places.take(key, precondition)
            response = await self._multipart(place, fields, body.data)
            await self.heed(response, place)
            found = self.taken(response, place, "write", len(body.data), md5)
            await self._places.written(place)
        return found

    async def begin(self, key: str, size: int, headers: Headers, precondition: Precondition, token: str | None = None) -> Upload:
        self._check(key)
        await self.ready()
        if token is not None:
            file_id, _, session = token.partition(" ")
            place = await self._places.again(key, file_id, precondition)
            return DriveUpload(self, self._drive, place, size=size, headers=headers, session=session, committed=None)
        place = await self._places.take(key, precondition)
        # Without a word on where the bytes are from: Drive shows the file with its last byte, before anybody has compared it.
        metadata = self.metadata(place, properties.fields(properties.without_provenance(headers), self._name(key)))
        method, url = self._target(place, "resumable")
        wire = [_JSON, ("X-Upload-Content-Length", str(size)), ("X-Upload-Content-Type", metadata["mimeType"])]
        response = await self._drive.send(method, url, wire, json.dumps(metadata).encode(), units=UNITS_WRITE)
        begun = begun_at(response, self._drive.origin, service="Drive", name=self._name(key))
        if begun is None:
            await self.heed(response, place)
            raise self.failure(response, place, "begin an upload of")
        return DriveUpload(self, self._drive, place, size=size, headers=headers, session=begun, committed=0)

    async def close(self) -> None:
        """The transport is shared and closed by who opened it."""

    def lock(self, key: str) -> asyncio.Lock:
        """Held from the look before a write to its end, so that the writers of this process do not cross."""
        return self._locks.setdefault(key, asyncio.Lock())

    def metadata(self, place: Place, fields: dict[str, Any]) -> dict[str, Any]:
        if place.old is not None:
            return properties.replacing(fields, place.old)
        return fields | {"id": place.id, "name": names.name(place.key.rpartition("/")[2]), "parents": [place.parent]}

    async def still_free(self, place: Place) -> None:
        await self._places.still_free(place)

    async def heed(self, response: Response, place: Place) -> None:
        """To be called with the answer to a write, before anything is made of it."""
        if response.status == CONFLICT:
            await self._places.refused(place)

    async def label(self, place: Place, headers: Headers, md5: str, whole_crc32c: int) -> StoredObject:
        """Say of bytes that have been proven what they are and where they are from."""
        fields = properties.fields(headers, self._name(place.key), properties.checks(md5, whole_crc32c))
        new = {name: value for name, value in fields.items() if name != "createdTime"}
        request = self._drive.files.update(fileId=place.id, body=new, fields=FIELDS, supportsAllDrives=True)
        found = await self._drive.call(request, "label", self._name(place.key), UNITS_WRITE)
        await self._places.written(place)
        return self._stored(found, place.key, "label")

    def taken(self, response: Response, place: Place, doing: str, size: int, md5: str | None) -> StoredObject:
        """The object in the answer to a write, if it is what was sent. Without an `md5` only its size is looked at."""
        if response.status not in (200, 201):
            raise self.failure(response, place, doing)
        try:
            resource = json.loads(response.body)
            held, whole = resource.get("md5Checksum"), int(resource["size"])
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise Unavailable(
                f"cannot {doing} {self._name(place.key)!r}: the answer is not a file's resource: {error!r}"
            ) from error
        if resource.get("trashed"):
            self._folders.forget(place.key.split("/")[:-1])
            raise Unavailable(f"{self._name(place.key)!r} was written into a folder that is in the trash")
        if whole != size or (md5 is not None and held != md5):
            raise ChecksumMismatch(
                f"wrote {size} bytes with MD5 {md5} to {self._name(place.key)!r}, Drive holds {whole} bytes with {held}"
            )
        return self._stored(resource, place.key, doing)

    def failure(self, response: Response, place: Place, doing: str) -> ObjectError:
        error = self._drive.failure(response, doing, self._name(place.key))
        if not isinstance(error, SourceMissing):
            return error
        if place.old is not None:
            return PreconditionFailed(f"{error}; it was there a moment ago")
        self._folders.forget(place.key.split("/")[:-1])
        return Unavailable(f"{error}; the folder that it belongs in has gone")

    async def _multipart(self, place: Place, fields: dict[str, Any], data: bytes) -> Response:
        metadata = self.metadata(place, fields)
        boundary = secrets.token_hex(16)
        payload = b"".join(
            (
                f"--{boundary}\r\n{_JSON[0]}: {_JSON[1]}\r\n\r\n{json.dumps(metadata)}\r\n".encode(),
                f"--{boundary}\r\nContent-Type: {metadata['mimeType']}\r\n\r\n".encode(),
                data,
                f"\r\n--{boundary}--\r\n".encode(),
            )
        )
        method, url = self._target(place, "multipart")
        kind = ("Content-Type", f"multipart/related; boundary={boundary}")
        return await self._drive.send(method, url, [kind], payload, units=UNITS_WRITE)

    def _target(self, place: Place, kind: str) -> tuple[str, str]:
        query = [("uploadType", kind), ("fields", FIELDS)]
        new = place.old is None
        return ("POST" if new else "PATCH"), self._drive.upload_url(None if new else place.id, query)

    def _stored(self, resource: dict[str, Any], key: str, doing: str) -> StoredObject:
        try:
            return stored(resource, key)
        except (ValueError, KeyError, TypeError) as error:
            raise Unavailable(f"cannot {doing} {self._name(key)!r}: the answer is not a file's resource: {error!r}") from error

    def _check(self, key: str) -> None:
        names.check(key, self._name(key))

    def _name(self, key: str) -> str:
        return self._location.url(key)


def _md5(data: bytes) -> str:
    return hashlib.md5(data, usedforsecurity=False).hexdigest()
