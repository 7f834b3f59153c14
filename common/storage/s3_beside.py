"""What else S3 says of an object: headers of an answer that are neither its transport nor carried by us, and so are counted.

Named is what is known to be of the answer, of the bucket, or modelled elsewhere; any other `x-amz-` or `x-goog-` header says
something of the object (https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetObject.html#API_GetObject_ResponseElements).
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

_OURS = ("x-amz-", "x-goog-")
_KNOWN = re.compile(
    # Of this answer
    r"x-amz-(?:request-id|id-2|request-charged|cf-.*|apigw-id|rid|error-.*|meta-.*|checksum-.*|trailer|content-sha256|date"
    # Of the version and how it is stored, by us or by the bucket: AES256 has been the default of every bucket since 2023
    r"|version-id|delete-marker|mp-parts-count|object-size|tagging-count|storage-class|bucket-.*|access-point-.*|archive-status"
    r"|restore|restore-.*|expiration|replication-status|abort-.*|website-redirect-location|object-parts|object-if-.*"
    r"|server-side-encryption-(?:aws-kms-key-id|bucket-key-enabled|context|customer-key-md5))"
    # GCS speaking S3's protocol
    r"|x-goog-(?:generation|metageneration|hash|stored-.*|storage-class|component-count|expiration|meta-.*|request-.*|gcs-.*|"
    r"encryption-key-sha256)"
).fullmatch
_NOTHING = {
    "x-amz-server-side-encryption": "AES256",
    "x-amz-object-lock-legal-hold": "OFF",
    "x-amz-missing-meta": "0",
}
"""What they say where there is nothing to lose."""


def uncarried(wire: Mapping[str, str]) -> dict[str, str]:
    """By name, as the service calls it."""
    return {
        name: value
        for name, value in wire.items()
        if name.startswith(_OURS) and value and not _KNOWN(name) and value != _NOTHING.get(name)
    }
