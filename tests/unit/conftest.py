"""What is logged while a test runs, for the tests of every folder."""

from __future__ import annotations

import io
import json

import pytest

from common import telemetry
from common.config import LogSettings


@pytest.fixture
def lines():
    """What is logged while the test runs, as dictionaries."""
    stream = io.StringIO()
    telemetry.configure(LogSettings(level="DEBUG", format="json"), stream)
    yield lambda: [json.loads(line) for line in stream.getvalue().splitlines()]
    telemetry.configure(LogSettings())
