"""Which changes of a route's settings make it lead somewhere else, and which leave it where it is."""

from __future__ import annotations

from typing import Any

import pytest

from common.config import Aws, Google, Route, Settings
from common.ends import ends_of

HERE: dict[str, Any] = {"name": "r", "source": "s3://photos/2024", "destination": "gs://copy"}
AT_HOME = Settings(aws=Aws(access_key_id="a", region="eu-central-1"))


def digest(settings: Settings = AT_HOME, **changed: Any) -> str:
    return ends_of(Route.model_validate(HERE | changed), settings).digest


@pytest.mark.parametrize(
    "changed",
    [
        {"source": "s3://photos/2024/"},
        {"source_options": {"region": "us-west-2", "requester_pays": True, "addressing": "path"}},
        {"destination_options": {"storage_class": "NEARLINE", "parallel_uploads": True, "user_project": "somebody"}},
        {"metadata": "strict", "on_conflict": "keep"},
        {"name": "another"},
    ],
)
def test_what_leaves_it_where_it_is(changed: dict[str, Any]) -> None:
    assert digest(**changed) == digest()


@pytest.mark.parametrize(
    "changed",
    [
        {"source": "s3://photos/2025"},
        {"source": "s3://photographs/2024"},
        {"source": "gs://photos/2024"},
        {"destination": "gs://copy/2024"},
        {"source_options": {"endpoint": "https://minio.example"}},
        {"destination_options": {"endpoint": "http://127.0.0.1:9000"}},
        {"source": "gs://copy", "destination": "s3://photos/2024"},
    ],
)
def test_what_makes_it_lead_somewhere_else(changed: dict[str, Any]) -> None:
    assert digest(**changed) != digest()


def test_an_endpoint_is_the_same_wherever_it_is_written() -> None:
    # Given endpoints for all, and the same ones for the route
    everywhere = Settings(
        aws=Aws(endpoint="https://minio.example", region="us-east-1"), google=Google(storage_endpoint="http://127.0.0.1:9000")
    )
    options: dict[str, Any] = {
        "source_options": {"endpoint": "https://minio.example/"},
        "destination_options": {"endpoint": "127.0.0.1:9000"},
    }
    # Then it is one place
    assert digest(everywhere) == digest(AT_HOME, **options)
    # And a route's own goes before
    assert digest(everywhere, source_options={"endpoint": "https://other.example"}) != digest(everywhere)


def test_it_is_said_in_words() -> None:
    found = ends_of(Route.model_validate(HERE | {"source_options": {"endpoint": "https://minio.example"}}), AT_HOME)
    assert str(found) == "s3://photos/2024/ at https://minio.example -> gs://copy"
