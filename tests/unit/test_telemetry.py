"""Logs: one line per event, no secret, no forged line, and no cost where the level is off."""

from __future__ import annotations

import io
import json
import logging
import subprocess
import sys
import warnings
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from common import telemetry
from common.config import LogSettings
from common.redaction import printable, redact
from common.telemetry import configure, get_logger

log = get_logger("tests.telemetry")


@pytest.fixture
def lines():
    """The JSON lines written so far, at level INFO. Afterwards logging is as it was."""
    stream = io.StringIO()
    root, output = logging.getLogger(), telemetry._output
    before, threshold, sink = list(root.handlers), output.threshold, output._sink
    configure(LogSettings(level="INFO", format="json"), stream)
    yield lambda: [json.loads(line) for line in stream.getvalue().splitlines()]
    logging.captureWarnings(capture=False)
    root.handlers[:] = before
    output.threshold, output._sink = threshold, sink


def test_a_line_has_time_level_action_text_and_fields(lines):
    # When something is said
    log.bind(worker="w1").info("the object is there", action="object_replicated", key="a/b", size=3)

    # Then all of it is on one line, the time in UTC
    (line,) = lines()
    assert list(line)[:4] == ["timestamp", "level", "action", "event"]
    moment = datetime.fromisoformat(line.pop("timestamp"))
    assert moment.tzinfo == UTC
    assert line == {
        "level": "info",
        "action": "object_replicated",
        "event": "the object is there",
        "logger": "tests.telemetry",
        "worker": "w1",
        "key": "a/b",
        "size": 3,
    }


def test_a_level_that_is_off_writes_nothing_and_looks_at_no_field(lines):
    class Costly:
        def __str__(self):
            raise AssertionError("was looked at")

    log.debug("x", action="y", field=Costly())
    assert lines() == []


SECRETS = [
    ("https://h/k?X-Amz-Signature=SECRET&x=1", "https://h/k?X-Amz-Signature=***&x=1"),
    ("https://h/k?a=b&X-Amz-Security-Token=SECRET", "https://h/k?a=b&X-Amz-Security-Token=***"),
    ("https://h/k?X-Goog-Signature=SECRET", "https://h/k?X-Goog-Signature=***"),
    ("https://cdn/k?Expires=1&Signature=SECRET~-&Key-Pair-Id=SECRET", "https://cdn/k?Expires=1&Signature=***&Key-Pair-Id=***"),
    ("https://cdn/k?Policy=SECRET__&Hash-Algorithm=SHA256", "https://cdn/k?Policy=***&Hash-Algorithm=SHA256"),
    ("POST /upload?uploadType=resumable&upload_id=SECRET", "POST /upload?uploadType=resumable&upload_id=***"),
    ("Authorization: Bearer SECRET", "Authorization: ***"),
    ("{'Authorization': 'Basic SECRET'}", "{'Authorization': '***'}"),
    ("Error 111 connecting to redis://:SECRET@cache:6379/0", "Error 111 connecting to redis://***@cache:6379/0"),
    ("rediss://user:SECRET@cache", "rediss://***@cache"),
    ('{"private_key": "SECRET", "type": "x"}', '{"private_key": ***, "type": "x"}'),
    ("-----BEGIN PRIVATE KEY-----\nSECRET\n-----END PRIVATE KEY----- rest", "-----BEGIN PRIVATE KEY-----*** rest"),
    ("grant_type=x&assertion=SECRET", "grant_type=x&assertion=***"),
]


@pytest.mark.parametrize(("text", "expected"), SECRETS)
def test_secrets_in_texts_are_masked(text, expected):
    assert redact(text) == expected


def test_the_signature_of_a_signed_header_is_masked():
    header = "Authorization: AWS4-HMAC-SHA256 Credential=AKID/20260101/eu/s3/aws4_request, SignedHeaders=host, Signature=SECRET"
    assert "SECRET" not in redact(header)


@pytest.mark.parametrize("text", ["photos/2024/a=b&c.jpg", "etag 0123abc", "s3://bucket/key:with:colons", "https://host:80/x"])
def test_what_is_no_secret_stays(text):
    assert redact(text) == text


