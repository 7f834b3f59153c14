"""What a service asks for is given: a longer wait than a slot is worth goes back to the queue at once, untried."""

from __future__ import annotations

import pytest

from common.errors import RateLimited, Unavailable
from common.storage.retry import Policy, Retrier, RetryingUpload
from common.storage.s3_client import S3Client
from common.storage.s3_upload import S3Upload
from common.transport.http import Response


async def test_a_wait_that_is_longer_than_the_longest_is_left_to_the_queue() -> None:
    # Given a service that asks for five minutes, and a policy that waits one minute at most
    calls: list[str] = []
    slept: list[float] = []

    async def attempt() -> None:
        calls.append("put")
        raise RateLimited("slow down", retry_after=300)

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    # When it is called
    with pytest.raises(RateLimited) as caught:
        await Retrier(Policy(longest=60), sleep, lambda: 0.5).call("put", "key", attempt)
    # Then it is not asked again before the five minutes are over: the delivery takes the wait with it
    assert calls == ["put"]
    assert slept == []
    assert caught.value.retry_after == 300


async def test_an_upload_whose_abort_got_no_answer_is_aborted_again(monkeypatch: pytest.MonkeyPatch) -> None:
    # Given an S3 upload, and a service that does not answer the first abort
    sent: list[str] = []

    async def send(_: S3Client, method: str, *_args: object, **_named: object) -> Response:
        sent.append(method)
        if len(sent) == 1:
            raise Unavailable("no answer")
        return Response(204, {}, b"")

    async def sleep(_: float) -> None:
        return

    monkeypatch.setattr(S3Client, "send", send)
    client = S3Client.__new__(S3Client)
    upload = S3Upload.__new__(S3Upload)
    upload.token, upload._client, upload._key, upload._over = "id", client, "key", False
    # When it is aborted
    await RetryingUpload(upload, "key", Retrier(Policy(), sleep, lambda: 0.5)).abort()
    # Then the abort has been sent again: parts that nobody aborts are paid for for ever
    assert sent == ["DELETE", "DELETE"]
