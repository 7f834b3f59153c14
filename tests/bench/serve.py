"""The benchmark server as a child process: S3 and Google Cloud Storage in memory, on one loopback port.

    with bench_server(delay_ms=30) as server:
        server.fill("from", count=5000, size=4096)

It answers at `server.url` (S3, path-style, any credentials) and `server.gcs_url` (the JSON API; rclone wants `server.rclone_gcs`
as --gcs-endpoint). With TLS, clients trust it through the file `server.ca`.
"""

from __future__ import annotations

import datetime as dt
import ipaddress
import json
import ssl
import tempfile
import urllib.parse
import urllib.request
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from tests.bench.build import build
from tests.child import LOOPBACK, Server
from tests.servers import ServerMissing

if TYPE_CHECKING:
    from collections.abc import Iterator

Md5 = Literal["claimed", "always", "never"]
"""What the server does about MD5. "claimed": it checks a Content-MD5 where there is one, and an ETag is an MD5 only then.
"always": every ETag is one, as S3 has it; a core then takes in some 600 MiB/s and no more. "never": a Content-MD5 is taken for
true (`verify` compares the bytes later), so that the server is not what is measured."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """How the objects of two buckets compare, byte for byte. `writes`: objects written to the second since it was emptied."""

    objects: int
    equal: int
    missing: int
    different: int
    extra: int
    writes: int

    @property
    def perfect(self) -> bool:
        return self.objects == self.equal and not self.extra


@dataclass(frozen=True, slots=True)
class Stats:
    """Counted since the start; the control requests are left out."""

    cpu_seconds: float
    peak_rss_kib: int
    requests: int
    puts: int
    gets: int
    heads: int
    lists: int
    failed: int
    bytes_in: int
    bytes_out: int
    connections: int
    open: int
    handshakes: int
    """Over TLS, those that resume a session included."""
    resumed: int


class BenchServer:
    def __init__(self, server: Server, ca: Path | None) -> None:
        self.ca = ca
        self._server = server
        self.url = f"{'https' if ca else 'http'}://{server.address}"
        context = ssl.create_default_context(cafile=str(ca)) if ca else None
        handlers: list[urllib.request.BaseHandler] = [urllib.request.ProxyHandler({})]
        if context:
            handlers.append(urllib.request.HTTPSHandler(context=context))
        self._opener = urllib.request.build_opener(*handlers)

    @property
    def gcs_url(self) -> str:
        """The endpoint for our own backend and for STORAGE_EMULATOR_HOST."""
        return self.url

    @property
    def rclone_gcs(self) -> str:
        """The endpoint for rclone, whose library wants the API's path in it."""
        return f"{self.url}/storage/v1/"

    @property
    def pid(self) -> int | None:
        return self._server.pid

    def fill(self, bucket: str, *, count: int = 0, size: int = 0, prefix: str = "") -> None:
        """Make the bucket if need be and put `count` objects into it: keys are the prefix and eight digits."""
        self._ask("POST", "_fill", bucket=bucket, count=count, size=size, prefix=prefix)

    def drop(self, bucket: str) -> int:
        """Empty the bucket; how many objects it held."""
        return int(self._ask("POST", "_drop", bucket=bucket)["objects"])

    def reserve(self, size: int) -> None:
        """Touch so many bytes of memory before anything is measured: the server keeps what it frees, and on a virtual machine the
        first touch of a page costs more than a body's way through it.
        """
        self._ask("POST", "_reserve", bytes=size)

    def verify(self, source: str, destination: str) -> Verdict:
        return Verdict(**self._ask("GET", "_verify", **{"from": source, "to": destination}))

    def stats(self) -> Stats:
        return Stats(**self._ask("GET", "_stats"))

    def config(self, **settings: float | str) -> dict[str, Any]:
        """Change `delay_ms`, `fail_percent` or `md5` while it runs; the settings as they are now."""
        return self._ask("POST", "_config", **settings)

    def _ask(self, method: str, what: str, **query: object) -> dict[str, Any]:
        url = f"{self.url}/{what}?{urllib.parse.urlencode(query)}"
        with self._opener.open(urllib.request.Request(url, method=method), timeout=300) as answer:
            told: dict[str, Any] = json.load(answer)
        return told


@contextmanager
def bench_server(
    delay_ms: float = 0, fail_percent: float = 0, tls: bool = False, *, md5: Md5 = "claimed"
) -> Iterator[BenchServer]:
    """Raises ServerMissing when it cannot be built, or not with TLS."""
    program = build()
    if tls and not program.tls:
        raise ServerMissing("OpenSSL for the benchmark server", "apt-get install libssl-dev")
    with tempfile.TemporaryDirectory(prefix="bucketbrigade-") as scratch:
        folder = Path(scratch)
        certificate = certify(folder) if tls else None
        options = ["--delay-ms", str(delay_ms), "--fail-percent", str(fail_percent), "--md5", md5]
        if certificate:
            options += ["--tls-cert", str(certificate.chain), "--tls-key", str(certificate.key)]
        port_file = folder / "port"
        server = Server(
            "the benchmark server",
            lambda port: [str(program.path), "--port", str(port), "--port-file", str(port_file), *options],
            lambda _: port_file.exists(),
            folder / "server.log",
            # Huge pages for the heap: a page fault for every 4 KiB of a large body is most of what the body costs.
            environment={"GLIBC_TUNABLES": "glibc.malloc.hugetlb=1"},
        )
        try:
            server.start()
            yield BenchServer(server, certificate.ca if certificate else None)
        finally:
            server.close()


@dataclass(frozen=True, slots=True)
class Certificate:
    ca: Path
    chain: Path
    key: Path


def certify(folder: Path) -> Certificate:
    """A certificate for this machine's loopback, valid for a day, that is its own authority."""
    from cryptography import x509  # noqa: PLC0415 - slow to import, and only TLS needs it
    from cryptography.hazmat.primitives import hashes, serialization  # noqa: PLC0415
    from cryptography.hazmat.primitives.asymmetric import ec  # noqa: PLC0415

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "bench")])
    now = dt.datetime.now(dt.UTC)
    names = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(LOOPBACK)), x509.DNSName("localhost")])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(hours=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(names, critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    made = Certificate(folder / "ca.pem", folder / "ca.pem", folder / "key.pem")
    made.ca.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    made.key.touch(mode=0o600)
    made.key.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return made
