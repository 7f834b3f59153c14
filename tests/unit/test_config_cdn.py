"""The `[route.cdn]` table: what it becomes, and what is wrong with it, without a byte of a key."""

from __future__ import annotations

import base64
import datetime as dt
import json
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from brigade.__main__ import brigade
from common.errors import SettingsError
from common.settings import load

if TYPE_CHECKING:
    from pathlib import Path

KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
PEM = KEY.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()).decode()
ENCRYPTED = KEY.private_bytes(
    serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.BestAvailableEncryption(b"passphrase")
).decode()
DOMAIN = 'domain = "d111111abcdef8.cloudfront.net"'
SIGNED = f'{DOMAIN}\nsigning = "custom"\nkey_id = "K2JCJMDEHXQW5F"\n'


def written(tmp_path: Path, table: str, source: str = "s3://photos") -> Path:
    path = tmp_path / "brigade.toml"
    route = f'[[route]]\nname = "photos"\nsource = "{source}"\ndestination = "gs://copy"\n'
    path.write_text(f"{route}[route.cdn]\n{table}\n")
    return path


def cdn(tmp_path: Path, table: str, **environ: str):
    (route,) = load(environ, written(tmp_path, table), needs={"routes"}).routes
    assert route.cdn is not None
    return route.cdn


def faults(tmp_path: Path, table: str, source: str = "s3://photos", **environ: str) -> str:
    with pytest.raises(SettingsError) as raised:
        load(environ, written(tmp_path, table, source), needs={"routes"})
    said = "\n".join(raised.value.faults)
    for pem in (PEM, ENCRYPTED):
        assert pem.splitlines()[2] not in said
    return said


def test_a_domain_is_enough(tmp_path: Path) -> None:
    # Given nothing but a domain
    # When it is read
    made = cdn(tmp_path, DOMAIN)

    # Then it is HTTPS, and URLs are not signed
    assert (made.domain, made.signing, made.policy, made.hash) == (
        "https://d111111abcdef8.cloudfront.net",
        "none",
        "request",
        "sha1",
    )


@pytest.mark.parametrize(
    ("text", "domain"),
    [
        ("https://cdn.example.com/", "https://cdn.example.com"),
        ("cdn.example.com:8443", "https://cdn.example.com:8443"),
        ("http://127.0.0.1:8080", "http://127.0.0.1:8080"),
        ("http://localhost:1", "http://localhost:1"),
        ("http://[::1]:1", "http://[::1]:1"),
    ],
)
def test_a_domain_may_be_written_as_a_url(tmp_path: Path, text: str, domain: str) -> None:
    # Given a domain as people write it
    # When it is read
    # Then it is the beginning of every URL
    assert cdn(tmp_path, f'domain = "{text}"').domain == domain


def test_everything_at_once(tmp_path: Path) -> None:
    # Given a table with all that it may hold, and a key in a variable
    made = cdn(
        tmp_path,
        f'{SIGNED}private_key_env = "CDN_KEY"\nexpires_seconds = 600\nnot_before = 2026-11-21T10:00:00Z\n'
        'source_ip = "192.0.2.7"\npolicy = "prefix"\nhash = "sha256"',
        CDN_KEY=base64.b64encode(PEM.encode()).decode(),
    )

    # Then all of it is there, and the key shows itself to nobody
    assert (made.signing, made.key_id, made.expires_seconds) == ("custom", "K2JCJMDEHXQW5F", 600)
    assert made.not_before == dt.datetime(2026, 11, 21, 10, tzinfo=dt.UTC)
    assert (made.source_ip, made.policy, made.hash) == ("192.0.2.7/32", "prefix", "sha256")
    assert made.private_key is not None
    assert made.private_key.get_secret_value() not in repr(made)


