"""The strict S3 stand-in, and readers and writers of a bucket there, for the tests of what S3's answers mean."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic import SecretStr

from common.config import Aws, Settings, StoreOptions
from common.location import Location
from common.storage import s3
from tests.fakes.s3 import ACCESS_KEY, REGION, SECRET_KEY

if TYPE_CHECKING:
    from common.storage.base import Reader, Writer
    from common.storage.shared import Shared
    from common.transport.http import Transport
    from tests.fakes.s3 import S3Server

SETTINGS = Settings(aws=Aws(access_key_id=ACCESS_KEY, secret_access_key=SecretStr(SECRET_KEY), region=REGION))


class Ends:
    """A server, and readers and writers of its bucket."""

    def __init__(self, server: S3Server, transport: Transport) -> None:
        self.server = server
        self.transport = transport

    def options(self, **options: Any) -> StoreOptions:
        return StoreOptions(**{"endpoint": self.server.url, "region": REGION, "compat": "aws", **options})

    def writer(self, bucket: str = "demo", shared: Shared | None = None, **options: Any) -> Writer:
        return s3.writer(Location.parse(f"s3://{bucket}"), self.options(**options), SETTINGS, self.transport, shared)

    def reader(self, bucket: str = "demo", shared: Shared | None = None, **options: Any) -> Reader:
        return s3.reader(Location.parse(f"s3://{bucket}"), self.options(**options), SETTINGS, self.transport, shared)
