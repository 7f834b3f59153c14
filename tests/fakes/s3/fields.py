"""What is stored beside the bytes: standard headers, user metadata, storage class, encryption, tags; how a request says it,
what S3 refuses, and how an answer says it.

https://docs.aws.amazon.com/AmazonS3/latest/API/API_PutObject.html
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl

from tests.fakes.s3.errors import S3Error, denied, invalid_argument, invalid_request

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

META = "x-amz-meta-"
LARGEST_METADATA = 2048
LARGEST_HEADERS = 8192
KEPT = (
    "content-type",
    "cache-control",
    "content-disposition",
    "content-encoding",
    "content-language",
    "expires",
    "x-amz-website-redirect-location",
)
CLASSES = frozenset(
    (
        "STANDARD",
        "REDUCED_REDUNDANCY",
        "STANDARD_IA",
        "ONEZONE_IA",
        "INTELLIGENT_TIERING",
        "GLACIER",
        "DEEP_ARCHIVE",
        "GLACIER_IR",
    )
)
_SSE = "x-amz-server-side-encryption"
_KMS_ID = f"{_SSE}-aws-kms-key-id"
_CUSTOMER = f"{_SSE}-customer-"


@dataclass(frozen=True, slots=True)
class Encryption:
    """`customer`: the MD5 of the client's own key, without which the object can be neither read nor looked at."""

    algorithm: str = "AES256"
    kms_key_id: str | None = None
    customer: str | None = None

    @property
    def hides_md5(self) -> bool:
        return self.customer is not None or self.algorithm != "AES256"

    def headers(self) -> list[tuple[str, str]]:
        if self.customer is not None:
            return [(f"{_CUSTOMER}algorithm", "AES256"), (f"{_CUSTOMER}key-md5", self.customer)]
        key = [(_KMS_ID, self.kms_key_id)] if self.kms_key_id else []
        return [(_SSE, self.algorithm), *key]


@dataclass(frozen=True, slots=True)
class Fields:
    headers: Mapping[str, str] = field(default_factory=dict)
    metadata: Mapping[str, str] = field(default_factory=dict)
    storage_class: str = "STANDARD"
    encryption: Encryption = Encryption()
    tags: Sequence[tuple[str, str]] = ()

    def wire(self) -> list[tuple[str, str]]:
        """As the headers of an answer about the object. STANDARD is what is not said."""
        kept = {"content-type": "binary/octet-stream", **self.headers}
        lines = [("-".join(word.capitalize() for word in name.split("-")), value) for name, value in kept.items()]
        lines += [(META + name, value) for name, value in self.metadata.items()]
        if self.storage_class != "STANDARD":
            lines.append(("x-amz-storage-class", self.storage_class))
        if self.tags:
            lines.append(("x-amz-tagging-count", str(len(self.tags))))
        return lines + self.encryption.headers()


def of(headers: Mapping[str, str], default: tuple[str, str | None], keys: Collection[str] | None, *, new: bool) -> Fields:
    """`default`: the bucket's encryption. `keys`: the KMS keys that there are, None: any. Raises S3Error for what S3 refuses."""
    size = sum(len(name) + len(value) + 4 for name, value in headers.items())
    if size > LARGEST_HEADERS:
        text = "Your request header section exceeds the maximum allowed request header section size"
        raise S3Error(400, "RequestHeaderSectionTooLarge", text, MaxSizeAllowed=str(LARGEST_HEADERS))
    kept = {name: headers[name] for name in KEPT if headers.get(name)}
    if new and "content-encoding" in kept:
        encodings = [item.strip() for item in kept.pop("content-encoding").split(",")]
        if remaining := ", ".join(item for item in encodings if item != "aws-chunked"):
            kept["content-encoding"] = remaining
    storage_class = headers.get("x-amz-storage-class", "STANDARD")
    if storage_class not in CLASSES:
        raise S3Error(
            400, "InvalidStorageClass", "The storage class you specified is not valid", StorageClassRequested=storage_class
        )
    return Fields(
        kept, _metadata(headers), storage_class, _encryption(headers, default, keys), tags(headers.get("x-amz-tagging", ""))
    )


