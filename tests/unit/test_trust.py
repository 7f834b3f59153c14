"""Whose certificates are believed, and that a name that leads nowhere is told at start."""

from __future__ import annotations

import ssl
import subprocess
from typing import TYPE_CHECKING, Any

import pytest

from common import trust
from common.errors import SettingsError
from common.settings import load
from tests.bench.serve import certify
from tests.servers import missing

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def authority(tmp_path: Path) -> Path:
    return certify(tmp_path).ca


def trusted(environ: dict[str, str]) -> set[str]:
    """The common names of the authorities, where they have one."""
    found: list[Any] = trust.context(environ).get_ca_certs()
    return {value for ca in found for part in ca["subject"] for key, value in part if key == "commonName"}


def test_without_a_name_mozillas_list_is_believed() -> None:
    assert "ISRG Root X1" in trusted({})
    assert "ISRG Root X1" in trusted({"SSL_CERT_FILE": "", "SSL_CERT_DIR": "", "AWS_CA_BUNDLE": ""})


@pytest.mark.parametrize("name", ["SSL_CERT_FILE", "AWS_CA_BUNDLE", "REQUESTS_CA_BUNDLE"])
def test_a_named_file_stands_in_place_of_the_list(authority: Path, name: str) -> None:
    assert trusted({name: str(authority)}) == {"bench"}
    assert list(trust.faults({name: str(authority)})) == []


def test_the_common_name_goes_before_the_tools_own(authority: Path, tmp_path: Path) -> None:
    environ = {"AWS_CA_BUNDLE": str(tmp_path / "missing"), "SSL_CERT_FILE": str(authority)}
    assert trusted(environ) == {"bench"}
    assert list(trust.faults(environ)) == []


def test_a_named_folder_is_believed_and_no_list_beside_it(authority: Path, tmp_path: Path) -> None:
    # Given a folder as `openssl rehash` leaves it
    folder = tmp_path / "trusted"
    folder.mkdir()
    command = ["openssl", "x509", "-subject_hash", "-noout", "-in", str(authority)]
    try:
        digest = subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except FileNotFoundError:
        missing("the openssl command", "apt-get install openssl")
    (folder / f"{digest}.0").write_bytes(authority.read_bytes())
    environ = {"SSL_CERT_DIR": str(folder)}
    # Then what is in it is found when it is asked for, and nothing is there beforehand
    context = trust.context(environ)
    assert trusted(environ) == set()
    assert shakes_hands(context, authority)
    assert not shakes_hands(trust.context({}), authority)


def shakes_hands(context: ssl.SSLContext, authority: Path) -> bool:
    """Whether a client with this context believes the authority's own certificate."""
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(authority, authority.with_name("key.pem"))
    there, back = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = [
        context.wrap_bio(back, there, server_hostname="localhost"),
        server.wrap_bio(there, back, server_side=True),
    ]
    waiting = set(range(2))
    while waiting:
        for number in sorted(waiting):
            try:
                ends[number].do_handshake()
                waiting.discard(number)
            except ssl.SSLWantReadError:
                continue
            except ssl.SSLCertVerificationError:
                return False
    return True


@pytest.mark.parametrize("name", ["SSL_CERT_FILE", "AWS_CA_BUNDLE", "REQUESTS_CA_BUNDLE"])
def test_a_file_that_is_missing_or_holds_no_certificate_is_told_at_start(tmp_path: Path, name: str) -> None:
    # Given one name that leads nowhere, and one that leads to something else
    (tmp_path / "text").write_text("not a certificate\n")
    for file, said in [("missing", "cannot be read"), ("text", "holds no certificates")]:
        # When the settings are read
        with pytest.raises(SettingsError) as refused:
            load({name: str(tmp_path / file)}, None, needs=set())
        # Then the fault names the variable and the file
        assert f"{name}: {tmp_path / file} {said}" in str(refused.value)


def test_a_folder_that_is_none_is_told_at_start(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"SSL_CERT_DIR: .* is not a directory"):
        load({"SSL_CERT_DIR": str(tmp_path / "missing")}, None, needs=set())
