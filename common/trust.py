"""Whose certificates are believed: Mozilla's list, unless the environment names another.

SSL_CERT_FILE and SSL_CERT_DIR are the names that OpenSSL, Python and Go know. AWS_CA_BUNDLE and REQUESTS_CA_BUNDLE are taken
where those two are not set: who has set one of them for other tools has a private authority, or a proxy that looks into TLS. What
is named stands in place of the list, as everywhere, so that a file for a private server and for public clouds must hold both.
"""

from __future__ import annotations

import ssl
import time
from pathlib import Path
from typing import TYPE_CHECKING

import certifi

from common.telemetry import get_logger

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

log = get_logger(__name__)

FILES = ("SSL_CERT_FILE", "AWS_CA_BUNDLE", "REQUESTS_CA_BUNDLE")
FOLDER = "SSL_CERT_DIR"
LOOK_SECONDS = 1.0
"""How often, at most, it is looked whether the file has been replaced."""

_Stamp = tuple[int, int, int]


class Trust:
    """The context for clients, and another one when what it was read from has been replaced: authorities change in the months for
    which a process runs. Connections that are open stay open. Not thread-safe.
    """

    def __init__(self, environ: Mapping[str, str], *, clock: Callable[[], float] = time.monotonic) -> None:
        self._environ = environ
        self._clock = clock
        self._context: ssl.SSLContext | None = None
        self._stamp: _Stamp | None = None
        self._looked = float("-inf")

    def context(self) -> ssl.SSLContext:
        """Raises OSError where there is none yet and what is named cannot be read. Later, what cannot be read is logged, and the
        last context that could is kept: a file may be looked at while it is written.
        """
        now = self._clock()
        if self._context is not None and now - self._looked < LOOK_SECONDS:
            return self._context
        self._looked = now
        stamp = _stamp(_place(self._environ))
        if self._context is None or stamp != self._stamp:
            self._stamp = stamp
            self._context = self._anew()
        return self._context

    def _anew(self) -> ssl.SSLContext:
        if self._context is None:
            return context(self._environ)
        place = str(_place(self._environ))
        try:
            found = context(self._environ)
        except OSError as error:
            log.warning(
                "trusted certificates cannot be read", action="trust_unreadable", path=place, error=str(error.strerror or error)
            )
            return self._context
        log.info("trusted certificates were replaced", action="trust_replaced", path=place)
        return found

    def advice(self, error: ssl.SSLCertVerificationError) -> str:
        """What a person can do about a server's certificate that was refused: it names what the authorities are read from."""
        if error.verify_code in _OTHER_NAME:
            return "check the name of the endpoint: the certificate is for another"
        if error.verify_code in _OTHER_TIME:
            return "check this machine's clock, and renew the server's certificate"
        file, folder = _named(self._environ)
        if file is None and folder is None:
            return "where the server has a private authority, name its file in SSL_CERT_FILE"
        name, place = file or (FOLDER, folder)
        return f"the authorities are those of {name} ({place}): add the server's own to it"


_OTHER_NAME = (62, 64)
"""X509_V_ERR_HOSTNAME_MISMATCH and X509_V_ERR_IP_ADDRESS_MISMATCH (openssl/x509_vfy.h)."""
_OTHER_TIME = (9, 10)
"""X509_V_ERR_CERT_NOT_YET_VALID and X509_V_ERR_CERT_HAS_EXPIRED."""


def context(environ: Mapping[str, str]) -> ssl.SSLContext:
    """For clients that speak HTTP/1.1. Raises OSError (ssl.SSLError is one) where `faults` would have said so.

    To be made once and shared: parsing the list takes 20 ms.
    """
    file, folder = _named(environ)
    found = ssl.create_default_context(
        cafile=str(file[1]) if file else None if folder else certifi.where(), capath=str(folder) if folder else None
    )
    found.set_alpn_protocols(["http/1.1"])
    return found


def faults(environ: Mapping[str, str]) -> Iterator[str]:
    """What is wrong with what is named. OpenSSL says nothing about a file that is not there, and then trusts nobody."""
    file, folder = _named(environ)
    if file:
        yield from unusable(*file)
    if folder and not folder.is_dir():
        yield f"{FOLDER}: {folder} is not a directory: name one that `openssl rehash` was run on, or unset it"


def _place(environ: Mapping[str, str]) -> Path:
    """What the authorities are read from."""
    file, folder = _named(environ)
    return file[1] if file else folder or Path(certifi.where())


def _stamp(path: Path) -> _Stamp | None:
    """Changes when the file, or what its link leads to, is replaced or rewritten; a folder's when an entry comes or goes."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino


def unusable(name: str, path: Path) -> Iterator[str]:
    """What is wrong with a file of certificates that the setting `name` names."""
    try:
        ssl.create_default_context(cafile=str(path))
    except ssl.SSLError:
        yield f"{name}: {path} holds no certificates: name a file of certificates in PEM"
    except OSError as error:
        yield f"{name}: {path} cannot be read ({error.strerror}): name a file of certificates in PEM, or unset it"


def _named(environ: Mapping[str, str]) -> tuple[tuple[str, Path] | None, Path | None]:
    """The file, with the name of its variable, and the folder. An empty variable counts as not set."""
    folder = Path(environ[FOLDER]) if environ.get(FOLDER) else None
    names = FILES[:1] if folder else FILES
    return next(((name, Path(environ[name])) for name in names if environ.get(name)), None), folder
