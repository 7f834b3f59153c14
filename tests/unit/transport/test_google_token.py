"""Who asks for Drive's tokens: a person who signed in, a service account, or one that acts for a person."""

from __future__ import annotations

import base64
import json
import stat
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from pydantic import SecretStr

from common.config import Google
from common.errors import Unauthenticated
from common.transport.google import DRIVE_READ_SCOPE, DRIVE_SCOPE, drive_tokens
from tests.fakes.google.token_endpoint import TokenEndpoint

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

NOW = datetime.now(UTC).replace(tzinfo=None)


@pytest.fixture
def endpoint(monkeypatch: pytest.MonkeyPatch) -> Iterator[TokenEndpoint]:
    monkeypatch.setenv("NO_PROXY", "*")
    with TokenEndpoint() as running:
        yield running
        assert running.failures == []


def token_file(tmp_path: Path, endpoint: TokenEndpoint, **change: Any) -> Path:
    path = tmp_path / "token.json"
    content = {
        "token": "kept",
        "refresh_token": "refresh",
        "token_uri": endpoint.token_url,
        "client_id": "id",
        "client_secret": "secret",
        "scopes": [DRIVE_SCOPE],
        "expiry": (NOW + timedelta(hours=1)).isoformat() + "Z",
        **change,
    }
    path.write_text(json.dumps({name: value for name, value in content.items() if value is not None}))
    path.chmod(0o644)
    return path


def names_in(directory: Path) -> list[str]:
    return [entry.name for entry in directory.iterdir()]


def service_account(endpoint: TokenEndpoint) -> SecretStr:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()).decode()
    account = {
        "type": "service_account",
        "client_email": "robot@project.iam.gserviceaccount.com",
        "private_key": pem,
        "token_uri": endpoint.token_url,
    }
    return SecretStr(base64.b64encode(json.dumps(account).encode()).decode())


def claims(endpoint: TokenEndpoint) -> dict[str, Any]:
    """What the service account has sworn."""
    payload = endpoint.asked[-1]["assertion"].split(".")[1]
    found: dict[str, Any] = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    return found


async def test_a_kept_token_is_used_while_it_lives(tmp_path: Path, endpoint: TokenEndpoint) -> None:
    # Given somebody who signed in a moment ago
    path = token_file(tmp_path, endpoint)

    # When a request is made
    tokens = drive_tokens(Google(drive_token_file=path), write=True)

    # Then nobody has to be asked for another token
    assert await tokens.headers() == [("Authorization", "Bearer kept")]
    assert endpoint.asked == []


@pytest.mark.parametrize("expiry", ["2020-01-01T00:00:00Z", None, "soon"])
async def test_a_new_token_is_kept_for_the_next_process(tmp_path: Path, endpoint: TokenEndpoint, expiry: str | None) -> None:
    # Given a token that has run out, or of which nobody knows
    path = token_file(tmp_path, endpoint, expiry=expiry)

    # When a request is made
    tokens = drive_tokens(Google(drive_token_file=path), write=False)

    # Then it carries a new one, had for the refresh token
    assert await tokens.headers() == [("Authorization", "Bearer fresh")]
    assert endpoint.asked[-1]["refresh_token"] == "refresh"

    # And the next process finds it in the file, which is its owner's alone
    assert await drive_tokens(Google(drive_token_file=path), write=False).headers() == [("Authorization", "Bearer fresh")]
    assert len(endpoint.asked) == 1
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert names_in(tmp_path) == ["token.json"]


async def test_a_file_that_cannot_be_written_does_no_harm(tmp_path: Path, endpoint: TokenEndpoint, monkeypatch: Any) -> None:
    # Given a token file that is mounted for reading
    path = token_file(tmp_path, endpoint, expiry=None)

    def read_only(*_: object) -> None:
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr("common.transport.google_token.write", read_only)

    # When the token is renewed, then the request goes out with the new one
    assert await drive_tokens(Google(drive_token_file=path), write=True).headers() == [("Authorization", "Bearer fresh")]


