"""Ends the process without warning at a named step, so that tests can prove that nothing is lost there (see CONTRIBUTING.md)."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

from common.errors import SettingsError
from common.steps import OnStep, Step, ignore

if TYPE_CHECKING:
    from collections.abc import Mapping

VARIABLE = "BRIGADE_KILL_AT"


class KillAt:
    """Goes on until `step` is reached for the `count`th time in this process. Survives being sent to a spawned process."""

    def __init__(self, step: Step, count: int) -> None:
        self._step = step
        self._left = count

    def __call__(self, step: Step) -> None:
        if step is self._step:
            self._left -= 1
            if self._left == 0:
                os.kill(os.getpid(), signal.SIGKILL)


def on_step(environ: Mapping[str, str]) -> OnStep:
    """What to do at each step: nothing, unless BRIGADE_KILL_AT says otherwise ("worker.written", "worker.written:3")."""
    wanted = environ.get(VARIABLE, "")
    if not wanted:
        return ignore
    name, _, count = wanted.partition(":")
    if name not in list(Step) or not (count or "1").isdecimal() or int(count or "1") < 1:
        raise SettingsError([f"{VARIABLE} is not STEP or STEP:COUNT: steps are {', '.join(Step)}"])
    return KillAt(Step(name), int(count or "1"))
