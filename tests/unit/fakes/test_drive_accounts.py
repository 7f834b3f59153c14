"""Who may call, and how often: tokens as Google's own library gets them, scopes, and quota units."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from google.auth.exceptions import RefreshError
from google.auth.transport.requests import Request
from google.oauth2 import credentials, service_account

from tests.fakes.drive import Clock, Fault, Kind
from tests.unit.fakes.drive import FILES, create, get, refusal, send
from tests.unit.fakes.wire import ask

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.fakes.drive import DriveServer

SCOPE = "https://www.googleapis.com/auth/drive"
ROBOT = "robot@project.iam.gserviceaccount.com"


@pytest.fixture(scope="module")
def key() -> str:
    private = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    form = serialization.PrivateFormat.PKCS8
    return private.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption()).decode()


@pytest.fixture
def transport() -> Iterator[Request]:
    request = Request()
    yield request
    request.session.close()


def robot(drive: DriveServer, key: str, scope: str = SCOPE, **more: str) -> Any:
    info = {"client_email": ROBOT, "private_key": key, "token_uri": f"{drive.url}/token", "type": "service_account"}
    return service_account.Credentials.from_service_account_info(info, scopes=[scope], **more)


def who(drive: DriveServer, token: Any) -> str:
    return str(get(drive, "/drive/v3/about", token=token, fields="user").json["user"]["emailAddress"])


def test_a_service_account_acts_for_itself_or_for_a_person(drive: DriveServer, key: str, transport: Request) -> None:
    for more, user in (({}, ROBOT), ({"subject": "ann@example.com"}, "ann@example.com")):
        signed = robot(drive, key, **more)
        signed.refresh(transport)
        assert who(drive, signed.token) == user
    assert drive.requests["token"] == 2


def test_the_token_endpoint_fails_on_request(drive: DriveServer, key: str, transport: Request) -> None:
    fault = drive.faults.add(Fault(Kind.STATUS, operation="token"))
    signed = robot(drive, key)
    signed.refresh(transport)  # Google's library tries again by itself
    assert (fault.fired, drive.requests["token"], who(drive, signed.token)) == (1, 2, ROBOT)


def test_a_token_ends_and_a_wrong_clock_gets_none(drive: DriveServer, key: str, transport: Request) -> None:
    assert isinstance(drive.clock, Clock)
    signed = robot(drive, key)
    signed.refresh(transport)
    drive.clock.advance(3599)
    answer = get(drive, FILES, token=signed.token)
    assert refusal(answer) == (401, "authError", "Invalid Credentials", "global")
    assert "invalid_token" in answer.headers["www-authenticate"]
    drive.clock.advance(3600)
    with pytest.raises(RefreshError, match="Invalid JWT"):
        signed.refresh(transport)


@pytest.mark.parametrize(("scope", "reads", "writes"), [(SCOPE, 200, 200), (f"{SCOPE}.readonly", 200, 403), ("x", 403, 403)])
def test_scopes(drive: DriveServer, key: str, transport: Request, scope: str, reads: int, writes: int) -> None:
    signed = robot(drive, key, scope, subject="ann@example.com")
    signed.refresh(transport)
    assert get(drive, FILES, token=signed.token).status == reads
    made = create(drive, {"name": "k"}, token=signed.token)
    assert made.status == writes
    assert writes == 200 or refusal(made).reason == "insufficientPermissions"


def test_a_person_agrees_once_and_the_token_is_refreshed(drive: DriveServer, transport: Request) -> None:
    # Given a person who agreed in the browser
    asked = {"redirect_uri": "http://localhost:1/", "state": "s", "scope": SCOPE, "login_hint": "ann@example.com"}
    sent = ask(drive, "GET", f"/o/oauth2/auth?{urlencode(asked)}")
    answer = parse_qs(urlsplit(sent.headers["location"]).query)
    assert (sent.status, answer["state"]) == (302, ["s"])
    form = {"grant_type": "authorization_code", "code": answer["code"][0]}
    issued = ask(drive, "POST", "/token", urlencode(form).encode()).json
    # When the token is refreshed
    personal = credentials.Credentials(
        None, refresh_token=issued["refresh_token"], token_uri=f"{drive.url}/token", client_id="c", client_secret="s"
    )
    personal.refresh(transport)
    # Then both tokens are hers; the code is good once, and other refresh tokens are none
    assert who(drive, issued["access_token"]) == who(drive, personal.token) == "ann@example.com"
    assert ask(drive, "POST", "/token", urlencode(form).encode()).json["error"] == "invalid_grant"
    revoked = credentials.Credentials(
        None, refresh_token="1//gone", token_uri=f"{drive.url}/token", client_id="c", client_secret="s"
    )
    with pytest.raises(RefreshError, match="expired or revoked"):
        revoked.refresh(transport)
    assert ask(drive, "POST", "/token", b"grant_type=password").status == 400
    assert ask(drive, "POST", "/token", b"grant_type=urn:ietf:params:oauth:grant-type:jwt-bearer&assertion=x").status == 400


def test_who_must_have_a_token(drive: DriveServer) -> None:
    drive.settings.require_token = "secret"
    assert get(drive, FILES, token="secret").status == 200
    assert get(drive, FILES, token=drive.add_user("ann@example.com")["token"]).status == 200
    assert refusal(get(drive, FILES)).status == 401
    assert refusal(ask(drive, "GET", FILES)).message == "Login Required."


def test_units_of_a_minute(drive: DriveServer) -> None:
    # Given a user with 250 units a minute, of 500 for all
    assert isinstance(drive.clock, Clock)
    drive.settings.user_units, drive.settings.project_units = 250, 500
    other, third = (drive.add_user(name)["token"] for name in ("b@example.com", "c@example.com"))
    # When they are spent: a list for 100, a create for 50, a get for 5, a download for 200
    file_id = create(drive, {"name": "k"}).json["id"]
    assert [get(drive, FILES).status for _ in range(2)] == [200, 200]
    answer = get(drive, f"{FILES}/{file_id}")
    # Then the next call is refused with the words for the user, and at last with those for the project
    assert refusal(answer)[:2] == (403, "userRateLimitExceeded")
    assert refusal(answer).message.startswith(
        "User Rate Limit Exceeded. Rate of requests for user exceed configured project quota."
    )
    assert answer.json["error"]["errors"][0]["domain"] == "usageLimits"
    assert get(drive, f"{FILES}/{file_id}", token=other, alt="media").status == 200
    assert refusal(send(drive, "GET", FILES, token=third)) == (403, "rateLimitExceeded", "Rate Limit Exceeded", "usageLimits")
    assert drive.stats()["units"] == 450
    # And a minute later there are new ones
    drive.clock.advance(60)
    assert get(drive, FILES).status == 200


def test_two_users_have_two_drives(drive: DriveServer) -> None:
    token = drive.add_user("ann@example.com", token="hers", refresh_token="1//hers")["token"]
    assert token == "hers"
    roots = [get(drive, f"{FILES}/root", token=each).json["id"] for each in ("t", token)]
    assert len(set(roots)) == 2
    made = create(drive, {"name": "k"}, token=token).json
    assert (made["parents"], made["ownedByMe"], made["owners"][0]["emailAddress"]) == ([roots[1]], True, "ann@example.com")
    issued = ask(drive, "POST", "/token", b"grant_type=refresh_token&refresh_token=1//hers")
    assert who(drive, json.loads(issued.body)["access_token"]) == "ann@example.com"
