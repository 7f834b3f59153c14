"""Whose certificates are believed: Mozilla's list, unless the environment names another.

SSL_CERT_FILE and SSL_CERT_DIR are the names that OpenSSL, Python and Go know. AWS_CA_BUNDLE and REQUESTS_CA_BUNDLE are taken
where those two are not set: who has set one of them for other tools has a private authority, or a proxy that looks into TLS. What
is named stands in place of the list, as everywhere, so that a file for a private server and for public clouds must hold both.
"""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import TYPE_CHECKING

import certifi

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

FILES = ("SSL_CERT_FILE", "AWS_CA_BUNDLE", "REQUESTS_CA_BUNDLE")
FOLDER = "SSL_CERT_DIR"


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
        name, path = file
        try:
            ssl.create_default_context(cafile=str(path))
        except ssl.SSLError:
            yield f"{name}: {path} holds no certificates: name a file of certificates in PEM"
        except OSError as error:
            yield f"{name}: {path} cannot be read ({error.strerror}): name a file of certificates in PEM, or unset it"
    if folder and not folder.is_dir():
        yield f"{FOLDER}: {folder} is not a directory: name one that `openssl rehash` was run on, or unset it"


def _named(environ: Mapping[str, str]) -> tuple[tuple[str, Path] | None, Path | None]:
    """The file, with the name of its variable, and the folder. An empty variable counts as not set."""
    folder = Path(environ[FOLDER]) if environ.get(FOLDER) else None
    names = FILES[:1] if folder else FILES
    return next(((name, Path(environ[name])) for name in names if environ.get(name)), None), folder
