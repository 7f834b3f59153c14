"""Whether a signed URL grants what is asked for: written from CloudFront's documentation, not from our signer.

https://docs.aws.amazon.com/AmazonCloudFront/latest/DeveloperGuide/private-content-creating-signed-url-custom-policy.html and
…-canned-policy.html. Codes and messages of the refusals are those of
https://repost.aws/knowledge-center/cloudfront-troubleshoot-signed-url-cookies; an expired URL, one from a wrong address and a
forged one get the same answer.
"""

from __future__ import annotations

import base64
import binascii
import ipaddress
import json
import re
from typing import TYPE_CHECKING, Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

OURS = ("Expires", "Policy", "Signature", "Key-Pair-Id", "Hash-Algorithm")
_HASHES: dict[str, hashes.HashAlgorithm] = {"SHA1": hashes.SHA1(), "SHA256": hashes.SHA256()}


class RefusedError(Exception):
    def __init__(self, code: str = "AccessDenied", message: str = "Access denied") -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message


def split(query: str) -> tuple[str, dict[str, str]]:
    """The viewer's own part of the query, as it came, and CloudFront's parameters."""
    rest, taken = [], {}
    for pair in query.split("&") if query else []:
        name, _, value = pair.partition("=")
        if name in OURS:
            taken[name] = value
        else:
            rest.append(pair)
    return "&".join(rest), taken


def verify(url: str, given: Mapping[str, str], keys: Mapping[str, RSAPublicKey], client: str, now: float) -> None:
    """Raises RefusedError unless the parameters grant `url` (without them) to the address `client` at the time `now`."""
    if not given.get("Key-Pair-Id"):
        raise RefusedError("MissingKey", "Missing Key-Pair-Id query parameter or cookie value")
    if given["Key-Pair-Id"] not in keys:
        raise RefusedError("InvalidKey", "Unknown Key")
    algorithm = _HASHES.get(given.get("Hash-Algorithm", "SHA1"))
    if algorithm is None:
        raise RefusedError
    statement = _statement(url, given)
    try:
        keys[given["Key-Pair-Id"]].verify(_decoded(given.get("Signature", "")), statement, padding.PKCS1v15(), algorithm)
    except (InvalidSignature, binascii.Error):
        raise RefusedError from None
    _check(_parsed(statement), url, client, now)


def _statement(url: str, given: Mapping[str, str]) -> bytes:
    """What was signed: the policy that was sent, else the canned one, which CloudFront builds by itself."""
    if "Policy" in given:
        try:
            return _decoded(given["Policy"])
        except binascii.Error:
            raise RefusedError("MalformedPolicy", "Malformed Policy") from None
    if not given.get("Expires", "").isdecimal():
        raise RefusedError
    return (
        f'{{"Statement":[{{"Resource":"{url}","Condition":{{"DateLessThan":{{"AWS:EpochTime":{given["Expires"]}}}}}}}]}}'.encode()
    )


def _parsed(statement: bytes) -> dict[str, Any]:
    try:
        (only,) = json.loads(statement)["Statement"]
    except (ValueError, KeyError, TypeError):
        raise RefusedError("MalformedPolicy", "Malformed Policy") from None
    if not isinstance(only, dict) or not isinstance(only.get("Condition"), dict):
        raise RefusedError("MalformedPolicy", "Malformed Policy")
    return only


def _check(statement: dict[str, Any], url: str, client: str, now: float) -> None:
    condition = statement["Condition"]
    if not _matches(statement.get("Resource", "*"), url):
        raise RefusedError
    if now >= condition["DateLessThan"]["AWS:EpochTime"]:
        raise RefusedError
    if now < condition.get("DateGreaterThan", {"AWS:EpochTime": 0})["AWS:EpochTime"]:
        raise RefusedError
    network = condition.get("IpAddress", {"AWS:SourceIp": "0.0.0.0/0"})["AWS:SourceIp"]
    if ipaddress.IPv4Address(client) not in ipaddress.IPv4Network(network):
        raise RefusedError


def _matches(resource: str, url: str) -> bool:
    """`*` is any text, `?` any one character, anywhere in the resource."""
    pattern = "".join(".*" if each == "*" else "." if each == "?" else re.escape(each) for each in resource)
    return re.fullmatch(pattern, url, re.DOTALL) is not None


def _decoded(text: str) -> bytes:
    standard = text.replace("-", "+").replace("_", "=").replace("~", "/")
    return base64.b64decode(standard, validate=True)
