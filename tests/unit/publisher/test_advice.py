"""What a person is told when a source cannot be listed: what, where and what to check, each once."""

from __future__ import annotations

import pytest

from common.config import Route
from common.errors import LocationMissing, ObjectError, Unavailable
from common.location import Location
from publisher.advice import explain

ROUTE = Route(name="photos", source=Location.parse("s3://photos/2024"), destination=Location.parse("gs://copy"))


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (
            LocationMissing("cannot list 's3://photos': 404 NoSuchBucket"),
            "route photos: cannot list 's3://photos': 404 NoSuchBucket. Check that the bucket",
        ),
        (
            Unavailable("GET https://photos.example/: cannot connect."),
            "route photos: cannot list s3://photos/2024/: GET https://photos.example/: cannot connect. The service",
        ),
    ],
)
def test_the_source_is_named_once(error: ObjectError, told: str) -> None:
    assert explain(ROUTE, error).startswith(told)
