"""The ways to run the stand-in beside a thread: as a program of its own, and in the event loop of a test."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
from typing import TYPE_CHECKING
from urllib.request import urlopen

from tests.fakes.gcs import GcsServer

if TYPE_CHECKING:
    from pathlib import Path


def test_it_says_where_it_listens_and_ends_on_sigterm(tmp_path: Path) -> None:
    # Given the program with two buckets
    port_file = tmp_path / "port"
    command = [sys.executable, "-m", "tests.fakes.gcs", "--port-file", str(port_file), "--bucket", "one-1", "--bucket", "two-2"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as program:
        assert program.stdout is not None
        try:
            # When it has said its address
            url = program.stdout.readline().strip()
            # Then the port file agrees, and the buckets are there
            assert url == f"http://127.0.0.1:{port_file.read_text().strip()}"
            with urlopen(f"{url}/storage/v1/b?fields=items/name", timeout=10) as answer:
                assert answer.read() == b'{"items": [{"name": "one-1"}, {"name": "two-2"}]}'
        finally:
            # And a SIGTERM ends it well
            program.send_signal(signal.SIGTERM)
            assert program.wait(timeout=10) == 0


async def test_it_runs_in_the_loop_of_the_test() -> None:
    # Given a server in this event loop
    async with GcsServer(buckets=["demo"]) as server:
        server.put("demo", "k", b"here")
        # When many requests come at once over many connections
        answers = await asyncio.gather(*(_get(server) for _ in range(50)))
    # Then all are answered, and the end of the block leaves nothing open
    assert all(answer.endswith(b"here") for answer in answers)
    assert server.requests == {"get.media": 50}
    assert server.connections == set()


async def _get(server: GcsServer) -> bytes:
    reader, writer = await asyncio.open_connection(server.host, server.port)
    writer.write(b"GET /storage/v1/b/demo/o/k?alt=media HTTP/1.1\r\nConnection: close\r\n\r\n")
    answer = await reader.read()
    writer.close()
    await writer.wait_closed()
    return answer