def _metadata(headers: Mapping[str, str]) -> dict[str, str]:
    """2 KB for names and values together: https://docs.aws.amazon.com/AmazonS3/latest/userguide/UsingMetadata.html"""
    found = {name.removeprefix(META): value for name, value in headers.items() if name.startswith(META)}
    size = sum(len(name.encode()) + len(value.encode("latin-1")) for name, value in found.items())
    if size > LARGEST_METADATA:
        text = "Your metadata headers exceed the maximum allowed metadata size"
        raise S3Error(400, "MetadataTooLarge", text, Size=str(size), MaxSizeAllowed=str(LARGEST_METADATA))
    return found


def _encryption(headers: Mapping[str, str], default: tuple[str, str | None], keys: Collection[str] | None) -> Encryption:
    algorithm, key = headers.get(_SSE), headers.get(_KMS_ID)
    if (customer := customer_key(headers)) is not None:
        if algorithm is not None:
            raise invalid_argument("Server Side Encryption with Customer provided key is incompatible with the encryption method")
        return Encryption("AES256", None, customer)
    if algorithm is None and key is None:
        return Encryption(*default)
    if algorithm not in {"AES256", "aws:kms", "aws:kms:dsse"}:
        text = "The encryption request you specified is not valid. Supported value: AES256."
        raise S3Error(400, "InvalidEncryptionAlgorithmError", text)
    if algorithm == "AES256":
        if key is not None:
            text = "Server Side Encryption with AWS KMS managed key requires HTTP header x-amz-server-side-encryption : aws:kms"
            raise invalid_argument(text, _SSE, algorithm)
        return Encryption()
    if key is not None and keys is not None and key not in keys:
        raise S3Error(400, "KMS.NotFoundException", f"Key '{key}' does not exist")
    return Encryption(algorithm, key or "arn:aws:kms:us-east-1:111122223333:key/aws-s3")


def customer_key(headers: Mapping[str, str]) -> str | None:
    """The MD5 of the customer's key, as base64; None without one."""
    algorithm, key, digest = (headers.get(_CUSTOMER + name) for name in ("algorithm", "key", "key-md5"))
    if algorithm is None and key is None and digest is None:
        return None
    try:
        raw = base64.b64decode(key or "", validate=True)
    except binascii.Error:
        raw = b""
    if algorithm != "AES256" or len(raw) != 32 or digest is None:
        raise invalid_argument("Requests specifying Server Side Encryption with Customer provided keys must provide all of it.")
    actual = base64.b64encode(hashlib.md5(raw, usedforsecurity=False).digest()).decode()
    if actual != digest:
        raise invalid_argument("The calculated MD5 hash of the key did not match the hash that was provided.")
    return actual


def check_customer_key(stored: Encryption, headers: Mapping[str, str]) -> None:
    given = customer_key(headers)
    if stored.customer is None:
        if given is not None:
            raise invalid_request("The encryption parameters are not applicable to this object.")
    elif given is None:
        advice = "The correct parameters must be provided to retrieve the object."
        raise invalid_request(f"The object was stored using a form of Server Side Encryption. {advice}")
    elif given != stored.customer:
        raise denied()


def tags(text: str) -> tuple[tuple[str, str], ...]:
    """From `x-amz-tagging`: https://docs.aws.amazon.com/AmazonS3/latest/userguide/object-tagging.html"""
    return check_tags(tuple(parse_qsl(text, keep_blank_values=True)))


def check_tags(found: tuple[tuple[str, str], ...]) -> tuple[tuple[str, str], ...]:
    if len(found) > 10:
        raise S3Error(400, "BadRequest", "Object tags cannot be greater than 10")
    if len({name for name, _ in found}) < len(found):
        raise S3Error(400, "InvalidTag", "Cannot provide multiple Tags with the same key")
    for name, value in found:
        if not 0 < len(name) <= 128 or name.startswith("aws:"):
            raise S3Error(400, "InvalidTag", "The TagKey you have provided is invalid", TagKey=name)
        if len(value) > 256:
            raise S3Error(400, "InvalidTag", "The TagValue you have provided is invalid", TagKey=name, TagValue=value)
    return found
