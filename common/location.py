"""Where objects are: a scheme, a bucket and a prefix. Everything else in the project names objects relative to a location.

A location is not a URL in the sense of RFC 3986: nothing in it is percent-decoded and `?` and `#` mean themselves, because
keys may hold all of them and people paste the names that they see in the console.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass

SCHEMES = ("s3", "gs", "gdrive", "file", "memory")
LARGEST_PREFIX = 1023
"""Bytes. A key has at most 1,024 on S3 and GCS, and a prefix without a key behind it holds no object."""

_EXAMPLES = "s3://bucket/prefix, gs://bucket/prefix, gdrive://FOLDER_ID/folder or file:///directory"
_FOLDER = re.compile(r"[A-Za-z0-9_-]{1,222}")
_BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,221}")


@dataclass(frozen=True, slots=True)
class Location:
    """`prefix` is "" or ends with "/". The full key of an object is prefix + key.

    For file, `bucket` is "" and `prefix` is the absolute path of the directory, ending with "/". For gdrive, `bucket` is the id
    of a folder or a shared drive, or "root" for My Drive, and `prefix` the names of folders below it.
    """

    scheme: str
    bucket: str
    prefix: str

    @classmethod
    def parse(cls, text: str) -> Location:
        """The location that `str` writes. Raises ValueError that says what to write instead, without repeating credentials."""
        scheme, separator, rest = text.partition("://")
        if not separator:
            raise ValueError(f"a location starts with its scheme: write {_EXAMPLES}")
        if scheme not in SCHEMES:
            raise ValueError(f"unknown scheme {scheme[:20]!r}: write {_EXAMPLES}")
        if scheme == "file":
            return cls(scheme, "", _directory(rest))
        bucket, _, prefix = rest.partition("/")
        if "@" in bucket:
            raise ValueError("a location holds no credentials: set them in the environment (AWS_ACCESS_KEY_ID, GCP_CREDENTIALS)")
        if scheme == "gdrive":
            return cls(scheme, _folder(bucket), _folders(prefix))
        if not _BUCKET.fullmatch(bucket):
            raise ValueError(f"{bucket[:80]!r} is not a bucket name: write {_EXAMPLES}")
        return cls(scheme, bucket, _prefix(prefix))

    def holds(self, other: Location) -> bool:
        """Whether every object of `other` is an object of this location too; True for equal ones. Endpoints are not looked at."""
        return (self.scheme, self.bucket) == (other.scheme, other.bucket) and other.prefix.startswith(self.prefix)

    def url(self, key: str) -> str:
        """The object as people write it. For reading only: an odd key makes an odd URL."""
        return f"{self}{'' if self.prefix else '/'}{key}"

    def __str__(self) -> str:
        slash = "/" if self.bucket and self.prefix else ""
        return f"{self.scheme}://{self.bucket}{slash}{self.prefix}"


def as_utf8(text: str) -> str:
    """What came from the command line or the environment, as UTF-8 whatever the locale: Python decoded it by that, and names of
    directories and keys are bytes. Raises UnicodeEncodeError for text that was not decoded from bytes.
    """
    return os.fsencode(text).decode("utf-8", "surrogateescape")


def _prefix(text: str) -> str:
    prefix = text if not text or text.endswith("/") else text + "/"
    if len(prefix.encode("utf-8", "surrogatepass")) > LARGEST_PREFIX:
        raise ValueError(f"a prefix has at most {LARGEST_PREFIX} bytes")
    return prefix


def _folder(text: str) -> str:
    if not _FOLDER.fullmatch(text):
        raise ValueError(
            f"{text[:80]!r} is not the id of a folder: write gdrive://FOLDER_ID/folder, with the last part of the folder's "
            "address, or gdrive://root/folder for My Drive"
        )
    return text


def _folders(text: str) -> str:
    if any(name in ("", ".", "..") for name in text.rstrip("/").split("/")) and text.rstrip("/"):
        raise ValueError("a Drive location has a name between any two slashes, and no '.' or '..': write the folders' names")
    return _prefix(text.rstrip("/"))


def _directory(text: str) -> str:
    if not text.startswith("/"):
        raise ValueError("a file location is an absolute path: write file:///directory, with three slashes")
    parts = [part for part in text.split("/") if part not in ("", ".")]
    if ".." in parts or "\0" in text:
        raise ValueError("a file location has no '..' and no NUL: write the path of the directory itself")
    return "/".join(["", *parts, ""])
