"""Requests as AWS's own library signs them, sent below the level of any client; and what an answer in XML says."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import boto3
from botocore.auth import S3SigV4Auth, S3SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.config import Config
from botocore.credentials import Credentials

from tests.fakes.s3 import ACCESS_KEY, REGION, SECRET_KEY
from tests.unit.fakes.wire import Answer, ask

if TYPE_CHECKING:
    from typing import Any

    from botocore.exceptions import ClientError

    from tests.fakes.s3 import S3Server

OWNER = Credentials(ACCESS_KEY, SECRET_KEY)


class _Signer(S3SigV4Auth):
    """Signs whatever hash of the body it is told to."""

    def __init__(self, credentials: Credentials, region: str, payload: str | None) -> None:
        super().__init__(credentials, "s3", region)
        self._payload = payload

    def payload(self, request: AWSRequest) -> str:
        return self._payload or super().payload(request)


def client(server: S3Server, **config: Any) -> Any:
    """boto3 as everybody has it, but for its retries."""
    return boto3.client(
        "s3",
        endpoint_url=server.url,
        aws_access_key_id=ACCESS_KEY,
        aws_secret_access_key=SECRET_KEY,
        region_name=REGION,
        config=Config(**{"retries": {"total_max_attempts": 1}, "s3": {"addressing_style": "path"}, **config}),
    )


def signed(
    server: S3Server,
    method: str,
    path: str,
    body: bytes = b"",
    /,
    *,
    credentials: Any = OWNER,
    region: Any = REGION,
    **headers: str,
) -> Answer:
    """Header names are written with underscores. Headers that begin with `late_` are sent and not signed."""
    late = {name.removeprefix("late_"): headers.pop(name) for name in list(headers) if name.startswith("late_")}
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    request = AWSRequest(method, server.url + path, data=body, headers=named)
    _Signer(credentials, region, headers.get("x_amz_content_sha256")).add_auth(request)
    sent = {name.lower(): value for name, value in request.headers.items()}
    return ask(server, method, path, body, **sent, **late)


def presigned(server: S3Server, path: str, *, credentials: Credentials = OWNER, seconds: int = 60) -> str:
    """The path and query of a URL that gets an object and needs no header."""
    request = AWSRequest("GET", server.url + path)
    S3SigV4QueryAuth(credentials, "s3", REGION, expires=seconds).add_auth(request)
    parts = urlsplit(str(request.url))
    return f"{parts.path}?{parts.query}"


def code(answer: Answer) -> str:
    """The error's code, its shape checked on the way (API/ErrorResponses.html)."""
    text = answer.body.decode()
    assert answer.headers["content-type"] == "application/xml"
    assert f"<RequestId>{answer.headers['x-amz-request-id']}</RequestId>" in text
    return said(answer, "Code")


def said(answer: Answer, tag: str) -> str:
    found = re.search(f"<{tag}>([^<]*)</{tag}>", answer.body.decode())
    assert found, f"no {tag} in {answer.body!r}"
    return found[1]


def refused(error: ClientError) -> tuple[int, str]:
    """Status and code of an error, as boto3 has them."""
    return error.response["ResponseMetadata"]["HTTPStatusCode"], error.response["Error"]["Code"]
