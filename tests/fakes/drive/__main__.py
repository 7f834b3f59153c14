"""The stand-in as a program: `python -m tests.fakes.drive` prints its address and serves until SIGTERM."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from tests.fakes.drive.server import DriveServer
from tests.fakes.drive.settings import Settings
from tests.fakes.http import program

if TYPE_CHECKING:
    import argparse


def arguments() -> argparse.Namespace:
    parser = program.parser("tests.fakes.drive", __doc__)
    parser.add_argument("--require-token", metavar="TOKEN", help="refuse calls without this bearer token or one from /token")
    parser.add_argument("--discard-above", type=int, metavar="BYTES", help="hash larger files, but do not keep their bytes")
    parser.add_argument("--spool-above", type=int, metavar="BYTES", help="keep the bytes of larger uploads in a temporary file")
    return parser.parse_args()


def server(options: argparse.Namespace) -> DriveServer:
    settings = Settings(
        require_token=options.require_token,
        delay_ms=options.delay_ms,
        discard_above=options.discard_above,
        spool_above=options.spool_above,
    )
    return DriveServer(host=options.host, port=options.port, settings=settings)


if __name__ == "__main__":
    options = arguments()
    asyncio.run(program.serve(lambda: server(options), options.port_file))
