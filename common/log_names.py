"""Names in the log that alerts written for this project's predecessors look for. They stand in the field `message`, beside the
`action` that is our own, and are part of the log's format.
"""

from __future__ import annotations

from contextlib import contextmanager
from enum import StrEnum
from typing import TYPE_CHECKING

from common.errors import Archived, BrigadeError, ObjectError, SettingsError, SourceChanged, SourceMissing
from common.telemetry import get_logger

if TYPE_CHECKING:
    from collections.abc import Iterator

log = get_logger(__name__)


class Message(StrEnum):
    OBJECT_INITIATED = "OBJECT_INITIATED"
    """A worker begins with an object. At level DEBUG."""
    OBJECT_DOWNLOAD_ERROR = "OBJECT_DOWNLOAD_ERROR"
    """The source did not give the object: this attempt failed (warning), or was the last one (error)."""
    OBJECT_UPLOAD_ERROR = "OBJECT_UPLOAD_ERROR"
    """The destination did not take it."""
    MAIN_PROGRAM_ERROR = "MAIN_PROGRAM_ERROR"
    """A fault that ends a program; the field `program` says which."""


class Program(StrEnum):
    PUBLISHER = "PUBLISHER"
    WORKER = "WORKER"


def of_failure(error: BaseException) -> Message:
    """The name for an object that could not be moved, by the end that raised the error or its cause."""
    while isinstance(error, ObjectError):
        if error.at_source is not None:
            return Message.OBJECT_DOWNLOAD_ERROR if error.at_source else Message.OBJECT_UPLOAD_ERROR
        if isinstance(error, SourceMissing | SourceChanged | Archived):
            return Message.OBJECT_DOWNLOAD_ERROR
        if error.__cause__ is None:
            break
        error = error.__cause__
    return Message.OBJECT_UPLOAD_ERROR


@contextmanager
def main_program(program: Program) -> Iterator[None]:
    """Say that the program ends by an error, and let it. Settings that cannot work are said by whoever reads them."""
    try:
        yield
    except SettingsError:
        raise
    except Exception as error:
        say = log.error if isinstance(error, BrigadeError) else log.exception
        say(
            "the program ends by an error",
            action="program_failed",
            message=Message.MAIN_PROGRAM_ERROR.value,
            program=program.value,
            error=f"{type(error).__name__}: {error}",
        )
        raise
