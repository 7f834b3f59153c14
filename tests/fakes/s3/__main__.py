"""The stand-in as a program: `python -m tests.fakes.s3 --bucket demo` prints its address and serves until SIGTERM."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from tests.fakes.http import program
from tests.fakes.s3.server import ACCESS_KEY, REGION, SECRET_KEY, S3Server
from tests.fakes.s3.signatures import Identity

if TYPE_CHECKING:
    import argparse


def arguments() -> argparse.Namespace:
    parser = program.parser("tests.fakes.s3", __doc__)
    parser.add_argument("--bucket", action="append", default=[], metavar="NAME", help="create this bucket; may be repeated")
    parser.add_argument("--access-key", default=ACCESS_KEY, help="the key it takes")
    parser.add_argument("--secret-key", default=SECRET_KEY)
    parser.add_argument("--region", default=REGION, help="of the endpoint and of the buckets")
    parser.add_argument("--old", action="store_true", help="know neither checksums nor conditional writes")
    return parser.parse_args()


def server(options: argparse.Namespace) -> S3Server:
    return S3Server(
        buckets=options.bucket,
        host=options.host,
        port=options.port,
        identities=[Identity(options.access_key, options.secret_key)],
        region=options.region,
        new=not options.old,
        delay_ms=options.delay_ms,
    )


if __name__ == "__main__":
    options = arguments()
    asyncio.run(program.serve(lambda: server(options), options.port_file))
