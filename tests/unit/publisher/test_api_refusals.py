"""What the HTTP API refuses, and how: always in JSON, saying what to do instead, and never saying too much."""

from __future__ import annotations

import base64
import json

import pytest

from common.config import LogSettings
from common.telemetry import configure
from tests.unit.publisher.served import PASSWORD, USER, Api, name

BAD_REQUESTS = [
    ("GET", "/cache/type", "missing"),
    ("GET", "/cache/type?value=everything", "unknown type 'everything'"),
    ("DELETE", "/cache/type?value=", "unknown type"),
    ("GET", "/cache/name", "TYPE:KEY"),
    ("GET", "/cache/name?value=published", "TYPE:KEY"),
    ("GET", "/cache/name?value=other:k", "unknown type 'other'"),
    ("DELETE", "/cache/name?value=k", "TYPE:KEY"),
    ("GET", "/cache?limit=0", "limit"),
    ("GET", "/cache?limit=-1", "limit"),
    ("GET", "/cache?limit=1.5", "limit"),
    ("GET", "/cache?limit=", "limit"),
    ("GET", "/cache?limit=%D9%A1", "limit"),
    ("GET", "/cache?limit=99999999999999999999999", "limit"),
    ("GET", "/cache?cursor=nonsense", "cursor"),
    ("GET", "/cache?limit=2&cursor=nonsense", "cursor"),
    ("GET", "/cache?valeu=published", "unknown parameter 'valeu'"),
    ("DELETE", "/cache?limit=1", "unknown parameter 'limit'"),
    ("GET", "/cache/name?value=published:k&value=consumed:k", "twice"),
    ("GET", "/cache/name?value=published:k&limit=1", "unknown parameter"),
    ("GET", "/cache?" + "&".join(f"p{number}=1" for number in range(50)), "too many"),
    ("GET", "/jobs?limit=x", "limit"),
    ("GET", "/jobs/x?limit=1", "unknown parameter"),
    ("POST", "/jobs?route=one", "unknown parameter"),
]


@pytest.mark.parametrize(("method", "path", "text"), BAD_REQUESTS)
async def test_bad_requests_are_400_and_say_why(api: Api, method: str, path: str, text: str) -> None:
    # When something is asked wrongly
    answer = await api.ask(method, path)
    # Then the answer says what is wrong, in JSON
    assert (answer.status, list(answer.json)) == (400, ["error"])
    assert text in answer.json["error"]


@pytest.mark.parametrize(
    "body", [b"{", b"[]", b'"one"', b'{"rout": "one"}', b'{"route": 1}', b'{"reconcile": 1}', b"\xff", b"[" * 9000]
)
async def test_a_bad_body_is_400(api: Api, body: bytes) -> None:
    # When a scan is asked for in a way that nobody understands
    answer = await api.ask("POST", "/jobs", body=body)
    # Then that is said
    assert (answer.status, list(answer.json)) == (400, ["error"])


@pytest.mark.parametrize(
    ("method", "path", "allow"),
    [
        ("POST", "/cache", {"GET", "HEAD", "DELETE"}),
        ("PUT", "/cache/type?value=published", {"GET", "HEAD", "DELETE"}),
        ("PATCH", "/cache/name?value=published:k", {"GET", "HEAD", "DELETE"}),
        ("OPTIONS", "/cache", {"GET", "HEAD", "DELETE"}),
        ("DELETE", "/jobs", {"GET", "HEAD", "POST"}),
        ("POST", "/jobs/x", {"GET", "HEAD"}),
        ("POST", "/healthz", {"GET", "HEAD"}),
    ],
)
async def test_a_wrong_method_is_405_and_the_right_ones_are_named(api: Api, method: str, path: str, allow: set[str]) -> None:
    # When a path is asked with a method that it does not know
    answer = await api.ask(method, path)
    # Then that is said in JSON, with the methods that it knows
    assert (answer.status, list(answer.json)) == (405, ["error"])
    assert set(answer.headers["Allow"].split(", ")) == allow