@pytest.mark.parametrize(("text", "_expected"), SECRETS)
def test_no_way_into_a_line_lets_a_secret_through(text, _expected, lines):
    # When a secret comes as text, field, list, mapping, bytes and in an exception
    log.info(text, action="x", field=text, many=[text, {"deep": (text,)}], raw=text.encode())
    log.error("it broke", action="y", exc_info=ValueError(text))

    # Then it is in none of them
    assert len(lines()) == 2
    assert "SECRET" not in json.dumps(lines())


def test_fields_that_are_secret_by_type_or_name_are_masked(lines):
    log.info(
        "x",
        action="y",
        a=SecretStr("SECRET"),
        password="SECRET",
        headers={"authorization": "SECRET"},
        redis_password="SECRET",
        b=[SecretStr("SECRET")],
    )
    (line,) = lines()
    assert "SECRET" not in json.dumps(line)
    assert line["password"] == line["headers"]["authorization"] == line["a"] == "***"


def test_numbers_are_counts_whatever_their_name(lines):
    # Given counters with the names of secrets
    log.info("x", action="y", declined={"signature": 3, "credentials": 0, "password": "SECRET"}, secret=2.5, private_key=True)
    (line,) = lines()
    # Then they can be read, and what is no number cannot
    assert line["declined"] == {"signature": 3, "credentials": 0, "password": "***"}
    assert (line["secret"], line["private_key"]) == (2.5, True)


def test_a_key_cannot_forge_a_line_or_steer_a_terminal():
    # Given a key with a line break, an escape sequence and a right-to-left mark, on a console
    stream = io.StringIO()
    sink = telemetry._sink(stream, console=True)

    # When it is logged
    sink.info("moved", action="x", key="a\n2026-01-01 [error] forged\x1b[2J\u202egpj\u2028.exe")

    # Then there is one line, and nothing in it but printable characters
    (line,) = stream.getvalue().splitlines()
    assert "forged" in line
    assert line.isprintable()


@given(st.text(alphabet=st.characters(), max_size=60))
def test_whatever_the_text_it_becomes_one_printable_line(text):
    shown = printable(text)
    assert len(shown.splitlines()) <= 1
    assert not any(ord(character) < 32 or 0xD800 <= ord(character) < 0xE000 for character in shown)


def test_a_very_long_text_is_cut_and_its_length_said():
    shown = printable("x" * 100_000)
    assert len(shown) < 2100
    assert shown.endswith("(100000 characters)")


def test_libraries_speak_through_the_same_lines_from_warning_on(lines):
    # When a library warns, errs and informs
    library = logging.getLogger("some.library")
    library.warning("retrying %s", "https://h?Signature=SECRET")
    library.info("details")
    library.error("gave up", exc_info=OSError("broken"))
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        logging.getLogger("py.warnings").warning("old way")

    # Then warnings and errors are there, redacted
    assert [(line["level"], line["event"]) for line in lines()] == [
        ("warning", "retrying https://h?Signature=***"),
        ("error", "gave up"),
        ("warning", "old way"),
    ]
    assert "OSError: broken" in lines()[1]["exception"]


def test_configuring_again_does_not_double_lines(lines):
    stream = io.StringIO()
    configure(LogSettings(format="json"), stream)
    logging.getLogger("some.library").warning("once")
    assert len(stream.getvalue().splitlines()) == 1
    assert lines() == []


def test_a_log_that_nobody_reads_does_not_stop_the_work(lines):
    class Broken(io.StringIO):
        def write(self, text):
            raise BrokenPipeError(text)

    configure(LogSettings(format="json"), Broken())
    log.error("nobody hears", action="x")
    assert lines() == []


def test_before_it_is_configured_warnings_go_to_standard_error_and_stdout_stays_empty():
    code = "from common.telemetry import get_logger; log = get_logger('x'); log.info('quiet'); log.warning('loud', action='y')"
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "loud" in answer.stderr
    assert "quiet" not in answer.stderr
    assert answer.stdout == ""
