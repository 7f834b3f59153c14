"""Every error of the project, in one tree.

BrigadeError
├── SettingsError            what the user wrote cannot work; nothing was contacted; exit code 2
├── StateUnavailable         Redis is away or full: wait, nothing is known to be done or undone
├── QueueUnavailable         the queue is away: wait, deliveries come back by themselves
└── ObjectError              one object could not be moved; each kind has a category
    ├── SourceMissing        the object is gone from the source
    ├── SourceChanged        the source holds another version than the task names
    ├── Forbidden            the service knows us and refuses
    ├── Unauthenticated      we have no credentials, or the service does not take them any more
    ├── Archived             the bytes are in cold storage and must be restored first
    ├── InvalidName          the destination cannot hold a key of this shape
    ├── TooLarge             the destination cannot hold an object of this size
    ├── MetadataLost         the destination cannot keep what the object has beside its bytes, and the route is strict
    ├── ChecksumMismatch     bytes arrived that are not the bytes that were sent
    ├── PreconditionFailed   the destination holds something else than the writer assumed
    ├── DestinationConflict  someone else keeps writing the same destination object
    │   └── DestinationTaken  an object is there that must not be written over
    ├── UploadLost           the service no longer knows the upload: begin again
    ├── RateLimited          the service asked for fewer requests
    ├── Parked               a limit of the day is used up: the route waits until it is reset
    ├── Unavailable          no answer, or a 5xx: the service or the network is away
    │   └── Inconsistent      answers that do not fit together
    ├── LocationMissing      no such bucket or directory, or another region
    ├── Malformed            a message that is not a task of ours
    │   └── NotKnownYet      a task of a route, or in a schema, that this process does not know: a newer one may
    ├── KillsWorker          several worker processes died while they handled the object
    └── Refused              the service answered with an error that is none of the above

A backend translates its provider's codes into these; above the backend nobody knows a provider's code. Each object
error answers two questions: may it be tried again (`retryable`), and not before when (`retry_after`, seconds).
"""

from __future__ import annotations

from enum import StrEnum
from typing import ClassVar


class Category(StrEnum):
    """The word for a failure in the error topic, the logs and the API. The values are part of the wire format."""

    SOURCE_MISSING = "source_missing"
    SOURCE_CHANGED = "source_changed"
    FORBIDDEN = "forbidden"
    UNAUTHENTICATED = "unauthenticated"
    ARCHIVED = "archived"
    INVALID_NAME = "invalid_name"
    TOO_LARGE = "too_large"
    METADATA_LOST = "metadata_lost"
    CHECKSUM_MISMATCH = "checksum_mismatch"
    PRECONDITION_FAILED = "precondition_failed"
    DESTINATION_CONFLICT = "destination_conflict"
    UPLOAD_LOST = "upload_lost"
    RATE_LIMITED = "rate_limited"
    PARKED = "parked"
    UNAVAILABLE = "unavailable"
    LOCATION_MISSING = "location_missing"
    MALFORMED = "malformed"
    KILLS_WORKER = "kills_worker"
    REFUSED = "refused"
    INTERNAL = "internal"


class BrigadeError(Exception):
    """The root. The text says what went wrong, where, why, and what to do; it never holds a secret or a signed URL."""


class SettingsError(BrigadeError):
    """The settings cannot work. `faults` holds one line per fault, each naming the setting and what to write instead."""

    def __init__(self, faults: list[str]) -> None:
        super().__init__("\n".join(faults))
        self.faults = faults


class StateUnavailable(BrigadeError):
    """Redis did not answer, or refuses to write. The outcome of the call is unknown; every call may be repeated.

    `reason` is one word for it (common.state.trouble), for those who may not see more.
    """

    def __init__(self, message: str, *, reason: str = "unreachable") -> None:
        super().__init__(message)
        self.reason = reason


class QueueUnavailable(BrigadeError):
    """The queue did not answer. Nothing is lost: what was not acknowledged is delivered again."""


class ObjectError(BrigadeError):
    """One object could not be moved. Subclasses fix `category` and `retryable`."""

    category: ClassVar[Category] = Category.INTERNAL
    retryable: ClassVar[bool] = False
    of_location: bool = False
    """Whether it is most likely said of the whole end of the route, and not of this object: every other one would meet it."""
    at_source: bool | None = None
    """Whether the route's source raised it, or its destination; None where neither is known to have."""

    def __init__(self, message: str, *, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class SourceMissing(ObjectError):
    category = Category.SOURCE_MISSING


class SourceChanged(ObjectError):
    category = Category.SOURCE_CHANGED


class Forbidden(ObjectError):
    category = Category.FORBIDDEN
    of_location = True


class Unauthenticated(ObjectError):
    """Retryable: expired credentials are renewed, by a role or by a person, and the object is not to blame."""

    category = Category.UNAUTHENTICATED
    retryable = True
    of_location = True


class Archived(ObjectError):
    category = Category.ARCHIVED


class InvalidName(ObjectError):
    category = Category.INVALID_NAME


class TooLarge(ObjectError):
    category = Category.TOO_LARGE


class MetadataLost(ObjectError):
    category = Category.METADATA_LOST


class ChecksumMismatch(ObjectError):
    """Retryable: the usual cause is a fault on the way, and the next attempt reads the bytes afresh."""

    category = Category.CHECKSUM_MISMATCH
    retryable = True


class PreconditionFailed(ObjectError):
    """Not retried as it stands: whoever wrote the precondition looks again and decides."""

    category = Category.PRECONDITION_FAILED


class DestinationConflict(ObjectError):
    category = Category.DESTINATION_CONFLICT
    retryable = True


class DestinationTaken(DestinationConflict):
    """Another attempt would find the same."""

    retryable = False


class UploadLost(ObjectError):
    """Retryable from the start of the upload, not from the part at which it was noticed."""

    category = Category.UPLOAD_LOST
    retryable = True


class RateLimited(ObjectError):
    category = Category.RATE_LIMITED
    retryable = True


class Parked(ObjectError):
    """No object of the route can be moved before `until` (seconds since 1970): it says nothing about this one, and counts as no
    attempt at it.
    """

    category = Category.PARKED
    retryable = True

    def __init__(self, message: str, *, until: float) -> None:
        super().__init__(message)
        self.until = until


class Unavailable(ObjectError):
    category = Category.UNAVAILABLE
    retryable = True


class Inconsistent(Unavailable):
    """The service answers, and its answers do not fit together. Waiting helps less than with one that is away."""


class LocationMissing(ObjectError):
    category = Category.LOCATION_MISSING
    of_location = True


class Malformed(ObjectError):
    category = Category.MALFORMED


class NotKnownYet(Malformed):
    """Nothing is wrong with the message as far as can be seen: settings or a version newer than ours made it. `subject` is what
    is not known ("route photos", "task schema 2"), `queued` when the message was made, in seconds since 1970, where it says so.
    """

    def __init__(self, message: str, *, subject: str, queued: float | None = None) -> None:
        super().__init__(message)
        self.subject = subject
        self.queued = queued


class KillsWorker(ObjectError):
    category = Category.KILLS_WORKER


class Refused(ObjectError):
    category = Category.REFUSED
