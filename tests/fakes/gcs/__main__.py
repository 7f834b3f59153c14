"""The stand-in as a program: `python -m tests.fakes.gcs --bucket demo` prints its address and serves until SIGTERM."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from tests.fakes.gcs.server import GcsServer
from tests.fakes.http import program

if TYPE_CHECKING:
    import argparse


def arguments() -> argparse.Namespace:
    parser = program.parser("tests.fakes.gcs", __doc__)
    parser.add_argument("--bucket", action="append", default=[], metavar="NAME", help="create this bucket; may be repeated")
    parser.add_argument("--require-token", metavar="TOKEN", help="refuse calls without this bearer token")
    parser.add_argument("--rate-limit", action="store_true", help="one write a second for each object, as the service has it")
    parser.add_argument("--data-limit", type=int, metavar="BYTES", help="refuse writes beyond this much memory")
    parser.add_argument("--no-md5", action="store_true", help="leave md5Hash out: for benchmarks with large objects")
    return parser.parse_args()


def server(options: argparse.Namespace) -> GcsServer:
    return GcsServer(
        buckets=options.bucket,
        host=options.host,
        port=options.port,
        require_token=options.require_token,
        delay_ms=options.delay_ms,
        rate_limit=options.rate_limit,
        data_limit=options.data_limit,
        md5=not options.no_md5,
    )


if __name__ == "__main__":
    options = arguments()
    asyncio.run(program.serve(lambda: server(options), options.port_file))
