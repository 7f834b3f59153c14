"""A stand-in for a CloudFront distribution in front of an S3 bucket: checks signed URLs for real, keeps what it fetched, and can
answer in every way that must not become an object.

    async with CdnServer(DictOrigin()) as edge: ...                 # objects of the test's own, anybody may fetch them
    async with CdnServer(S3Origin(endpoint, bucket, access_key, secret_key), keys={"K1": public_key}) as edge: ...
"""

from __future__ import annotations

from tests.fakes.cdn.origin import Answer, DictOrigin, S3Origin
from tests.fakes.cdn.server import CdnServer, Mood

__all__ = ["Answer", "CdnServer", "DictOrigin", "Mood", "S3Origin"]