async def test_a_consent_that_was_taken_back_is_told(tmp_path: Path, endpoint: TokenEndpoint) -> None:
    # Given a person who took the consent back
    endpoint.status, endpoint.reply = 400, {"error": "invalid_grant", "error_description": "Token has been expired or revoked."}
    tokens = drive_tokens(Google(drive_token_file=token_file(tmp_path, endpoint, expiry=None)), write=True)

    # When a token is needed, then the error says what the person has to do
    with pytest.raises(Unauthenticated, match="brigade auth gdrive"):
        await tokens.headers()


@pytest.mark.parametrize(
    ("change", "write", "words"),
    [
        ({"refresh_token": None}, False, "lacks refresh_token"),
        ({"scopes": ["https://www.googleapis.com/auth/drive.file"]}, False, "can be read"),
        ({"scopes": [DRIVE_READ_SCOPE]}, True, "can be written to"),
        ({"scopes": DRIVE_READ_SCOPE}, True, "can be written to"),
    ],
)
def test_a_token_that_is_not_enough_is_refused_at_the_start(
    tmp_path: Path, endpoint: TokenEndpoint, change: dict[str, Any], write: bool, words: str
) -> None:
    path = token_file(tmp_path, endpoint, **change)
    with pytest.raises(Unauthenticated, match=words):
        drive_tokens(Google(drive_token_file=path), write=write)


@pytest.mark.parametrize("content", [None, "not json", "[]"])
def test_another_file_is_told_with_what_to_do(tmp_path: Path, content: str | None) -> None:
    path = tmp_path / "token.json"
    if content is not None:
        path.write_text(content)
    with pytest.raises(Unauthenticated, match=r"GDRIVE_TOKEN.*brigade auth gdrive"):
        drive_tokens(Google(drive_token_file=path), write=False)


@pytest.mark.parametrize(("write", "scope"), [(False, DRIVE_READ_SCOPE), (True, DRIVE_SCOPE)])
async def test_a_service_account_asks_for_no_more_than_it_needs(endpoint: TokenEndpoint, write: bool, scope: str) -> None:
    # Given the key of a service account
    settings = Google(sa_key_b64=service_account(endpoint))

    # When a token is had
    assert await drive_tokens(settings, write=write).headers() == [("Authorization", "Bearer fresh")]

    # Then it was asked for in its own name, for reading or for writing
    assert claims(endpoint)["scope"] == scope
    assert "sub" not in claims(endpoint)


async def test_a_service_account_acts_for_a_person(endpoint: TokenEndpoint) -> None:
    # Given a person of the domain whom it may act for
    settings = Google(sa_key_b64=service_account(endpoint), drive_subject="ana@example.com")

    # When a token is had, then it is that person's
    await drive_tokens(settings, write=True).headers()
    assert (claims(endpoint)["sub"], claims(endpoint)["scope"]) == ("ana@example.com", DRIVE_SCOPE)

    # And when the domain does not allow it, then the error says where that is done
    endpoint.status, endpoint.reply = 401, {"error": "unauthorized_client", "error_description": "Client is unauthorized"}
    with pytest.raises(Unauthenticated, match="Domain-wide delegation"):
        await drive_tokens(settings, write=True).headers()


@pytest.mark.filterwarnings("ignore:The load_credentials_from_file:DeprecationWarning")
def test_nobody_but_a_service_account_acts_for_somebody(tmp_path: Path) -> None:
    # Given gcloud's own login
    path = tmp_path / "adc.json"
    path.write_text(json.dumps({"type": "authorized_user", "client_id": "i", "client_secret": "s", "refresh_token": "r"}))

    # When it is to act for somebody, then the error names the setting
    with pytest.raises(Unauthenticated, match="GDRIVE_SUBJECT"):
        drive_tokens(Google(credentials_file=path, drive_subject="ana@example.com"), write=True)
