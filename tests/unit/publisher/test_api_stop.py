"""How the API's server ends: in a thread of its own, while others may still answer."""

from __future__ import annotations

import asyncio
import threading
import time
import urllib.request
from typing import TYPE_CHECKING

import pytest
from flask import Flask
from waitress.trigger import trigger

from publisher.api.server import ApiServer

if TYPE_CHECKING:
    from collections.abc import Callable


async def test_a_server_does_not_end_before_it_is_woken(monkeypatch: pytest.MonkeyPatch) -> None:
    # Given a server that looks all the time whether it is to end, and somebody who is slow to wake it
    turn: Callable[[ApiServer, float], None] = ApiServer._turn
    pull: Callable[[trigger], None] = trigger._physical_pull

    def pull_late(pulled: trigger) -> None:
        time.sleep(0.1)
        pull(pulled)

    monkeypatch.setattr(ApiServer, "_turn", lambda server, seconds: turn(server, 0 * seconds))
    monkeypatch.setattr(trigger, "_physical_pull", pull_late)
    server = ApiServer(Flask(__name__), "127.0.0.1", 0)
    server.start()
    # When it is told to end, twice
    # Then what wakes it is still there: a file that is closed may be another's by then
    await asyncio.gather(server.stop(), server.stop())


async def test_what_is_under_way_is_answered() -> None:
    # Given a server with a request that takes its time
    app, came, goes_on = Flask(__name__), threading.Event(), threading.Event()

    @app.get("/slow")
    def slow() -> str:
        came.set()
        goes_on.wait(20)
        return "answered"

    server = ApiServer(app, "127.0.0.1", 0)
    server.start()
    asking = ask(server, "/slow")
    await asyncio.to_thread(came.wait, 20)

    # When it is stopped meanwhile
    stopping = asyncio.create_task(server.stop())
    await asyncio.sleep(0.2)
    goes_on.set()

    # Then the request is answered first
    assert await asking == b"answered"
    await stopping


async def test_what_takes_too_long_is_left_and_may_end_later(monkeypatch: pytest.MonkeyPatch) -> None:
    # Given a server with little patience, and a request that outlives it
    monkeypatch.setattr("publisher.api.server.STOP_SECONDS", 0.2)
    app, came, goes_on, ended = Flask(__name__), threading.Event(), threading.Event(), threading.Event()

    @app.get("/endless")
    def endless() -> str:
        came.set()
        goes_on.wait(20)
        ended.set()
        return "nobody reads this"

    server = ApiServer(app, "127.0.0.1", 0)
    server.start()
    asking = ask(server, "/endless")
    await asyncio.to_thread(came.wait, 20)

    # When it is stopped
    await server.stop()

    # Then its connection is closed, and its thread ends when it can
    with pytest.raises(OSError, match=r"closed|reset"):
        await asking
    goes_on.set()
    assert await asyncio.to_thread(ended.wait, 20)


def ask(server: ApiServer, path: str) -> asyncio.Task[bytes]:
    def answer() -> bytes:
        with urllib.request.urlopen(f"http://127.0.0.1:{server.port}{path}", timeout=20) as response:
            body: bytes = response.read()
        return body

    return asyncio.create_task(asyncio.to_thread(answer))
