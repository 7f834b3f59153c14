"""Which addresses from outside may be sent to, and which only look as if."""

from __future__ import annotations

import pytest

from common.transport.addresses import LONGEST_ADDRESS, foreign

GCS = "https://storage.googleapis.com"
STAND_IN = "http://127.0.0.1:4443"


@pytest.mark.parametrize(
    ("url", "origin"),
    [
        (f"{GCS}/upload/storage/v1/b/x/o?upload_id=1", GCS),
        ("https://www.googleapis.com/upload/drive/v3/files?upload_id=1", GCS),
        ("https://STORAGE.googleapis.com:443/x", "https://www.googleapis.com"),
        ("https://europe-west3-storage.p.googleapis.com/x", "https://europe-west3-storage.p.googleapis.com"),
        ("https://googleapis.com/x", GCS),
        (f"{STAND_IN}/x", STAND_IN),
        ("http://127.0.0.1:4443", STAND_IN),
        ("http://[::1]:80/x", "http://[::1]"),
    ],
)
def test_the_services_own_hosts(url: str, origin: str) -> None:
    assert foreign(url, origin) is None


@pytest.mark.parametrize(
    ("url", "origin", "host"),
    [
        ("https://evil.example/upload?upload_id=secret", GCS, "https://evil.example:443"),
        ("https://googleapis.com.evil.example/x", GCS, "https://googleapis.com.evil.example:443"),
        ("https://evilgoogleapis.com/x", GCS, "https://evilgoogleapis.com:443"),
        ("http://storage.googleapis.com/x", GCS, "http://storage.googleapis.com:80"),
        ("https://storage.googleapis.com:8443/x", GCS, "https://storage.googleapis.com:8443"),
        ("https://storage.googleapis.com@evil.example/x", GCS, "of an address that is none"),
        ("https://evil.example\\.googleapis.com/x", GCS, "of an address that is none"),
        ("https://evil.example#.googleapis.com/x", GCS, "of an address that is none"),
        ("https://evil.example?.googleapis.com/x", GCS, "of an address that is none"),
        ("https://storage.googleapis.com/a b", "https://www.googleapis.com", "of an address that is none"),
        ("//storage.googleapis.com/x", GCS, "of an address that is none"),
        ("/upload", GCS, "of an address that is none"),
        ("", GCS, "of an address that is none"),
        (f"https://evil.example/{'a' * LONGEST_ADDRESS}", GCS, "of an address that is none"),
        ("http://127.0.0.1:4444/x", STAND_IN, "http://127.0.0.1:4444"),
        ("http://127.0.0.1:44430/x", STAND_IN, "http://127.0.0.1:44430"),
        ("https://127.0.0.1:4443/x", STAND_IN, "https://127.0.0.1:4443"),
        ("https://storage.googleapis.com/x", STAND_IN, "https://storage.googleapis.com:443"),
        (f"{STAND_IN}.evil.example/x", STAND_IN, "of an address that is none"),
    ],
)
def test_any_other_host_is_named_and_nothing_more(url: str, origin: str, host: str) -> None:
    assert foreign(url, origin) == host
