"""Names of what we store beside the bytes of a replicated object, in its user metadata.

They are the proof that outlives Redis: a writer's `stat` shows which version of the source an object was made from, so that a
lost cache costs a look, not a copy. The values are read by later releases: they are part of the storage format.
"""

from __future__ import annotations

PREFIX = "brigade-"
"""Every name of ours starts with it."""

SOURCE_VERSION = "brigade-source-version"
"""The source's version token (`Version.token`)."""

SOURCE_SIZE = "brigade-source-size"
"""Bytes at the source, as a decimal number."""

SOURCE_MODIFIED = "brigade-source-modified"
"""When the source was last modified, as ISO 8601 with a time zone, to the nanosecond where the source tells it."""

SOURCE_KEY = "brigade-source-key"
"""Which object the copy was made from: 16 hex digits of its source, "-", 32 hex digits of its key there, each the beginning of a
SHA-256: of the location as `str(Location)` writes it, which has no endpoint, and of the key as UTF-8. Copies of before 2026-12
have none."""

SOURCE_MODE = "brigade-source-mode"
"""Who may read, write and execute the source where it is a file: three octal digits, as `chmod` takes them."""
