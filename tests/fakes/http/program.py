"""A stand-in as a program: it prints its address, says its port in a file, and serves until SIGTERM or SIGINT."""

from __future__ import annotations

import argparse
import asyncio
import signal
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.fakes.http.server import HttpServer


def parser(module: str, description: str | None) -> argparse.ArgumentParser:
    """What every stand-in takes. `module`: as in `python -m tests.fakes.gcs`."""
    found = argparse.ArgumentParser(prog=f"python -m {module}", description=description)
    found.add_argument("--host", default="127.0.0.1")
    found.add_argument("--port", type=int, default=0, help="0: any free one")
    found.add_argument("--port-file", type=Path, help="write the port here once the server listens")
    found.add_argument("--delay-ms", type=float, default=0, help="time that every request takes at least")
    return found


async def serve(make: Callable[[], HttpServer], port_file: Path | None) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with make() as server:
        if port_file is not None:
            _publish(port_file, server.port)
        print(server.url, flush=True)  # noqa: T201 - the caller reads it
        await stop.wait()


def _publish(path: Path, port: int) -> None:
    """Whoever waits for the file never sees it half written."""
    unfinished = path.with_name(f"{path.name}.unfinished")
    unfinished.write_text(f"{port}\n")
    unfinished.rename(path)
