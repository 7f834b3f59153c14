"""The stand-in as a program: `python -m tests.fakes.drive` prints its address and serves until SIGTERM."""

from __future__ import annotations

import argparse
import asyncio
import signal
from pathlib import Path

from tests.fakes.drive.server import DriveServer
from tests.fakes.drive.settings import Settings


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.fakes.drive", description=__doc__)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0, help="0: any free one")
    parser.add_argument("--port-file", type=Path, help="write the port here once the server listens")
    parser.add_argument("--require-token", metavar="TOKEN", help="refuse calls without this bearer token or one from /token")
    parser.add_argument("--delay-ms", type=float, default=0, help="time that every request takes at least")
    parser.add_argument("--discard-above", type=int, metavar="BYTES", help="hash larger files, but do not keep their bytes")
    parser.add_argument("--spool-above", type=int, metavar="BYTES", help="keep the bytes of larger uploads in a temporary file")
    return parser.parse_args()


async def serve(options: argparse.Namespace) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    settings = Settings(
        require_token=options.require_token,
        delay_ms=options.delay_ms,
        discard_above=options.discard_above,
        spool_above=options.spool_above,
    )
    async with DriveServer(host=options.host, port=options.port, settings=settings) as server:
        if options.port_file is not None:
            _publish(options.port_file, server.port)
        print(server.url, flush=True)  # noqa: T201 - the caller reads it
        await stop.wait()


def _publish(path: Path, port: int) -> None:
    """Whoever waits for the file never sees it half written."""
    unfinished = path.with_name(f"{path.name}.unfinished")
    unfinished.write_text(f"{port}\n")
    unfinished.rename(path)


if __name__ == "__main__":
    asyncio.run(serve(arguments()))
