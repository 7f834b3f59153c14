"""Signing in to Drive: a browser that comes back to the loopback interface, and a file that nobody else can read."""

from __future__ import annotations

import json
import socket
import stat
import threading
import urllib.parse
import urllib.request
import webbrowser
from typing import TYPE_CHECKING

import pytest

from common.transport import google_token
from tests.fakes.google.token_endpoint import TokenEndpoint

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))


@pytest.fixture
def endpoint() -> Iterator[TokenEndpoint]:
    with TokenEndpoint() as running:
        yield running
        assert running.failures == []


@pytest.fixture
def browser(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, str]]:
    """A person who comes back with what is in here. What was asked of the person is added."""
    comes_back = {"code": "the-code"}
    threads = []

    def opened(url: str, *_: object) -> bool:
        asked = dict(urllib.parse.parse_qsl(urllib.parse.urlsplit(url).query))
        answer = urllib.parse.urlencode({"state": asked["state"], **comes_back})
        comes_back.update({f"asked {name}": value for name, value in asked.items()})
        threads.append(threading.Thread(target=lambda: _direct.open(f"{asked['redirect_uri']}?{answer}", timeout=10).close()))
        threads[-1].start()
        return True

    monkeypatch.setattr(webbrowser, "open", opened)
    monkeypatch.setenv("OAUTHLIB_INSECURE_TRANSPORT", "1")  # the token endpoint of the test is on this machine
    yield comes_back
    for thread in threads:
        thread.join()


def client(tmp_path: Path, endpoint: TokenEndpoint | None = None) -> str:
    path = tmp_path / "credentials.json"
    url = endpoint.token_url if endpoint else "https://oauth2.googleapis.com/token"
    asked = "https://accounts.example/auth"
    installed = {"client_id": "id", "client_secret": "client-secret", "auth_uri": asked, "token_uri": url}
    path.write_text(json.dumps({"installed": installed}))
    return str(path)


def given(scope: str) -> dict[str, object]:
    return {"access_token": "access", "refresh_token": "refresh", "expires_in": 3600, "token_type": "Bearer", "scope": scope}


@pytest.fixture
def sign_in(brigade, tmp_path, monkeypatch):
    def run(*arguments: str):
        return brigade(
            "auth", "gdrive", "--token", str(tmp_path / "token.json"), *arguments, OAUTHLIB_INSECURE_TRANSPORT="1", NO_PROXY="*"
        )

    return run


@pytest.mark.parametrize(
    ("options", "scope"), [((), google_token.DRIVE_SCOPE), (("--read-only",), google_token.DRIVE_READ_SCOPE)], ids=["all", "read"]
)
def test_a_consent_is_kept_for_its_owner_alone(sign_in, endpoint, browser, tmp_path, options, scope):
    # Given a person who allows what is asked
    endpoint.reply = given(scope)

    # When the person signs in
    answer = sign_in("--credentials", client(tmp_path, endpoint), *options)

    # Then the consent is in a file that is used from then on, and nobody else can read it
    assert answer.code == 0, answer.err
    assert f"GDRIVE_TOKEN={tmp_path / 'token.json'}" in answer.out
    assert stat.S_IMODE((tmp_path / "token.json").stat().st_mode) == 0o600
    kept = google_token.read(tmp_path / "token.json", write=not options)
    assert (kept.refresh_token, kept.client_id, kept.client_secret) == ("refresh", "id", "client-secret")
    assert kept.scopes == (scope,)

    # And it was asked for as Google wants it: offline, for this scope, back to a loopback address, with a proof of the asker
    assert (browser["asked scope"], browser["asked access_type"]) == (scope, "offline")
    assert browser["asked redirect_uri"].startswith("http://127.0.0.1:")
    assert browser["asked code_challenge_method"] == "S256"
    assert endpoint.asked[-1]["code"] == "the-code"
    assert endpoint.asked[-1]["code_verifier"]

    # And no secret is on the terminal
    assert not any(secret in answer.out + answer.err for secret in ("refresh", "client-secret", '"access"'))


