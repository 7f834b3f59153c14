"""Where objects are: a scheme, a bucket and a prefix. Everything else in the project names objects relative to a location.

A location is not a URL in the sense of RFC 3986: nothing in it is percent-decoded and `?` and `#` mean themselves, because
keys may hold all of them and people paste the names that they see in the console.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from urllib.parse import unquote

SCHEMES = ("s3", "gs", "gdrive", "file", "memory")
LARGEST_PREFIX = 1023
"""Bytes. A key has at most 1,024 on S3 and GCS, and a prefix without a key behind it holds no object."""

_EXAMPLES = "s3://bucket/prefix, gs://bucket/prefix, gdrive://FOLDER_ID/folder or file:///directory"
_FOLDER = re.compile(r"[A-Za-z0-9_-]{1,222}")
_BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,221}")
_NAMES = r"(?P<bucket>[A-Za-z0-9][A-Za-z0-9._-]*)(?P<rest>/[^?#]*)?"
_S3_HOST = r"s3(?:[.-](?:dualstack\.)?[a-z0-9-]+)?\.amazonaws\.com(?:\.cn)?"
_SPELLINGS = tuple(
    (re.compile(pattern, re.IGNORECASE), template)
    for pattern, template in (
        (rf"https?://{_S3_HOST}/{_NAMES}", "s3://{bucket}{rest}"),
        (rf"https?://(?P<bucket>[A-Za-z0-9][A-Za-z0-9.-]*)\.{_S3_HOST}(?P<rest>/[^?#]*)?", "s3://{bucket}{rest}"),
        (rf"https?://(?:[a-z0-9-]+\.)?console\.aws\.amazon\.com/s3/buckets/{_NAMES}", "s3://{bucket}"),
        (rf"https?://storage\.(?:googleapis|cloud\.google)\.com/{_NAMES}", "gs://{bucket}{rest}"),
        (r"https?://(?P<bucket>[A-Za-z0-9][A-Za-z0-9._-]*)\.storage\.googleapis\.com(?P<rest>/[^?#]*)?", "gs://{bucket}{rest}"),
        (rf"https?://console\.cloud\.google\.com/storage/browser/{_NAMES}", "gs://{bucket}{rest}"),
        (r"https?://drive\.google\.com/(?:drive/)?(?:u/[0-9]+/)?folders/(?P<id>[A-Za-z0-9_-]+)", "gdrive://{id}"),
        (r"https?://drive\.google\.com/.*[?&]id=(?P<id>[A-Za-z0-9_-]+)", "gdrive://{id}"),
        (r"https?://drive\.google\.com/(?:drive/)?(?:u/[0-9]+/)?(?:my-drive)?$", "gdrive://root"),
        (rf"s3[an]?:/{{0,3}}{_NAMES}", "s3://{bucket}{rest}"),
        (rf"(?:gs|gcs|google|googlestorage):/{{0,3}}{_NAMES}", "gs://{bucket}{rest}"),
        (r"(?:gdrive|drive|googledrive):/{0,3}(?P<id>[A-Za-z0-9_-]+)(?P<rest>/[^?#]*)?", "gdrive://{id}{rest}"),
        (r"file:/{0,2}(?P<rest>/[^/].*)", "file://{rest}"),
        (r"local:(?P<rest>/.*)", "file://{rest}"),
    )
)
"""How the schemes are spelt elsewhere (Hadoop's s3a and s3n, gcs, rclone's remotes), and addresses from a browser."""


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
        scheme = scheme.lower()
        if not separator or scheme not in SCHEMES:
            if better := meant(text):
                raise ValueError(f"{_shown(text)} is not a location: did you mean {better}?")
            what = f"unknown scheme {scheme[:20]!r}" if separator else "a location starts with its scheme"
            raise ValueError(f"{what}: write {_EXAMPLES}")
        if scheme == "file":
            return cls(scheme, "", _directory(rest))
        bucket, _, prefix = rest.partition("/")
        if "@" in bucket:
            raise ValueError("a location holds no credentials: set them in the environment (AWS_ACCESS_KEY_ID, GCP_CREDENTIALS)")
        if scheme == "gdrive":
            return cls(scheme, _folder(bucket), _folders(prefix))
        if not _BUCKET.fullmatch(bucket):
            better = bucket.strip()
            hint = f"did you mean {scheme}://{better}?" if _BUCKET.fullmatch(better) else f"write {_EXAMPLES}"
            raise ValueError(f"{bucket[:80]!r} is not a bucket name: {hint}")
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


def meant(text: str) -> str | None:
    """The location that somebody most likely meant who wrote this: with another spelling of the scheme, or an address from the
    browser. None where there is nothing to be guessed.
    """
    text = text.strip()
    for pattern, template in _SPELLINGS:
        if match := pattern.match(text):
            rest = {name: unquote(value) for name, value in match.groupdict(default="").items()}
            return template.format(**rest).rstrip("/")
    return None


def _shown(text: str) -> str:
    """For a message: an address may have credentials in it, or a signature behind its question mark."""
    bare = re.sub(r"(?<=//)[^/@]*@", "", text).partition("?")[0]
    return repr(bare[:120])


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
