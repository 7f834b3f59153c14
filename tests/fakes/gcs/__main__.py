"""The stand-in as a program: `python -m tests.fakes.gcs --bucket demo` prints its address and serves until SIGTERM."""

from __future__ import annotations

import argparse
import asyncio
import signal
from pathlib import Path

from tests.fakes.gcs.server import GcsServer


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.fakes.gcs", description=__doc__)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0, help="0: any free one")
    parser.add_argument("--port-file", type=Path, help="write the port here once the server listens")
    parser.add_argument("--bucket", action="append", default=[], metavar="NAME", help="create this bucket; may be repeated")
    parser.add_argument("--require-token", metavar="TOKEN", help="refuse calls without this bearer token")
    parser.add_argument("--delay-ms", type=float, default=0, help="time that every request takes at least")
    parser.add_argument("--rate-limit", action="store_true", help="one write a second for each object, as the service has it")
    parser.add_argument("--data-limit", type=int, metavar="BYTES", help="refuse writes beyond this much memory")
    parser.add_argument("--no-md5", action="store_true", help="leave md5Hash out: for benchmarks with large objects")
    return parser.parse_args()


async def serve(options: argparse.Namespace) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    server = GcsServer(
        buckets=options.bucket,
        host=options.host,
        port=options.port,
        require_token=options.require_token,
        delay_ms=options.delay_ms,
        rate_limit=options.rate_limit,
        data_limit=options.data_limit,
        md5=not options.no_md5,
    )
    async with server:
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
