"""What Drive can hold and how it takes bytes, for reader and writer alike."""

from __future__ import annotations

from common.storage.base import TIB, Limits
from common.storage.gdrive import properties

LIMITS = Limits(
    largest_object=5 * TIB,
    largest_put=5_000_000,
    part_multiple=256 * 1024,
    smallest_part=256 * 1024,
    preconditions=False,
    ordered_listing=False,
    kept=properties.kept,
)
"""https://developers.google.com/workspace/drive/api/guides/manage-uploads: a multipart upload is for 5 MB or less; the
chunks of a resumable one are multiples of 256 KiB and come in sequence. https://support.google.com/a/answer/172541: files up
to 5 TB."""
