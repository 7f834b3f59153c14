"""Background tasks: one that ends is logged by its name and begun again, for as long as its owner lives."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from common.background import LONGEST_PAUSE, Background
from common.errors import SettingsError
from tests.unit import clockwork


class Recorder:
    def __init__(self) -> None:
        self.lines: list[tuple[str, dict[str, Any]]] = []

    def warning(self, _text: str, **fields: Any) -> None:
        self.lines.append(("warning", fields))

    def error(self, _text: str, **fields: Any) -> None:
        self.lines.append(("error", fields))


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch) -> Recorder:
    recorder = Recorder()
    monkeypatch.setattr("common.background.log", recorder)
    return recorder


def test_a_task_that_fails_is_said_and_begun_again(said: Recorder) -> None:
    # Given work that is refused, breaks, and ends, and then goes on for ever
    ends: list[Exception | None] = [SettingsError(["Redis forbids it"]), ZeroDivisionError("a fault of ours"), None]
    begun: list[float] = []

    async def work() -> None:
        begun.append(asyncio.get_running_loop().time())
        if not ends:
            await asyncio.Event().wait()
        if (end := ends.pop(0)) is not None:
            raise end

    async def main() -> None:
        background = Background()
        background.keep("claims", work)
        await asyncio.sleep(60)
        await background.close()
        await background.close()

    # When a minute passes
    clockwork.run(main())
    # Then it was begun again each time, after growing pauses, and the log names it each time
    assert begun == [0, 1, 3, 7]
    assert [(level, line["action"], line["task"], line["next_try_seconds"]) for level, line in said.lines] == [
        ("warning", "task_failed", "claims", 1),
        ("error", "task_failed", "claims", 2),
        ("error", "task_ended", "claims", 4),
    ]
    assert said.lines[0][1]["error"] == "Redis forbids it"
    assert isinstance(said.lines[1][1]["exc_info"], ZeroDivisionError)


def test_pauses_stay_below_the_bound_and_begin_anew_after_a_good_time(said: Recorder) -> None:
    # Given work that fails at once ten times, then after five minutes
    runs: list[float] = [*[0] * 10, 300, 0]

    async def work() -> None:
        await asyncio.sleep(runs.pop(0) if runs else 1e9)
        raise OSError("gone")

    async def main() -> None:
        background = Background()
        background.keep("leases", work)
        await asyncio.sleep(3000)
        await background.close()

    # When
    clockwork.run(main())
    # Then
    pauses = [line["next_try_seconds"] for _, line in said.lines]
    assert pauses == [1, 2, 4, 8, 16, 32, LONGEST_PAUSE, LONGEST_PAUSE, LONGEST_PAUSE, LONGEST_PAUSE, 1, 2]


async def test_what_is_begun_once_is_said_when_it_fails(said: Recorder) -> None:
    # Given one that works and one that fails
    done = []

    async def work() -> None:
        done.append(1)

    async def fail() -> None:
        raise OSError("no space")

    background = Background()
    background.begin("good", work)
    background.begin("bad", fail)
    # When
    await background.finish()
    # Then
    assert done == [1]
    assert [(line["action"], line["task"], line["error"]) for _, line in said.lines] == [
        ("task_failed", "bad", "OSError: no space")
    ]


async def test_closing_ends_what_has_not_begun_yet() -> None:
    background = Background()
    background.keep("kept", asyncio.Event().wait)  # type: ignore[arg-type]
    background.begin("once", asyncio.Event().wait)  # type: ignore[arg-type]
    await background.close()
    await asyncio.wait_for(background.finish(), 1)
