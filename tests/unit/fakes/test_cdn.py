"""The stand-in of CloudFront against URLs that botocore signs, and against those that nobody signed."""

from __future__ import annotations

import base64
import datetime as dt
import json
import urllib.error
import urllib.request
from typing import TYPE_CHECKING

import pytest
from botocore.signers import CloudFrontSigner
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from tests.fakes.cdn import CdnServer, DictOrigin

if TYPE_CHECKING:
    from collections.abc import Iterator

KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
SOON = dt.datetime.now(dt.UTC) + dt.timedelta(hours=1)
PAST = dt.datetime.now(dt.UTC) - dt.timedelta(seconds=5)
BOTOCORE = CloudFrontSigner("K1", lambda message: KEY.sign(message, padding.PKCS1v15(), hashes.SHA1()))
_DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))


@pytest.fixture
def edge() -> Iterator[CdnServer]:
    origin = DictOrigin()
    origin.put("a b/key", b"0123456789", content_type="text/plain")
    with CdnServer(origin, keys={"K1": KEY.public_key()}) as server:
        yield server
    assert server.failures == []


def fetch(url: str, **headers: str) -> tuple[int, bytes]:
    try:
        with _DIRECT.open(urllib.request.Request(url, headers=headers), timeout=10) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read()


def custom(resource: str, url: str, **terms: object) -> str:
    signed: str = BOTOCORE.generate_presigned_url(url, policy=BOTOCORE.build_policy(resource, SOON, **terms))
    return signed


def test_what_botocore_signs_is_served(edge: CdnServer) -> None:
    # Given URLs with a canned policy, a custom one, one with wildcards, and one with a query of its own
    url = f"{edge.url}/a%20b/key"
    urls = [
        BOTOCORE.generate_presigned_url(url, date_less_than=SOON),
        BOTOCORE.generate_presigned_url(f"{url}?versionId=1", date_less_than=SOON),
        custom(url, url, date_greater_than=PAST, ip_address="127.0.0.1"),
        custom(f"{edge.url}/a*/ke?", url),
        custom("http*", f"{url}?color=red&size=1"),
    ]

    # When they are fetched, whole and in part
    # Then the object comes
    for each in urls:
        assert fetch(each) == (200, b"0123456789")
        assert fetch(each, Range="bytes=2-4") == (206, b"234")


def test_what_is_not_granted_is_refused_with_its_code(edge: CdnServer) -> None:
    # Given URLs that are each wrong in one way
    url = f"{edge.url}/a%20b/key"
    good = BOTOCORE.generate_presigned_url(url, date_less_than=SOON)
    other = base64.b64encode(json.dumps({"Statement": []}).encode()).decode()
    wrong = {
        "unsigned": (url, "MissingKey"),
        "unknown key": (good.replace("Key-Pair-Id=K1", "Key-Pair-Id=K2"), "InvalidKey"),
        "another path": (good.replace("/key?", "/kez?"), "AccessDenied"),
        "another end": (good.replace("Expires=", "Expires=9"), "AccessDenied"),
        "another hash": (f"{good}&Hash-Algorithm=SHA256", "AccessDenied"),
        "a hash that nobody knows": (f"{good}&Hash-Algorithm=MD5", "AccessDenied"),
        "a signature that is none": (f"{url}?Expires=9999999999&Signature=***&Key-Pair-Id=K1", "AccessDenied"),
        "no policy": (f"{url}?Signature=abcd&Key-Pair-Id=K1", "AccessDenied"),
        "a policy that is none": (f"{url}?Policy=***&Signature=abcd&Key-Pair-Id=K1", "MalformedPolicy"),
        "another policy": (f"{url}?Policy={other.replace('=', '_')}&Signature=abcd&Key-Pair-Id=K1", "AccessDenied"),
        "over": (BOTOCORE.generate_presigned_url(url, date_less_than=PAST), "AccessDenied"),
        "not begun": (custom(url, url, date_greater_than=SOON), "AccessDenied"),
        "from elsewhere": (custom(url, url, ip_address="192.0.2.0/24"), "AccessDenied"),
        "another resource": (custom(f"{edge.url}/b/*", url), "AccessDenied"),
    }

    # When they are fetched
    for name, (each, code) in wrong.items():
        status, body = fetch(each)

        # Then each is refused, and without the marks of S3's own errors
        assert (status, f"<Code>{code}</Code>" in body.decode(), b"RequestId" in body) == (403, True, False), name
    assert len(edge.refused) == len(wrong)


def test_a_missing_object_is_the_origins_refusal(edge: CdnServer) -> None:
    # Given a URL that is signed as it should be, for nothing
    url = BOTOCORE.generate_presigned_url(f"{edge.url}/nothing", date_less_than=SOON)

    # When it is fetched
    status, body = fetch(url)

    # Then the refusal is S3's
    assert (status, b"<Code>AccessDenied</Code>" in body, b"<RequestId>" in body) == (403, True, True)
