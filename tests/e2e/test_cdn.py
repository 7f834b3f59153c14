"""The whole line with CloudFront as the way out of S3: two routes, two distributions, and edges that err all the time."""

from __future__ import annotations

import asyncio
import json
import random
import time
import urllib.parse
import urllib.request
from typing import TYPE_CHECKING, Any

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from tests.conftest import ACCESS_KEY, REGION, SECRET_KEY, make_gcs_bucket, make_s3_bucket
from tests.e2e.line import Line, gcs_objects
from tests.fakes.cdn import Answer, CdnServer, Mood, S3Origin

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]

MIB = 1024 * 1024
NOISE = random.Random(4).randbytes(3 * MIB)
MOODS = (Mood.GZIP, Mood.CLOSED, Mood.CUT, Mood.SHORT, Mood.PAGE, Mood.MISSING, Mood.WHOLE, Mood.PART, Mood.BUSY, Mood.SILENT)
_DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))


@pytest.fixture
def line(redis_address: str, fresh: str, tmp_path: Path) -> Line:
    return Line(fresh, redis_address, tmp_path)


async def test_nothing_but_the_objects_arrives(line: Line, s3_endpoint: str, gcs_endpoint: str) -> None:
    # Given two buckets, one behind a distribution that wants signatures, one behind a public one; stale copies at one edge, and
    # every second answer of the other spoilt in another way
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    sources = [make_s3_bucket(s3_endpoint, f"{line.name}-{name}") for name in ("a", "b")]
    destinations = [make_gcs_bucket(gcs_endpoint, f"{line.name}-{name}-copy") for name in ("a", "b")]
    origins = [S3Origin(s3_endpoint, bucket, ACCESS_KEY, SECRET_KEY) for bucket in sources]
    objects = {f"photos/{number} & #{number}+.jpg": NOISE[number : number + 5000] for number in range(24)}
    objects["photos/large.bin"] = NOISE
    for bucket in sources:
        for name, data in objects.items():
            put(s3_endpoint, bucket, name, data)
    with (
        CdnServer(origins[0], keys={"K1": key.public_key()}, caching=True) as signed,
        CdnServer(origins[1]) as public,
    ):
        for name in list(objects)[:8]:
            signed.keep("/" + urllib.parse.quote(name), Answer(200, {"etag": '"of yesterday"'}, b"bytes of yesterday"))
        public.moods = [mood for spoilt in MOODS for mood in (spoilt, None)]
        write_settings(line, sources, destinations, (signed.url, public.url), s3_endpoint, gcs_endpoint)
        pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()

        # When everything is copied
        with line.running("publish", CDN_KEY=pem), line.running("work", CDN_KEY=pem):
            await both_jobs_done(line)
        assert (signed.failures, signed.refused, public.failures) == ([], [], [])

    # Then both copies hold the objects, and nothing else
    for destination in destinations:
        assert sorted(gcs_objects(gcs_endpoint, destination)) == sorted(objects)
        for name, data in objects.items():
            assert get(gcs_endpoint, destination, name) == data

    # And the edges carried what they had right, and no secret is in a log
    totals = {each["route"]: each for each in logged(line, "cdn_totals")}
    assert totals["a"]["declined"].keys() == {"stale"}
    assert totals["a"]["accepted"] >= len(objects) + 2 - 8  # the large one in three parts
    assert len(totals["b"]["declined"]) >= 5
    assert {reason for each in logged(line, "cdn_declined") for reason in [each["reason"]]} >= {
        "stale",
        "compressed",
        "truncated",
    }
    assert line.logged("object_failed") == 0
    assert not any(word in line.logs() for word in ("Signature=", "Policy=", "PRIVATE KEY"))


def write_settings(
    line: Line, sources: list[str], destinations: list[str], edges: tuple[str, str], s3_endpoint: str, gcs_endpoint: str
) -> None:
    environ = {
        "AWS_ACCESS_KEY_ID": ACCESS_KEY,
        "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
        "AWS_REGION": REGION,
        "AWS_ENDPOINT_URL_S3": s3_endpoint,
        "STORAGE_EMULATOR_HOST": gcs_endpoint,
        "BRIGADE_PART_BYTES": str(MIB),
    }
    line.settings(f"s3://{sources[0]}", f"gs://{destinations[0]}", environ)
    signing = 'signing = "custom"\npolicy = "prefix"\nhash = "sha256"\nkey_id = "K1"\nprivate_key_env = "CDN_KEY"'
    tables = (f'domain = "{edges[0]}"\n{signing}', f'domain = "{edges[1]}"')
    routes = [
        f'[[route]]\nname = "{name}"\nsource = "s3://{source}"\ndestination = "gs://{destination}"\n[route.cdn]\n{table}\n'
        for name, source, destination, table in zip("ab", sources, destinations, tables, strict=True)
    ]
    (line.directory / "brigade.toml").write_text("".join(routes), encoding="utf-8")


async def both_jobs_done(line: Line) -> None:
    give_up = time.monotonic() + 90
    while {job.route for job in await line.jobs() if job.state == "done"} != {"a", "b"}:
        assert time.monotonic() < give_up, line.logs()
        await asyncio.sleep(0.2)


def logged(line: Line, action: str) -> list[dict[str, Any]]:
    every = (json.loads(text) for path in line.directory.glob("*.log") for text in path.read_text().splitlines())
    return [each for each in every if each["action"] == action]


def put(endpoint: str, bucket: str, name: str, data: bytes) -> None:
    url = f"{endpoint}/{bucket}/{urllib.parse.quote(name)}"
    headers = {"Content-Type": "image/jpeg"}
    _DIRECT.open(urllib.request.Request(url, data=data, method="PUT", headers=headers), timeout=30).close()


def get(endpoint: str, bucket: str, name: str) -> bytes:
    with _DIRECT.open(f"{endpoint}/storage/v1/b/{bucket}/o/{urllib.parse.quote(name, safe='')}?alt=media", timeout=30) as answer:
        data: bytes = answer.read()
        return data
