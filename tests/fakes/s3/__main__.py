"""The stand-in as a program: `python -m tests.fakes.s3 --bucket demo` prints its address and serves until SIGTERM."""

from __future__ import annotations

import argparse
import asyncio
import signal
from pathlib import Path

from tests.fakes.s3.server import ACCESS_KEY, REGION, SECRET_KEY, S3Server
from tests.fakes.s3.signatures import Identity


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.fakes.s3", description=__doc__)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0, help="0: any free one")
    parser.add_argument("--port-file", type=Path, help="write the port here once the server listens")
    parser.add_argument("--bucket", action="append", default=[], metavar="NAME", help="create this bucket; may be repeated")
    parser.add_argument("--access-key", default=ACCESS_KEY, help="the key it takes")
    parser.add_argument("--secret-key", default=SECRET_KEY)
    parser.add_argument("--region", default=REGION, help="of the endpoint and of the buckets")
    parser.add_argument("--old", action="store_true", help="know neither checksums nor conditional writes")
    parser.add_argument("--delay-ms", type=float, default=0, help="time that every request takes at least")
    return parser.parse_args()


async def serve(options: argparse.Namespace) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    server = S3Server(
        buckets=options.bucket,
        host=options.host,
        port=options.port,
        identities=[Identity(options.access_key, options.secret_key)],
        region=options.region,
        new=not options.old,
        delay_ms=options.delay_ms,
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
