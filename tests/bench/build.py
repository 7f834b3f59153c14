"""Builds the benchmark server from its C sources, once for each state of them.

The program is kept outside the tree, in the user's cache directory, under the hash of the sources and the compiler's words. With
OpenSSL's headers (`apt-get install libssl-dev`) it speaks TLS; without them it says that it has none.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

from tests.servers import ServerMissing

SOURCES = Path(__file__).parent / "server"
_OPTIONS = ("-O2", "-std=gnu11", "-Wall", "-Wextra", "-Werror", "-D_GNU_SOURCE")
_TLS = ("-DBENCH_TLS", "-lssl", "-lcrypto")


@dataclass(frozen=True, slots=True)
class Program:
    path: Path
    tls: bool


def build(sources: Path = SOURCES, cache: Path | None = None) -> Program:
    """The program, built now if it is not there yet. Raises ServerMissing without a C compiler."""
    compiler = os.environ.get("CC") or shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if not compiler:
        raise ServerMissing("a C compiler for the benchmark server", "apt-get install gcc libc6-dev libssl-dev")
    tls = _has_openssl(compiler)
    options = [*_OPTIONS, *(_TLS if tls else ())]
    folder = cache or _cache()
    folder.mkdir(parents=True, exist_ok=True)
    program = folder / f"server-{_fingerprint(sources, [compiler, *options])}"
    if not program.exists():
        _compile(compiler, options, sources, program)
    return Program(program, tls)


def _compile(compiler: str, options: list[str], sources: Path, program: Path) -> None:
    """Into a file of its own first: two builds at once do not meet, and none is ever seen half done."""
    with tempfile.TemporaryDirectory(dir=program.parent) as folder:
        unfinished = Path(folder) / "server"
        # Libraries go behind what needs them.
        words = [compiler, "-o", str(unfinished), *map(str, sorted(sources.glob("*.c"))), *options]
        done = subprocess.run(words, capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(f"the benchmark server does not compile:\n{done.stderr[-4000:]}")
        unfinished.rename(program)


def _has_openssl(compiler: str) -> bool:
    done = subprocess.run(
        [compiler, "-E", "-x", "c", "-"], input="#include <openssl/ssl.h>\n", capture_output=True, text=True, check=False
    )
    return done.returncode == 0


def _fingerprint(sources: Path, words: list[str]) -> str:
    digest = hashlib.sha256("\0".join(words).encode())
    for path in sorted([*sources.glob("*.c"), *sources.glob("*.h")]):
        digest.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()[:16]


def _cache() -> Path:
    home = os.environ.get("XDG_CACHE_HOME")
    return (Path(home) if home else Path.home() / ".cache") / "bucketbrigade"
