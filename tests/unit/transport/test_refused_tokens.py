"""Tokens that Google refuses though they have not expired by our clock: dropped, fetched anew once, and no oftener."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING

import pytest

from common.config import Google, Settings, StoreOptions
from common.errors import Unauthenticated, Unavailable
from common.location import Location
from common.storage.gcs_client import GcsClient
from common.storage.gdrive.control import Drive
from common.transport.google import (
    RENEWED_AGAIN_SECONDS,
    STORAGE_SCOPE,
    GoogleTokens,
    SignedIn,
    drive_tokens,
    identity,
    send,
)
from common.transport.http import Request, Transport
from tests.fakes import http
from tests.fakes.google.token_endpoint import TokenEndpoint
from tests.unit.transport.test_google_token import service_account, token_file

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path


class Service(http.HttpServer):
    """Takes the tokens that it is told to, and answers 401 to any other."""

    def __init__(self) -> None:
        super().__init__()
        self.taken = {"Bearer fresh"}
        self.came: list[str] = []

    async def handle(self, request: http.Request) -> http.Response:
        await request.body.read()
        self.came.append(request.headers.get("authorization", ""))
        if self.came[-1] in self.taken:
            return http.Response(200, [], b"{}")
        return http.Response(401, [], b'{"error": {"message": "Invalid Credentials"}}')


class Clock:
    def __init__(self) -> None:
        self.seconds = 1000.0

    def __call__(self) -> float:
        return self.seconds


@pytest.fixture
def endpoint(monkeypatch: pytest.MonkeyPatch) -> Iterator[TokenEndpoint]:
    monkeypatch.setenv("NO_PROXY", "*")
    with TokenEndpoint() as running:
        yield running
        assert running.failures == []


@pytest.fixture
async def service() -> AsyncIterator[Service]:
    async with Service() as running:
        yield running
        assert running.failures == []


@pytest.fixture
async def transport() -> AsyncIterator[Transport]:
    transport = Transport()
    yield transport
    await transport.close()


async def test_many_requests_with_a_refused_token_fetch_one(
    tmp_path: Path, endpoint: TokenEndpoint, service: Service, transport: Transport
) -> None:
    # Given a token that has an hour to live by our clock, and a service that takes it no more
    tokens = SignedIn(token_file(tmp_path, endpoint), write=True)
    # When ten requests are sent with it at once
    request = Request("PUT", f"{service.url}/x", [("X-One", "1")], b"body", 100)
    answers = await asyncio.gather(*(send(transport, tokens, request) for _ in range(10)))
    # Then all come through, with one token that was fetched once
    assert [answer.status for answer in answers] == [200] * 10
    assert len(endpoint.asked) == 1
    assert service.came.count("Bearer fresh") == 10
    # And the token that was refused is no longer in the file
    assert json.loads((tmp_path / "token.json").read_text())["token"] == "fresh"


async def test_an_identity_that_is_refused_does_not_fetch_a_token_for_each_object(
    tmp_path: Path, endpoint: TokenEndpoint, service: Service, transport: Transport
) -> None:
    # Given a service that takes no token of this identity
    service.taken = set()
    clock = Clock()
    tokens = SignedIn(token_file(tmp_path, endpoint), write=True, now=clock)
    # When it is asked again and again
    answers = [(await send(transport, tokens, Request("GET", f"{service.url}/x", expect=100))).status for _ in range(5)]
    # Then it is asked once more with a new token, and the refusal is the answer
    assert answers == [401] * 5
    assert service.came == ["Bearer kept"] + ["Bearer fresh"] * 5
    assert len(endpoint.asked) == 1
    # And after a while once again
    clock.seconds += RENEWED_AGAIN_SECONDS
    endpoint.reply["access_token"] = "fresher"
    service.taken = {"Bearer fresher"}
    assert (await send(transport, tokens, Request("GET", f"{service.url}/x", expect=100))).status == 200
    assert len(endpoint.asked) == 2


async def test_somebody_who_signs_in_anew_is_heard_at_the_first_refusal(
    tmp_path: Path, endpoint: TokenEndpoint, service: Service, transport: Transport
) -> None:
    # Given a process that uses a token file, into which somebody signs in anew
    tokens = SignedIn(token_file(tmp_path, endpoint), write=True)
    await tokens.headers()
    path = token_file(tmp_path, endpoint, token="fresh", refresh_token="another")
    # When the old token is refused, then the one in the file is used, and nothing is fetched
    assert (await send(transport, tokens, Request("GET", f"{service.url}/x", expect=100))).status == 200
    assert endpoint.asked == []
    assert json.loads(path.read_text())["refresh_token"] == "another"


async def test_a_new_consent_is_never_overwritten_with_an_old_one(tmp_path: Path, endpoint: TokenEndpoint) -> None:
    # Given a token that has run out, and somebody who signs in anew before it is renewed
    tokens = SignedIn(token_file(tmp_path, endpoint, expiry="2020-01-01T00:00:00Z"), write=True)
    path = token_file(tmp_path, endpoint, refresh_token="another")
    # When it is renewed with the old consent
    assert await tokens.headers() == [("Authorization", "Bearer fresh")]
    # Then the file holds the new one still
    assert json.loads(path.read_text())["refresh_token"] == "another"


async def test_a_key_file_that_was_replaced_is_read_again(
    tmp_path: Path, endpoint: TokenEndpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given an identity whose key Google does not know any more
    before, after = service_account(endpoint), service_account(endpoint)
    held = [before]
    tokens = GoogleTokens(lambda: identity(Google(sa_key_b64=held[0]), STORAGE_SCOPE))
    refusing = endpoint.handle

    async def handle(request: http.Request) -> http.Response:
        answer = await refusing(request)
        known = held[0] is after and len(endpoint.asked) > 1
        return answer if known else http.Response(400, [("Content-Type", "application/json")], b'{"error": "invalid_grant"}')

    monkeypatch.setattr(endpoint, "handle", handle)
    # When its file is replaced
    held[0] = after
    # Then the first refusal reads it again, and the token is had with the new key
    assert await tokens.headers() == [("Authorization", "Bearer fresh")]
    assert len(endpoint.asked) == 2
    assert endpoint.asked[0]["assertion"] != endpoint.asked[1]["assertion"]


async def test_a_key_that_stays_refused_is_told_with_what_to_check(endpoint: TokenEndpoint) -> None:
    endpoint.status, endpoint.reply = 400, {"error": "invalid_grant", "error_description": "Invalid JWT Signature."}
    tokens = GoogleTokens(lambda: identity(Google(sa_key_b64=service_account(endpoint)), STORAGE_SCOPE))
    for _ in range(3):
        with pytest.raises(Unauthenticated, match=r"Google refuses a token.*check GCP_CREDENTIALS"):
            await tokens.headers()
    # The identity is read again and tried once, then only asked
    assert len(endpoint.asked) == 4


async def test_a_token_service_that_is_away_says_nothing_of_the_identity(
    endpoint: TokenEndpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("google.auth._exponential_backoff.time.sleep", lambda _: None)

    endpoint.status, endpoint.reply = 503, {"error": "internal_failure"}
    tokens = GoogleTokens(lambda: identity(Google(sa_key_b64=service_account(endpoint)), STORAGE_SCOPE))
    with pytest.raises(Unavailable, match="no access token from Google"):
        await tokens.headers()


async def test_gcs_and_drive_ask_once_more(
    tmp_path: Path, endpoint: TokenEndpoint, service: Service, transport: Transport
) -> None:
    # Given clients of both services with a token that is refused
    settings = Settings(google=Google(project="test", drive_token_file=token_file(tmp_path, endpoint)))
    options = StoreOptions(endpoint=service.url)
    gcs = GcsClient(Location("gs", "demo", ""), options, settings, transport)
    drive = Drive(options, settings, transport, write=True)
    for client in (gcs, drive):
        token_file(tmp_path, endpoint)
        client._tokens = drive_tokens(settings.google, write=True)
    # When they send something, then it goes out a second time, with another token
    assert (await gcs.send("GET", f"{service.url}/x")).status == 200
    assert (await drive.send("GET", f"{service.url}/x", units=0)).status == 200
    assert service.came == ["Bearer kept", "Bearer fresh"] * 2
    # And a session elsewhere gets none at all
    async with Service() as other:
        assert (await drive.send("PUT", f"{other.url}/x", units=0)).status == 401
        assert other.came == [""]