@pytest.mark.parametrize("path", ["/", "/nothing", "/cache/", "/cache//name", "/cache/names", "/static/x", "/jobs/", "/jobs/a/b"])
async def test_an_unknown_path_is_404(api: Api, path: str) -> None:
    # When a path is asked for that does not exist
    answer = await api.ask("GET", path)
    # Then that is said in JSON, without a redirect
    assert (answer.status, list(answer.json)) == (404, ["error"])


@pytest.mark.parametrize("auth", [None, "", "admin:", f":{PASSWORD}", "admin:wrong", f"root:{PASSWORD}"])
@pytest.mark.parametrize(
    "path", ["/cache", "/cache/type?value=x", "/cache/name?value=published:k", "/jobs", "/jobs/x", "/nothing"]
)
async def test_without_the_right_credentials_nothing_is_said(api: Api, path: str, auth: str | None) -> None:
    # Given a record
    await api.fill("k")
    for method in ("GET", "DELETE", "POST"):
        # When someone asks without the right credentials
        answer = await api.ask(method, path, auth=auth)
        # Then nothing happens, not even for paths that do not exist
        assert (answer.status, list(answer.json)) == (401, ["error"])
        assert answer.headers["WWW-Authenticate"].startswith('Basic realm="')
    assert len((await api.ask("GET", "/cache")).json) == 2


async def test_every_answer_has_its_headers_and_no_advertisement(api: Api) -> None:
    # When good and bad things are asked for
    for path, auth in [
        ("/cache", f"{USER}:{PASSWORD}"),
        ("/cache", None),
        ("/nothing", f"{USER}:{PASSWORD}"),
        ("/healthz", None),
    ]:
        answer = await api.ask("GET", path, auth=auth)
        # Then nothing is cached or guessed at, and the server keeps its name to itself
        assert answer.headers["Cache-Control"] == "no-store"
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.headers["Server"] is None


async def test_head_is_get_without_a_body(api: Api) -> None:
    # Given a record
    await api.fill("k")
    # When only the head is asked for
    answer = await api.ask("HEAD", "/cache")
    # Then there is one, and the connection is in order
    assert (answer.status, answer.body) == (200, b"")
    for _ in range(10):  # more than there are streams: none is held for a body that nobody reads
        assert (await api.ask("HEAD", "/cache")).status == 200


async def test_a_large_body_is_refused(api: Api) -> None:
    # When someone sends more than any request here may have
    answer = await api.ask("POST", "/jobs", body=b" " * 20_000)
    # Then it is refused
    assert (answer.status, list(answer.json)) == (413, ["error"])


async def test_a_fault_of_ours_is_500_without_details(api: Api, capsys: pytest.CaptureFixture[str]) -> None:
    # Given a fault
    configure(LogSettings(format="json"))

    async def broken(*_: object) -> None:
        raise ZeroDivisionError("internal secret")

    api.cache.get = broken  # type: ignore[assignment,method-assign]
    # When it is met
    answer = await api.ask("GET", name("k"))
    # Then the caller learns that it happened, and the log learns what
    assert (answer.status, list(answer.json)) == (500, ["error"])
    assert "secret" not in answer.body.decode()
    assert "internal secret" in capsys.readouterr().err


async def test_requests_are_logged_without_credentials_and_keys(api: Api, capsys: pytest.CaptureFixture[str]) -> None:
    # When requests are answered
    configure(LogSettings(format="json"))
    await api.ask("GET", name("private-key"))
    await api.ask("GET", "/cache", auth=f"{USER}:wrong-password")
    # Then each has a line
    text = capsys.readouterr().err
    lines = [json.loads(line) for line in text.splitlines() if '"http_request"' in line]
    assert [(line["method"], line["path"], line["status"]) for line in lines] == [
        ("GET", "/cache/name", 404),
        ("GET", "/cache", 401),
    ]
    # And none holds what was sent to prove who asks, or the key that was asked for
    for secret in (PASSWORD, "wrong-password", base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode(), "private-key"):
        assert secret not in text
