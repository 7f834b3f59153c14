"""Our signed URLs against botocore's, which signs for everyone else, and against a distribution that checks them."""

from __future__ import annotations

import base64
import datetime as dt
from typing import TYPE_CHECKING, Any

import pytest
from botocore.signers import CloudFrontSigner
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import SecretStr

from common.config import Cdn
from common.errors import Unauthenticated
from common.transport.aws import encode_path
from common.transport.cloudfront import CannedSigner, CustomSigner, KeyPair, PrefixSigner, Public, Terms, load_key, signer
from tests.fakes.cdn.policy import RefusedError, split, verify

if TYPE_CHECKING:
    from pathlib import Path

    from common.transport.cloudfront import UrlSigner

KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
PEM = KEY.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption())
NOW = 1_795_000_000.0
ROOT = "https://d111111abcdef8.cloudfront.net/photos/"
URL = ROOT + "a%20b.jpg"
HOUR = 3600

keys = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=60)


def at(seconds):
    return dt.datetime.fromtimestamp(seconds, dt.UTC)


def oracle():
    return CloudFrontSigner("K2JCJMDEHXQW5F", lambda message: KEY.sign(message, padding.PKCS1v15(), hashes.SHA1()))


def pair(algorithm="sha1"):
    return KeyPair("K2JCJMDEHXQW5F", KEY, algorithm)


def allowed(url: str, *, client: str = "192.0.2.7", now: float = NOW) -> bool:
    """What the stand-in, written from the documentation, says of it."""
    bare, _, query = url.partition("?")
    rest, taken = split(query)
    try:
        verify(f"{bare}{'?' if rest else ''}{rest}", taken, {"K2JCJMDEHXQW5F": KEY.public_key()}, client, now)
    except RefusedError:
        return False
    return True


@settings(max_examples=50, deadline=None)
@given(key=keys, query=st.sampled_from(["", "?versionId=abc", "?a=1&b=2"]))
def test_a_canned_policy_is_botocores(key: str, query: str) -> None:
    # Given any key
    url = ROOT + encode_path(key) + query

    # When it is signed for an hour
    signed = CannedSigner(pair(), Terms(HOUR), lambda: NOW).sign(url)

    # Then the URL is the one that botocore makes
    assert signed.url == oracle().generate_presigned_url(url, date_less_than=at(NOW + HOUR))
    assert signed.expires == NOW + HOUR


@settings(max_examples=50, deadline=None)
@given(
    key=keys,
    begins=st.none() | st.integers(1, 2_000_000_000),
    network=st.sampled_from([None, "192.0.2.0/24", "192.0.2.7/32"]),
)
def test_a_custom_policy_is_botocores(key: str, begins: int | None, network: str | None) -> None:
    # Given any key, and terms
    url = ROOT + encode_path(key)
    policy = oracle().build_policy(url, at(NOW + HOUR), date_greater_than=at(begins) if begins else None, ip_address=network)

    # When it is signed
    signed = CustomSigner(pair(), Terms(HOUR, begins, network), lambda: NOW).sign(url)

    # Then the URL is the one that botocore makes
    assert signed.url == oracle().generate_presigned_url(url, policy=policy)


@pytest.mark.parametrize("algorithm", ["sha1", "sha256"])
def test_the_hash_algorithm_is_named_when_it_is_not_the_first(algorithm) -> None:
    # Given each hash that CloudFront knows
    # When URLs are signed with it, in every way
    terms = Terms(HOUR)
    made: list[UrlSigner] = [
        CannedSigner(pair(algorithm), terms, lambda: NOW),
        CustomSigner(pair(algorithm), terms, lambda: NOW),
        PrefixSigner(pair(algorithm), terms, ROOT, lambda: NOW),
    ]
    for each in made:
        url = each.sign(URL).url

        # Then the parameter says which, and without it, or with another, the signature is none
        assert ("Hash-Algorithm=SHA256" in url) == (algorithm == "sha256")
        assert allowed(url)
        bare = url.replace("&Hash-Algorithm=SHA256", "")
        assert allowed(bare) == (algorithm == "sha1")
        assert allowed(bare + "&Hash-Algorithm=SHA256") == (algorithm == "sha256")


def test_terms_are_kept_by_whoever_checks() -> None:
    # Given a URL for an hour, from ten minutes on, for one network
    url = CustomSigner(pair(), Terms(HOUR, int(NOW) + 600, "192.0.2.0/24"), lambda: NOW).sign(URL).url

    # When it is used too early, in time, too late, from elsewhere, or for another object
    # Then only what was granted is granted
    assert not allowed(url, now=NOW + 599)
    assert allowed(url, now=NOW + 601)
    assert not allowed(url, now=NOW + HOUR)
    assert not allowed(url, now=NOW + 601, client="192.0.3.1")
    assert not allowed(url.replace("a%20b", "a%20c"), now=NOW + 601)


