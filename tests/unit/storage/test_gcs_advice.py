"""What GCS refuses for a reason of its own is answered with what helps against that reason, and never with another's advice."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from common.checksums import crc32c
from common.config import Settings, StoreOptions
from common.errors import Forbidden
from common.location import Location
from common.objects import Headers
from common.storage import gcs
from common.storage.base import Absent, Body
from common.transport.http import Response, Transport

if TYPE_CHECKING:
    from common.transport.http import Request

_ROLE = "check this identity's role"


class Refusing(Transport):
    """The way to a service that refuses everything, with an error in Google's words."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__()
        self._body = json.dumps({"error": {"code": 403, "message": message, "errors": [{"reason": reason}]}}).encode()

    async def send(self, request: Request) -> Response:
        return Response(403, {}, self._body)


async def refusal(reason: str, message: str, *, anonymous: bool = False) -> str:
    """What a write is told."""
    transport = Refusing(reason, message)
    options = StoreOptions(endpoint="https://gcs.example", anonymous=anonymous)
    writer = gcs.writer(Location.parse("gs://demo"), options, Settings(), transport)
    try:
        with pytest.raises(Forbidden) as caught:
            await writer.put("k", Body(b"x", crc32c(b"x"), Headers()), Absent())
    finally:
        await transport.close()
    return str(caught.value)


@pytest.mark.parametrize(
    ("reason", "message", "advice"),
    [
        ("retentionPolicyNotMet", "Object is subject to the bucket's retention policy", "retention policy keeps"),
        ("objectUnderActiveHold", "Object is under active Temporary hold", "under a hold: release it"),
        ("accountDisabled", "The account has been disabled", "see its billing"),
        ("forbidden", "The billing account for the owning project is disabled in state absent", "see its billing account"),
        ("required", "Bucket is a requester pays bucket but no user project provided.", "user_project=PROJECT"),
        ("forbidden", "Request is prohibited by organization's policy", "organization policy forbids it"),
    ],
)
async def test_a_reason_has_its_advice_and_not_that_of_roles(reason: str, message: str, advice: str) -> None:
    said = await refusal(reason, message)
    assert (reason in said, advice in said, _ROLE in said) == (True, True, False)


async def test_a_missing_role_and_a_reason_that_nobody_knows() -> None:
    # Given a refusal that a role may cure, then the role is named; of one that is new to us the service's words are all there is
    assert _ROLE in await refusal("forbidden", "does not have storage.objects.create access")
    assert (await refusal("somethingNew", "Not today.")).endswith("403 somethingNew: Not today")
    # And who shows no identity is told so
    assert "anonymous=false" in await refusal("forbidden", "Anonymous caller does not have access", anonymous=True)
