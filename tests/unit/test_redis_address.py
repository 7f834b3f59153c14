"""Redis's address: every form is honoured as it is written, or refused with what to write."""

from __future__ import annotations

import pytest

from common.errors import SettingsError
from common.redis_address import RedisAddress
from common.settings import EVERYTHING, load
from tests.unit.configuration import COMPLETE


def faults(environ: dict[str, str]) -> list[str]:
    with pytest.raises(SettingsError) as refused:
        load(environ, None, needs=EVERYTHING)
    return refused.value.faults


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("host:7000", RedisAddress("host", 7000)),
        ("10.0.0.1:6379", RedisAddress("10.0.0.1", 6379)),
        ("[::1]:6379", RedisAddress("::1", 6379)),
        ("redis://host", RedisAddress("host", 6379)),
        ("redis://host/", RedisAddress("host", 6379)),
        ("redis://host:7000/3", RedisAddress("host", 7000, database=3)),
        ("redis://host:7000/99", RedisAddress("host", 7000, database=99)),
        ("redis://[2001:db8::1]:6380/2", RedisAddress("2001:db8::1", 6380, database=2)),
        ("redis://brigade@host:7000/0", RedisAddress("host", 7000, username="brigade")),
        ("redis://a%40b@host", RedisAddress("host", 6379, username="a@b")),
        ("rediss://cache.example.com:6380", RedisAddress("cache.example.com", 6380, tls=True)),
        ("unix:///run/redis.sock", RedisAddress(path="/run/redis.sock")),
        ("unix:///run/redis.sock?db=4", RedisAddress(path="/run/redis.sock", database=4)),
        ("unix:///my state/50%25 @home/redis.sock", RedisAddress(path="/my state/50%25 @home/redis.sock")),
    ],
)
def test_each_form_is_understood(text: str, meant: RedisAddress) -> None:
    assert RedisAddress.parse(text) == meant
    assert load({**COMPLETE, "REDIS_ADDRESS": text}, None, needs={"redis"}).redis.place == meant


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("host", "write host:port"),
        ("host:0", "a port is a number from 1 to 65535"),
        ("host:65536", "a port is a number from 1 to 65535"),
        ("host:7000/3", "write host:port, redis://host:port/0"),
        ("redis://host:7000/abc", "a database is a number"),
        ("redis://host:7000/-1", "a database is a number"),
        ("redis://host:7000/1/2", "a database is a number"),
        ("redis://host:99999", "a port is a number from 1 to 65535"),
        ("redis://host?db=3", "nothing may stand behind a '?'"),
        ("rediss://host:1?ssl_cert_reqs=none", "nothing may stand behind a '?'"),
        ("redis://host#x", "write host:port"),
        ("redis:///3", "write host:port"),
        ("unix:///run/redis.sock?db=x", "a database is a number"),
        ("unix://run/redis.sock", "write host:port"),
        ("http://host:6379", "write host:port"),
        ("redis://me:hunter2@host:1/0", "the address holds no password: set REDIS_PASSWORD"),
        ("redis://:hunter2@host:1/0", "the address holds no password: set REDIS_PASSWORD"),
        ("redis://:hun/ter2@host:1/0", "the address holds no password: set REDIS_PASSWORD"),
        ("me:hunter2@host:1", "the address holds no password: set REDIS_PASSWORD"),
    ],
)
def test_what_cannot_be_honoured_is_a_fault_that_names_the_setting(text: str, said: str) -> None:
    found = [fault for fault in faults({**COMPLETE, "REDIS_ADDRESS": text}) if fault.startswith("REDIS_ADDRESS")]
    assert len(found) == 1
    assert said in found[0]
    assert "hunter2" not in found[0]


@pytest.mark.parametrize(
    "text", ["host:7000", "[::1]:6379", "redis://host:7000/3", "rediss://host:6380", "unix:///a b/c", "unix:///a?db=4"]
)
def test_it_is_said_as_it_would_be_written(text: str) -> None:
    assert RedisAddress.parse(str(RedisAddress.parse(text))) == RedisAddress.parse(text)


def test_two_different_users_are_a_fault() -> None:
    both = {**COMPLETE, "REDIS_ADDRESS": "redis://one@host:1", "REDIS_USERNAME": "two"}
    assert "REDIS_USERNAME is another user than the one in REDIS_ADDRESS: keep one of them" in faults(both)
    load({**both, "REDIS_USERNAME": "one"}, None, needs={"redis"})


def test_an_authority_that_would_do_nothing_or_is_none_is_a_fault(tmp_path) -> None:
    text = tmp_path / "text"
    text.write_text("no certificate")
    found = faults({**COMPLETE, "REDIS_ADDRESS": "host:1", "REDIS_CA_FILE": str(text)})
    assert "REDIS_CA_FILE is for an address with rediss:// and does nothing here: write rediss://, or take it out" in found
    assert f"REDIS_CA_FILE: {text} holds no certificates: name a file of certificates in PEM" in found
