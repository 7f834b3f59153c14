"""Signed URLs of CloudFront: a policy that says what may be fetched until when, and an RSA signature over it.

https://docs.aws.amazon.com/AmazonCloudFront/latest/DeveloperGuide/private-content-signed-urls.html. CloudFront looks at a policy
when a request begins, so whoever signs each request anew may go on with a transfer at any later time. Written with
`cryptography` alone because botocore's signer knows neither SHA-256 nor a policy that is used for more than one URL; it is the
oracle of the tests. A key is parsed here, and named in no error.
"""

from __future__ import annotations

import base64
import binascii
import json
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from common.errors import Unauthenticated

if TYPE_CHECKING:
    from collections.abc import Callable

    from common.config import Cdn

Hash = Literal["sha1", "sha256"]

SMALLEST_KEY = 2048
"""Bits. The public half of a smaller key cannot be uploaded to CloudFront."""
_PEM = b"-----BEGIN "
_IN_A_URL = bytes.maketrans(b"+=/", b"-_~")


@dataclass(frozen=True, slots=True)
class Signed:
    """A URL to be fetched. `expires` and `begins` are what its policy says, in epoch seconds, to tell why it was refused."""

    url: str
    expires: int | None = None
    begins: int | None = None


@dataclass(frozen=True, slots=True)
class Terms:
    """What a policy grants besides the resource: for how many seconds, from when on (epoch), to which IPv4 network."""

    seconds: int
    begins: int | None = None
    network: str | None = None


class UrlSigner(Protocol):
    def sign(self, url: str) -> Signed:
        """The URL, which is encoded already, with what lets CloudFront answer it now."""
        ...


def load_key(text: bytes) -> RSAPrivateKey:
    """The RSA key in a PEM. To fit on one line it may be in base64, or have its line breaks written as a backslash and an n.

    Raises ValueError that says what is wrong, without a byte of the text.
    """
    pem = text.strip()
    if b"\n" not in pem:
        pem = pem.replace(b"\\n", b"\n")
    if not pem.startswith(_PEM):
        try:
            pem = base64.b64decode(b"".join(pem.split()), validate=True).strip()
        except binascii.Error:
            pem = b""
        if not pem.startswith(_PEM):
            raise ValueError("is neither a PEM nor the base64 of one: give what begins with -----BEGIN … PRIVATE KEY-----")
    try:
        key = load_pem_private_key(pem, password=None)
    except TypeError:
        raise ValueError("is encrypted: take the passphrase off (openssl pkey -in key.pem -out plain.pem)") from None
    except (ValueError, UnsupportedAlgorithm):
        raise ValueError("is not a private key that can be read: give the private half of the pair, as PEM") from None
    if not isinstance(key, RSAPrivateKey):
        raise ValueError("is not an RSA key: make one with openssl genrsa -out key.pem 2048")  # noqa: TRY004 - a setting's value
    if key.key_size < SMALLEST_KEY:
        raise ValueError(f"is an RSA key of {key.key_size} bits, CloudFront takes {SMALLEST_KEY}: make a new pair")
    return key


def read_key(settings: Cdn) -> RSAPrivateKey:
    """The key that the settings hold or name. Raises ValueError as `load_key` does, OSError when the file cannot be read."""
    if settings.private_key is not None:
        return load_key(settings.private_key.get_secret_value().encode())
    if settings.private_key_file is not None:
        return load_key(settings.private_key_file.read_bytes())
    raise ValueError("is missing")


def signer(settings: Cdn, root: str, *, now: Callable[[], float] = time.time) -> UrlSigner:
    """What signs the URLs below `root` as the settings say. Raises Unauthenticated when the key cannot be used any more."""
    if settings.signing == "none":
        return Public()
    try:
        key = read_key(settings)
    except OSError as error:
        raise Unauthenticated(
            f"the key for {settings.domain} cannot be read ({error.strerror}): {settings.private_key_file}"
        ) from None
    except ValueError as error:
        raise Unauthenticated(f"the key for {settings.domain} {error}") from None
    pair = KeyPair(settings.key_id or "", key, settings.hash)
    begins = int(settings.not_before.timestamp()) if settings.not_before is not None else None
    terms = Terms(settings.expires_seconds, begins, settings.source_ip)
    if settings.signing == "canned":
        return CannedSigner(pair, terms, now)
    return PrefixSigner(pair, terms, root, now) if settings.policy == "prefix" else CustomSigner(pair, terms, now)