def test_one_policy_serves_a_prefix_and_is_renewed_before_it_ends() -> None:
    # Given a signer for a prefix, and a clock
    clock = [NOW]
    urls = PrefixSigner(pair(), Terms(HOUR), ROOT, lambda: clock[0])
    first = urls.sign(URL)

    # When other URLs below it are signed, until half of its hour is over
    clock[0] = NOW + HOUR / 2
    second = urls.sign(ROOT + "deeper/still.jpg?versionId=1")

    # Then they share one signature
    assert split(second.url.partition("?")[2])[1] == split(first.url.partition("?")[2])[1]
    assert allowed(second.url, now=clock[0])
    assert not allowed(second.url.replace("/photos/", "/private/"), now=clock[0])

    # And after that there is a new one, with an hour before it
    clock[0] += 1
    third = urls.sign(URL)
    assert third.url != first.url
    assert third.expires == int(clock[0]) + HOUR
    assert allowed(third.url, now=NOW + HOUR + 10)


def test_a_wildcard_in_a_prefix_grants_nothing_else() -> None:
    # Given a prefix that holds the policy's wildcards
    root = "https://d111111abcdef8.cloudfront.net/" + encode_path("a*b?/")

    # When its policy is made
    url = PrefixSigner(pair(), Terms(HOUR), root, lambda: NOW).sign(root + "key").url

    # Then it grants that prefix, not what the characters could stand for
    assert allowed(url)
    assert not allowed(url.replace("/a%2Ab%3F/", "/a-and-b!/"))


def test_a_public_url_stays_as_it_is() -> None:
    # Given a distribution that restricts nobody
    # When a URL is signed for it
    # Then it is the same URL
    assert Public().sign(URL).url == URL


@pytest.mark.parametrize(
    "text",
    [
        PEM,
        b"\n  " + PEM + b"\n\n",
        base64.b64encode(PEM),
        base64.encodebytes(PEM),
        PEM.strip().replace(b"\n", b"\\n"),
        KEY.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()),
    ],
    ids=["pem", "spaces around", "base64", "base64 in lines", "one line", "pkcs8"],
)
def test_a_key_is_read_however_it_came(text: bytes) -> None:
    # Given a key as files and variables hold it
    # When it is read
    # Then it is the key
    assert load_key(text).private_numbers() == KEY.private_numbers()


def unusable() -> dict[str, tuple[bytes, str]]:
    def pem(key, encryption=None):
        kind = serialization.PrivateFormat.PKCS8
        return key.private_bytes(serialization.Encoding.PEM, kind, encryption or serialization.NoEncryption())

    public = KEY.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    locked = serialization.BestAvailableEncryption(b"passphrase")
    return {
        "text": (b"SECRET-TEXT", "neither a PEM nor the base64"),
        "base64 of something else": (base64.b64encode(b"SECRET-TEXT"), "neither a PEM nor the base64"),
        "encrypted": (pem(KEY, locked), "encrypted"),
        "public": (public, "private half"),
        "cut off": (PEM[:200], "not a private key that can be read"),
        "elliptic": (pem(ec.generate_private_key(ec.SECP256R1())), "not an RSA key"),
        "short": (pem(rsa.generate_private_key(public_exponent=65537, key_size=1024)), "1024 bits"),
    }


@pytest.mark.parametrize("case", list(unusable()))
def test_a_key_that_cannot_sign_is_told_by_what_is_wrong_with_it(case: str) -> None:
    # Given something that is no usable key
    text, said = unusable()[case]

    # When it is read
    with pytest.raises(ValueError, match=said) as raised:
        load_key(text)

    # Then the error has nothing of it
    assert "SECRET-TEXT" not in str(raised.value)
    assert PEM.decode()[40:80] not in str(raised.value)


def test_the_settings_choose_the_signer(tmp_path: Path) -> None:
    # Given a key in a file, and one in a variable
    (tmp_path / "key.pem").write_bytes(PEM)
    base: dict[str, Any] = {"domain": "d111111abcdef8.cloudfront.net", "key_id": "K2JCJMDEHXQW5F"}
    terms: dict[str, Any] = {"hash": "sha256", "source_ip": "192.0.2.7", "not_before": at(NOW - 60)}
    from_file = Cdn(**base, signing="canned", private_key_file=tmp_path / "key.pem")
    from_variable = Cdn(**base, **terms, signing="custom", private_key=SecretStr(PEM.decode()))

    # When signers are made of them
    # Then each is what was written
    made = signer(from_file, ROOT, now=lambda: NOW).sign(URL)
    assert "Expires=" in made.url
    assert allowed(made.url)
    made = signer(from_variable, ROOT, now=lambda: NOW).sign(URL)
    assert "Policy=" in made.url
    assert made.begins == NOW - 60
    assert allowed(made.url)
    assert not allowed(made.url, client="192.0.2.8")
    wide = from_variable.model_copy(update={"policy": "prefix"})
    assert allowed(signer(wide, ROOT, now=lambda: NOW).sign(URL).url.replace("a%20b", "b"))
    assert signer(Cdn(domain="d111111abcdef8.cloudfront.net"), ROOT).sign(URL).url == URL


def test_a_key_that_went_away_is_named(tmp_path: Path) -> None:
    # Given settings whose key is gone, or no key any more
    cdn = Cdn(domain="d1.cloudfront.net", signing="canned", key_id="K1", private_key_file=tmp_path / "key.pem")

    # When a signer is made
    # Then the error names the file
    with pytest.raises(Unauthenticated, match=r"key\.pem"):
        signer(cdn, ROOT)
    (tmp_path / "key.pem").write_text("rubbish")
    with pytest.raises(Unauthenticated, match="PEM"):
        signer(cdn, ROOT)
