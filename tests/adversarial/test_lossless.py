"""Whatever the services answer: nothing is lost with exit code 0, nothing is torn, and every job adds up."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.adversarial.ends import DriveEnd, GcsEnd, S3End
from tests.adversarial.machine import RUNS, TOLD, Machine

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.adversarial.deviations import Adversary

PAIRS: dict[str, tuple[Callable[[Adversary], Any], Callable[[Adversary], Any]]] = {
    "s3-gcs": (S3End, GcsEnd),
    "gcs-s3": (GcsEnd, S3End),
    "drive-s3": (DriveEnd, S3End),
    "s3-s3": (S3End, S3End),
}
SEARCH = os.environ.get("ADVERSARIAL_EXAMPLES")
"""How many examples of each pair; set, they are other ones each time (`make adversarial EXAMPLES=200`)."""
EXAMPLES = int(SEARCH or 5)
STEPS = 12

pytestmark = [pytest.mark.adversarial, pytest.mark.slow, pytest.mark.timeout(7200 if SEARCH else 300)]


@pytest.mark.parametrize("pair", PAIRS)
def test_nothing_is_lost_nothing_is_torn_and_the_sums_hold(pair: str, redis_address: str, request: pytest.FixtureRequest) -> None:
    source, destination = PAIRS[pair]

    class Pair(Machine):
        make_source = staticmethod(source)
        make_destination = staticmethod(destination)

    Pair.redis_address = redis_address
    RUNS.clear()
    TOLD.clear()
    run_state_machine_as_test(
        Pair,
        settings=settings(
            max_examples=EXAMPLES,
            stateful_step_count=STEPS,
            derandomize=SEARCH is None,
            deadline=None,
            database=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
    said = f"{pair}: {RUNS.total()} runs {dict(RUNS)}, {TOLD.total()} deviations {dict(TOLD)}"
    request.config.get_terminal_writer().line(said)
    assert RUNS.total()
    assert TOLD.total()
