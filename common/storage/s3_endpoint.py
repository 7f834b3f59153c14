"""Where one S3 bucket is spoken to, and as whom: requests are signed here, and sent again where the service wants other
credentials or says that the bucket is in another region.

A configured endpoint is used as it stands. Without one the machine's own settings say where S3 is (`aws_machine`): the partition,
the profile's services, path style for names that cannot be part of a host name.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import urlsplit

from common.telemetry import get_logger
from common.transport.aws import Credentials, NoCredentials, Signer, StaticCredentials, encode_path, encode_query
from common.transport.aws_machine import DEFAULT_REGION, MACHINE, AmbientCredentials, Place, is_aws
from common.transport.http import Request

if TYPE_CHECKING:
    from collections.abc import Sequence

    from common.config import Settings, StoreOptions
    from common.transport.aws import CredentialSource
    from common.transport.http import Response, Transport

log = get_logger(__name__)

_ELSEWHERE = (301, 307, 400)
"""https://docs.aws.amazon.com/AmazonS3/latest/userguide/Redirects.html; so does 400 AuthorizationHeaderMalformed."""
_UNWELCOME = (400, 401, 403)
_CODE = re.compile(rb"<Code>([A-Za-z0-9.]{1,80})</Code>")
_MALFORMED = b"<Code>AuthorizationHeaderMalformed</Code>"
_REGION = re.compile(rb"<Region>([a-z0-9-]{1,40})</Region>")
_OF_CREDENTIALS = frozenset(
    code.encode()
    for code in (
        "ExpiredToken",
        "InvalidToken",
        "InvalidAccessKeyId",
        "InvalidClientTokenId",
        "SignatureDoesNotMatch",
        "TokenRefreshRequired",
    )
)
"""Refusals that other credentials may cure. AccessDenied is not among them: it is an answer to who we are."""


class _Question(NamedTuple):
    method: str
    key: str
    query: str
    """Encoded."""
    headers: Sequence[tuple[str, str]]
    body: bytes
    expect: int


class S3Endpoint:
    """Of one bucket. `send` never raises for a status. Raises SettingsError when made on a machine whose AWS profile cannot be
    used. Belongs to one event loop.
    """

    def __init__(self, bucket: str, options: StoreOptions, settings: Settings, transport: Transport) -> None:
        self._bucket = bucket
        self._addressing = options.addressing
        self._transport = transport
        endpoint = options.endpoint or settings.aws.endpoint
        region = options.region or settings.aws.region
        self._place = MACHINE.place(bucket, region, options.addressing) if endpoint is None else self._at(str(endpoint), region)
        self._signer = Signer(self._place.region)
        self._credentials = _credentials(options, settings)

    @property
    def region(self) -> str:
        return self._place.region

    @property
    def at_aws(self) -> bool:
        return self._place.at_aws

    @property
    def service(self) -> str:
        """Of all buckets there. For people, and to remember what the service does."""
        return self._place.origin.replace(f"//{self._bucket}.", "//", 1)

    @property
    def url(self) -> str:
        """Of the bucket. For people."""
        return f"{self._place.origin}{self._place.root}"

    async def send(
        self,
        method: str,
        key: str,
        *,
        query: Sequence[tuple[str, str]] = (),
        headers: Sequence[tuple[str, str]] = (),
        body: bytes = b"",
        expect: int = 0,
    ) -> Response:
        """The answer to a signed request on this key of the bucket; on the bucket itself for "".

        Raises Unauthenticated when there are no credentials.
        """
        credentials = await self._credentials.current()
        question = _Question(method, key, encode_query(query), headers, body, expect)
        response = await self._ask(credentials, question)
        if response.status in _ELSEWHERE and self._moved(response):
            response = await self._ask(credentials, question)
        if response.status in _UNWELCOME and credentials is not None and _refused(response):
            renewed = await self._credentials.renewed(credentials)
            if renewed is not None:
                response = await self._ask(renewed, question)
        return response

    async def _ask(self, credentials: Credentials | None, asked: _Question) -> Response:
        place, headers = self._place, asked.headers
        path = f"{place.root}/{encode_path(asked.key)}"
        if credentials is not None:
            signer = self._signer
            headers = signer.headers(credentials, asked.method, place.host, path, query=asked.query, headers=headers)
        url = f"{place.origin}{path}?{asked.query}" if asked.query else f"{place.origin}{path}"
        return await self._transport.send(Request(asked.method, url, headers, asked.body, asked.expect))

    def _moved(self, response: Response) -> bool:
        """Whether the service says that the bucket is in another region, where it is asked from now on."""
        told = _REGION.search(response.body)
        region = response.headers.get("x-amz-bucket-region") or (told[1].decode() if told else "")
        if not region or region == self._place.region:
            return False
        if not self._place.at_aws and _MALFORMED not in response.body:
            return False  # one address serves one region there; only how requests to it are signed can be mended
        log.warning(
            "the bucket is in another region than the one that is set; it is asked there from now on",
            action="bucket_elsewhere",
            bucket=self._bucket,
            region=region,
            asked=self._place.region,
        )
        old = self._place
        self._place = (
            MACHINE.place(self._bucket, region, self._addressing)
            if old.at_aws
            else Place(old.origin, old.root, region, at_aws=False)
        )
        self._signer = Signer(region)
        return True

    def _at(self, endpoint: str, region: str | None) -> Place:
        parts = urlsplit(endpoint.rstrip("/"))
        host = parts.netloc.rpartition("@")[2]
        # Servers other than AWS rarely answer to bucket host names.
        virtual = self._addressing == "virtual"
        origin = f"{parts.scheme}://{f'{self._bucket}.{host}' if virtual else host}"
        return Place(
            origin, parts.path if virtual else f"{parts.path}/{self._bucket}", region or DEFAULT_REGION, is_aws(parts.hostname)
        )


def _credentials(options: StoreOptions, settings: Settings) -> CredentialSource:
    aws = settings.aws
    if options.anonymous:
        return NoCredentials()
    if aws.access_key_id and aws.secret_access_key:
        token = aws.session_token.get_secret_value() if aws.session_token else None
        return StaticCredentials(Credentials(aws.access_key_id, aws.secret_access_key.get_secret_value(), token))
    return AmbientCredentials()


def _refused(response: Response) -> bool:
    """Whether the answer is about the credentials themselves. A HEAD has no body that could say so."""
    code = _CODE.search(response.body)
    return code[1] in _OF_CREDENTIALS if code else not response.body
