"""Our signer against botocore's, which signs for everyone else."""

from __future__ import annotations

import datetime as dt
from unittest.mock import patch

import pytest
from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials as BotocoreCredentials
from hypothesis import given, settings
from hypothesis import strategies as st

from common.errors import Unauthenticated
from common.transport.aws import Credentials, Signer, encode_path, encode_query
from common.transport.aws_machine import AmbientCredentials, Machine

NOW = dt.datetime(2026, 11, 21, 10, 30, 0, tzinfo=dt.UTC)

keys = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=60)
header_values = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), max_size=40)
headers = st.dictionaries(
    st.sampled_from(["range", "if-match", "content-type", "x-amz-meta-a", "x-amz-meta-b", "x-amz-checksum-crc32c"]), header_values
)
queries = st.dictionaries(st.sampled_from(["versionId", "uploadId", "prefix", "start-after", "uploads", "partNumber"]), keys)


def botocore_authorization(method: str, url: str, sent: dict[str, str], token: str | None, region: str) -> str:
    request = AWSRequest(method=method, url=url, headers={**sent, "X-Amz-Content-SHA256": "UNSIGNED-PAYLOAD"})
    signer = S3SigV4Auth(BotocoreCredentials("AKIDEXAMPLE", "secret/with+odd=chars", token), "s3", region)
    with (
        patch("botocore.auth.get_current_datetime", lambda: NOW.replace(tzinfo=None)),
        patch.object(S3SigV4Auth, "payload", lambda *_: "UNSIGNED-PAYLOAD"),
    ):
        signer.add_auth(request)
    return str(request.headers["Authorization"])


@settings(max_examples=300, deadline=None)
@given(
    method=st.sampled_from(["GET", "PUT", "POST", "HEAD", "DELETE"]),
    key=keys,
    query=queries,
    sent=headers,
    token=st.none() | st.just("a/session+token=="),
    region=st.sampled_from(["us-east-1", "eu-central-1"]),
)
def test_signs_as_botocore_does(
    method: str, key: str, query: dict[str, str], sent: dict[str, str], token: str | None, region: str
) -> None:
    # Given a request on any key, with any headers and query
    path, encoded = "/bucket/" + encode_path(key), encode_query(list(query.items()))
    # When both sign it at the same moment
    ours = Signer(region, now=NOW.timestamp).headers(
        Credentials("AKIDEXAMPLE", "secret/with+odd=chars", token),
        method,
        "storage.example:9000",
        path,
        query=encoded,
        headers=list(sent.items()),
    )
    theirs = botocore_authorization(method, f"https://storage.example:9000{path}?{encoded}", sent, token, region)
    # Then the signatures are the same
    assert dict(ours)["Authorization"] == theirs


def test_key_is_derived_anew_for_another_day_and_another_secret() -> None:
    # Given a signer that has signed before midnight
    moment = [NOW.timestamp()]
    signer = Signer("us-east-1", now=lambda: moment[0])
    first = Credentials("A", "one")
    before = dict(signer.headers(first, "GET", "h", "/"))["Authorization"]
    # When the day or the secret changes
    moment[0] += 24 * 3600
    next_day = dict(signer.headers(first, "GET", "h", "/"))["Authorization"]
    moment[0] = NOW.timestamp()
    other_secret = dict(signer.headers(Credentials("A", "two"), "GET", "h", "/"))["Authorization"]
    # Then nothing of the old key is used, and the old request signs as before
    assert len({before, next_day, other_secret}) == 3
    assert dict(signer.headers(first, "GET", "h", "/"))["Authorization"] == before


@pytest.mark.parametrize(
    ("key", "encoded"),
    [
        ("a b+c", "a%20b%2Bc"),
        ("../x//y/.", "../x//y/."),
        ("#?%", "%23%3F%25"),
        ("ü", "%C3%BC"),
        ("\udcff", "%FF"),
    ],
)
def test_paths_are_escaped_once_and_dots_left_alone(key: str, encoded: str) -> None:
    assert encode_path(key) == encoded


def test_repr_hides_the_secret() -> None:
    assert "hush" not in repr(Credentials("AKID", "hush", "hush-too"))


async def test_no_credentials_anywhere_says_what_to_set(monkeypatch: pytest.MonkeyPatch, tmp_path: object) -> None:
    # Given a machine without keys, profile or role
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", f"{tmp_path}/none")
    monkeypatch.setenv("AWS_CONFIG_FILE", f"{tmp_path}/none")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    # When and then
    with pytest.raises(Unauthenticated, match="AWS_ACCESS_KEY_ID"):
        await AmbientCredentials(Machine()).current()


async def test_ambient_credentials_are_read_from_a_profile(monkeypatch: pytest.MonkeyPatch, tmp_path: object) -> None:
    # Given a shared profile
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    profile = f"{tmp_path}/credentials"
    with open(profile, "w", encoding="utf-8") as file:  # noqa: ASYNC230, PTH123
        file.write("[default]\naws_access_key_id = AKIDPROFILE\naws_secret_access_key = s3cret\n")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", profile)
    # When
    found = await AmbientCredentials(Machine()).current()
    # Then
    assert (found.access_key_id, found.secret_access_key) == ("AKIDPROFILE", "s3cret")