def test_without_a_browser_the_address_is_shown(sign_in, endpoint, browser, tmp_path, monkeypatch):
    # Given a machine without a browser, and a person who opens the address somewhere else
    endpoint.reply = given(google_token.DRIVE_SCOPE)
    opened, shown = webbrowser.open, []
    monkeypatch.setattr(webbrowser, "open", lambda *_: pytest.fail("a browser was opened"))

    def read(text: str, **_: object) -> None:
        shown.append(text)
        if "https://accounts.example/auth?" in text:
            opened(next(word for word in text.split() if word.startswith("https://")))

    monkeypatch.setattr("brigade.auth.click.echo", read)

    # When the person signs in
    answer = sign_in("--credentials", client(tmp_path, endpoint), "--no-browser")

    # Then that works just as well
    assert answer.code == 0, answer.err
    assert (tmp_path / "token.json").exists()


def test_a_refusal_leaves_no_file(sign_in, endpoint, browser, tmp_path):
    # Given a person who does not allow it
    del browser["code"]
    browser["error"] = "access_denied"

    # When the person comes back
    answer = sign_in("--credentials", client(tmp_path, endpoint))

    # Then the command says so, and an earlier file would have stayed
    assert (answer.code, (tmp_path / "token.json").exists()) == (1, False)
    assert "access_denied" in answer.err
    assert "Traceback" not in answer.err


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"scope": "https://www.googleapis.com/auth/drive.file"}, "boxes ticked"),
        ({"refresh_token": None}, "no refresh token"),
    ],
    ids=["less than asked", "not for long"],
)
def test_half_a_consent_is_none(sign_in, endpoint, browser, tmp_path, change, words):
    # Given an answer that is less than what is needed
    endpoint.reply = {**given(google_token.DRIVE_SCOPE), **change}

    # When the person comes back, then nothing is kept
    answer = sign_in("--credentials", client(tmp_path, endpoint))
    assert (answer.code, (tmp_path / "token.json").exists()) == (1, False)
    assert words in answer.err


def test_an_answer_to_another_question_is_refused(sign_in, endpoint, browser, tmp_path):
    # Given somebody else who knocks at the port, with a code of his own
    browser["state"] = "somebody-else's"

    # When that comes before the person does, then the sign-in ends without a file
    answer = sign_in("--credentials", client(tmp_path, endpoint))
    assert (answer.code, (tmp_path / "token.json").exists()) == (1, False)
    assert "mismatching_state" in answer.err


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "cannot be read"),
        ("not json", "is not JSON"),
        ('{"web": {}}', "Web application"),
        ('{"type": "service_account"}', "GCP_CREDENTIALS"),
        ("[]", "is not an OAuth client"),
        ('{"installed": {"client_id": "id"}}', "is not an OAuth client"),
    ],
)
def test_another_file_than_a_client_is_told_with_what_to_do(sign_in, tmp_path, content, words):
    # Given another file than the one that Google's console gives for a desktop program
    path = tmp_path / "credentials.json"
    if content is not None:
        path.write_text(content)

    # When it is named, then nothing is started
    answer = sign_in("--credentials", str(path))
    assert answer.code == 2
    assert words in answer.err


def test_a_port_in_use_is_named(sign_in, tmp_path):
    # Given a port that somebody listens on
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]

        # When the browser is to come back there, then the command says which
        answer = sign_in("--credentials", client(tmp_path), "--port", str(port), "--no-browser")
    assert answer.code == 2
    assert f"--port: 127.0.0.1:{port}" in answer.err


def test_a_directory_that_is_not_there_is_named_before_anybody_signs_in(brigade, tmp_path):
    answer = brigade("auth", "gdrive", "--credentials", client(tmp_path), "--token", str(tmp_path / "none" / "token.json"))
    assert answer.code == 2
    assert "--token" in answer.err