def test_two_routes_have_each_their_own(tmp_path: Path) -> None:
    # Given a route with signed and one with public URLs, from other buckets to other buckets, and one without a CDN
    path = tmp_path / "brigade.toml"
    (tmp_path / "key.pem").write_text(PEM)
    path.write_text(
        f'[[route]]\nname = "a"\nsource = "s3://a"\ndestination = "gs://a-copy"\n'
        f'[route.cdn]\n{SIGNED}private_key_file = "{tmp_path}/key.pem"\n'
        f'[[route]]\nname = "b"\nsource = "s3://b"\ndestination = "gs://b-copy"\n[route.cdn]\ndomain = "d2.cloudfront.net"\n'
        f'[[route]]\nname = "c"\nsource = "s3://c"\ndestination = "gs://c-copy"\n'
    )

    # When they are read
    first, second, third = load({}, path, needs={"routes"}).routes

    # Then each has its own
    assert first.cdn is not None
    assert second.cdn is not None
    assert (first.cdn.signing, second.cdn.signing, third.cdn) == ("custom", "none", None)


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ("", "cdn.domain is missing"),
        ('domain = "http://d1.cloudfront.net"', "write https://"),
        ('domain = "https://d1.cloudfront.net/photos"', "domain name of the distribution"),
        ('domain = "https://user@d1.cloudfront.net"', "domain name of the distribution"),
        (f'{DOMAIN}\nsigning = "cookie"', "write one of 'none', 'canned' or 'custom'"),
        (f"{DOMAIN}\nexpire_seconds = 60", "did you mean 'expires_seconds'"),
        (f'{DOMAIN}\nkey_id = "K1"', "cdn.key_id belongs to signed URLs"),
        (f'{DOMAIN}\nprivate_key_env = "NOT_SET"', "cdn.private_key_env belongs to signed URLs"),
        (f'{DOMAIN}\nsource_ip = "192.0.2.7"', "cdn.source_ip is part of a custom policy"),
        (f'{DOMAIN}\npolicy = "prefix"', "is a custom policy"),
        (f'{DOMAIN}\nsigning = "canned"\nprivate_key_env = "GOOD"', "cdn.key_id is missing"),
        (f"{SIGNED}", "either private_key_file or private_key_env"),
        (f'{SIGNED}private_key_env = "GOOD"\nprivate_key_file = "key.pem"', "either private_key_file or private_key_env"),
        (f'{SIGNED}private_key_env = "NOT_SET"', "private_key_env NOT_SET is not set, or empty"),
        (f'{SIGNED}private_key_env = "EMPTY"', "private_key_env EMPTY is not set, or empty"),
        (f'{SIGNED}private_key_env = "RUBBISH"', "private_key_env RUBBISH is neither a PEM"),
        (f'{SIGNED}private_key_env = "LOCKED"', "private_key_env LOCKED is encrypted"),
        (f'{SIGNED}private_key_file = "nowhere.pem"', "nowhere.pem' cannot be read (No such file or directory)"),
        (f'{SIGNED}private_key_env = "not a name"', "the name of the variable that holds the key"),
        (f'{SIGNED}private_key = "hunter2"', "is a secret: take it out"),
        (f'{SIGNED}private_key_env = "GOOD"\nsource_ip = "2001:db8::1"', "none of IPv6"),
        (f'{SIGNED}private_key_env = "GOOD"\nsource_ip = "192.0.2.7/24"', "write an IPv4 address or network"),
        (f'{SIGNED}private_key_env = "GOOD"\nexpires_seconds = 5', "a whole number from 60 up to 604800"),
        (f'{SIGNED}private_key_env = "GOOD"\nnot_before = 2026-11-21T10:00:00', "timezone"),
        (f'{SIGNED}private_key_env = "GOOD"\nhash = "md5"', "write one of 'sha1' or 'sha256'"),
    ],
)
def test_what_cannot_work_is_said_by_name(tmp_path: Path, monkeypatch, table: str, said: str) -> None:
    # Given a table that cannot work
    monkeypatch.chdir(tmp_path)

    # When it is read
    # Then the fault names the route and the setting, and what to write
    found = faults(tmp_path, table, GOOD=PEM, EMPTY=" ", RUBBISH="hunter2", LOCKED=ENCRYPTED)
    assert said in found
    assert "route 'photos'" in found
    assert "hunter2" not in found


def test_only_s3_has_one(tmp_path: Path) -> None:
    # Given a table on a route from somewhere else
    # When it is read
    # Then that is a fault
    assert "stands in front of S3" in faults(tmp_path, DOMAIN, source="gs://photos")


def test_check_config_shows_the_table_and_not_the_key(tmp_path: Path, monkeypatch) -> None:
    # Given a complete configuration with a signed CDN
    monkeypatch.chdir(tmp_path)
    path = written(tmp_path, f'{SIGNED}private_key_env = "CDN_KEY"')
    environ = {"CDN_KEY": PEM, "BRIGADE_QUEUE": "redis", "REDIS_ADDRESS": "localhost:6379"}

    # When it is checked, for people and for machines
    for arguments in ([], ["--json"]):
        done = CliRunner().invoke(brigade, ["--config", str(path), "check-config", "--for", "work", *arguments], env=environ)

        # Then everything is there but the key
        assert done.exit_code == 0, done.output
        assert "d111111abcdef8.cloudfront.net" in done.output
        assert "K2JCJMDEHXQW5F" in done.output
        assert PEM.splitlines()[2] not in done.output
    assert json.loads(done.output)["routes"][0]["cdn"]["private_key"] == "**********"

    # And a key that cannot be read is said there as well
    done = CliRunner().invoke(brigade, ["--config", str(path), "check-config", "--for", "work"], env={**environ, "CDN_KEY": "no"})
    assert isinstance(done.exception, SettingsError)
    assert "private_key_env CDN_KEY is neither a PEM" in str(done.exception)
