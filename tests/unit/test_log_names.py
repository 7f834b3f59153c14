"""The names that alerts look for: which failure has which, and where they stand in the log."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner

from brigade.__main__ import brigade
from common import telemetry
from common.config import LogSettings, Settings
from common.errors import (
    Archived,
    ChecksumMismatch,
    Forbidden,
    QueueUnavailable,
    SettingsError,
    SourceChanged,
    SourceMissing,
    Unavailable,
)
from common.log_names import Message, Program, main_program, of_failure
from common.storage.retry import Policy, Retrier, RetryingReader, RetryingWriter
from worker import processes


class Refusing:
    """Both ends of a route, refusing everything."""

    limits = None

    async def stat(self, key: str) -> None:
        raise Forbidden("no")


async def raised(at_source: bool) -> Forbidden:
    retrier = Retrier(Policy(), lambda _: None, lambda: 1.0, at_source=at_source)  # type: ignore[arg-type,return-value]
    wrapper = RetryingReader if at_source else RetryingWriter
    with pytest.raises(Forbidden) as error:
        await wrapper(Refusing(), retrier).stat("key")  # type: ignore[arg-type]
    return error.value


async def test_the_same_error_is_named_by_the_end_that_raised_it() -> None:
    # Given a source and a destination that refuse alike
    # When an object meets one or the other
    # Then the name says which
    assert of_failure(await raised(at_source=True)) is Message.OBJECT_DOWNLOAD_ERROR
    assert of_failure(await raised(at_source=False)) is Message.OBJECT_UPLOAD_ERROR


async def test_a_cause_tells_where_an_error_is_from() -> None:
    # Given an error that was made of another
    error = Unavailable("the source says two things")
    error.__cause__ = await raised(at_source=True)

    # When it is named
    # Then the cause decides
    assert of_failure(error) is Message.OBJECT_DOWNLOAD_ERROR


@pytest.mark.parametrize(
    ("error", "name"),
    [
        (SourceMissing("gone"), Message.OBJECT_DOWNLOAD_ERROR),
        (SourceChanged("other"), Message.OBJECT_DOWNLOAD_ERROR),
        (Archived("cold"), Message.OBJECT_DOWNLOAD_ERROR),
        (ChecksumMismatch("the destination holds other bytes"), Message.OBJECT_UPLOAD_ERROR),
        (ZeroDivisionError("ours"), Message.OBJECT_UPLOAD_ERROR),
    ],
)
def test_what_no_end_raised_is_named_by_its_kind(error: Exception, name: Message) -> None:
    # Given an error of which no end is known
    # When it is named
    # Then its kind decides
    assert of_failure(error) is name


def test_a_program_that_ends_by_a_fault_says_so(lines) -> None:
    # Given a fault of ours, a service that is away, and settings that cannot work
    for error in (ZeroDivisionError("ours"), QueueUnavailable("away"), SettingsError(["a setting"])):
        # When they end the publisher
        # Then they do
        with pytest.raises(type(error)), main_program(Program.PUBLISHER):
            raise error

    # And the first two are in the log, with a traceback where there is something to mend
    ours, away = lines()
    for line in (ours, away):
        assert (line["message"], line["program"], line["level"]) == ("MAIN_PROGRAM_ERROR", "PUBLISHER", "error")
    assert ours["error"] == "ZeroDivisionError: ours"
    assert "Traceback" in ours["exception"]
    assert away["error"] == "QueueUnavailable: away"
    assert "exception" not in away


def test_the_worker_is_called_worker(lines, monkeypatch) -> None:
    # Given a worker that ends by a fault
    def broken(*_: object) -> int:
        raise ZeroDivisionError("ours")

    monkeypatch.setattr("worker.runner.run", broken)

    # When it is run
    with pytest.raises(ZeroDivisionError):
        processes.run(Settings(), 1)

    # Then it says so
    (line,) = lines()
    assert (line["message"], line["program"]) == ("MAIN_PROGRAM_ERROR", "WORKER")


def test_the_publisher_is_called_publisher(monkeypatch, tmp_path) -> None:
    # Given a publisher that ends by a fault
    async def broken(*_: object) -> int:
        raise ZeroDivisionError("ours")

    monkeypatch.setattr("publisher.runner.run", broken)
    monkeypatch.chdir(tmp_path)
    environ = {
        "AWS_S3_BUCKET": "photos",
        "GCP_BUCKET_NAME": "copy",
        "BRIGADE_QUEUE": "redis",
        "REDIS_ADDRESS": "localhost:1",
        "SYSTEM_ADMIN_USERNAME": "admin",
        "SYSTEM_ADMIN_PASSWORD": "password",
    }

    # When the command is run
    done = CliRunner().invoke(brigade, ["--log-format", "json", "publish"], env=environ)

    # Then it says so, and the fault goes on
    assert isinstance(done.exception, ZeroDivisionError)
    (line,) = [json.loads(line) for line in done.stderr.splitlines()]
    assert (line["message"], line["program"]) == ("MAIN_PROGRAM_ERROR", "PUBLISHER")
    telemetry.configure(LogSettings())
