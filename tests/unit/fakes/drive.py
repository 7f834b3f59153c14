"""How the tests of the Drive stand-in talk to it: by plain requests, and through Google's own client."""

from __future__ import annotations

import json
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import urlencode

import googleapiclient
from google.oauth2.credentials import Credentials
from googleapiclient.discovery import build_from_document

from tests.unit.fakes.wire import ask

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.fakes.drive import DriveServer
    from tests.unit.fakes.wire import Answer

FILES = "/drive/v3/files"
UPLOAD = "/upload/drive/v3/files"
FOLDER = "application/vnd.google-apps.folder"
SHORTCUT = "application/vnd.google-apps.shortcut"
ALL_DRIVES = {"supportsAllDrives": "true", "includeItemsFromAllDrives": "true"}


class Refusal(NamedTuple):
    status: int
    reason: str
    message: str
    domain: str


def refusal(answer: Answer) -> Refusal:
    """The error in an answer, its shape checked on the way."""
    error = answer.json["error"]
    assert error.keys() == {"code", "message", "errors"}
    (item,) = error["errors"]
    assert (error["code"], error["message"]) == (answer.status, item["message"])
    return Refusal(answer.status, item["reason"], item["message"], item["domain"])


def get(server: DriveServer, path: str, *, token: str = "t", **query: str) -> Answer:
    return ask(server, "GET", f"{path}?{urlencode(query)}", Authorization=f"Bearer {token}")


def send(server: DriveServer, method: str, path: str, body: Any = None, *, token: str = "t", **query: str) -> Answer:
    return ask(server, method, f"{path}?{urlencode(query)}", body, Authorization=f"Bearer {token}")


def create(server: DriveServer, body: dict[str, Any], *, token: str = "t", **query: str) -> Answer:
    return send(server, "POST", FILES, body, token=token, **{"fields": "*", "supportsAllDrives": "true", **query})


def search(server: DriveServer, q: str, *, token: str = "t", **query: str) -> list[str]:
    """The names that a search finds, all pages."""
    names: list[str] = []
    page: dict[str, Any] = {"nextPageToken": ""}
    while "nextPageToken" in page:
        answer = get(server, FILES, token=token, **{"q": q, "pageToken": page["nextPageToken"], **ALL_DRIVES, **query})
        page = answer.json
        assert answer.status == 200, page
        names += [file["name"] for file in page["files"]]
    return names


@contextmanager
def official_client(url: str) -> Iterator[Any]:
    """Google's client over its own static description of the API, with no address in it but ours: uploads would go to https
    with `client_options={"api_endpoint": ...}`."""
    described = Path(googleapiclient.__file__).parent / "discovery_cache/documents/drive.v3.json"
    document = json.loads(described.read_bytes())
    document |= {"rootUrl": f"{url}/", "baseUrl": f"{url}/drive/v3/"}
    document.pop("mtlsRootUrl", None)
    with build_from_document(document, credentials=Credentials("t")) as service:
        yield service