class KeyPair:
    """A private key and the id under which CloudFront has its public half. Shows neither."""

    def __init__(self, key_id: str, key: RSAPrivateKey, algorithm: Hash = "sha1") -> None:
        self._key = key
        # SHA-1 is what CloudFront assumes where the URL does not name the other.
        self._hash: hashes.HashAlgorithm = hashes.SHA256() if algorithm == "sha256" else hashes.SHA1()  # noqa: S303 - theirs
        self._names = f"Key-Pair-Id={key_id}{'&Hash-Algorithm=SHA256' if algorithm == 'sha256' else ''}"

    def signature(self, policy: bytes) -> str:
        """The last parameters of the URL. About 0.3 ms with 2048 bits."""
        return f"Signature={_text(self._key.sign(policy, PKCS1v15(), self._hash))}&{self._names}"


class Public:
    """For a distribution that restricts nobody."""

    def sign(self, url: str) -> Signed:
        return Signed(url)


class CannedSigner:
    """A canned policy per request: this URL, until then. The policy itself is not sent, CloudFront builds the same one."""

    def __init__(self, pair: KeyPair, terms: Terms, now: Callable[[], float]) -> None:
        self._pair = pair
        self._terms = terms
        self._now = now

    def sign(self, url: str) -> Signed:
        expires = int(self._now()) + self._terms.seconds
        return Signed(_with(url, f"Expires={expires}&{self._pair.signature(policy(url, Terms(0), expires))}"), expires)


class CustomSigner:
    """A custom policy per request: this URL, from when, until when, and for whom."""

    def __init__(self, pair: KeyPair, terms: Terms, now: Callable[[], float]) -> None:
        self._pair = pair
        self._terms = terms
        self._now = now

    def sign(self, url: str) -> Signed:
        expires = int(self._now()) + self._terms.seconds
        return Signed(_with(url, _custom(self._pair, url, self._terms, expires)), expires, self._terms.begins)


class PrefixSigner:
    """One custom policy for everything below a URL, made anew when half of its life is over.

    `root` is encoded as the URLs are; a `*` or `?` that is part of a key is escaped in both and is no wildcard.
    """

    def __init__(self, pair: KeyPair, terms: Terms, root: str, now: Callable[[], float]) -> None:
        self._pair = pair
        self._terms = terms
        self._resource = f"{root}*"
        self._now = now
        self._parameters = ""
        self._expires = 0

    def sign(self, url: str) -> Signed:
        now = self._now()
        if self._expires - now < self._terms.seconds / 2:
            self._expires = int(now) + self._terms.seconds
            self._parameters = _custom(self._pair, self._resource, self._terms, self._expires)
        return Signed(_with(url, self._parameters), self._expires, self._terms.begins)


def policy(resource: str, terms: Terms, expires: int) -> bytes:
    """The policy statement, byte for byte as CloudFront builds a canned one: no space, in this order."""
    condition: dict[str, Any] = {"DateLessThan": {"AWS:EpochTime": expires}}
    if terms.network is not None:
        condition["IpAddress"] = {"AWS:SourceIp": terms.network}
    if terms.begins is not None:
        condition["DateGreaterThan"] = {"AWS:EpochTime": terms.begins}
    return json.dumps({"Statement": [{"Resource": resource, "Condition": condition}]}, separators=(",", ":")).encode()


def _custom(pair: KeyPair, resource: str, terms: Terms, expires: int) -> str:
    statement = policy(resource, terms, expires)
    return f"Policy={_text(statement)}&{pair.signature(statement)}"


def _with(url: str, parameters: str) -> str:
    return f"{url}{'&' if '?' in url else '?'}{parameters}"


def _text(data: bytes) -> str:
    """Base64 in CloudFront's own alphabet, which is not the one of RFC 4648 for URLs."""
    return base64.b64encode(data).translate(_IN_A_URL).decode()
