"""A user of Redis with the rights that docs/settings.md lists and no others: everything works, and nothing more was asked for."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from redis.asyncio import Redis

from tests.conftest import make_gcs_bucket
from tests.e2e.line import Line, gcs_objects, gcs_put
from tests.e2e.test_outages import plan_faults
from tests.e2e.test_workers import until
from tests.redis_releases import redis_own, redis_release

if TYPE_CHECKING:
    from tests.servers import Server

__all__ = ["redis_own", "redis_release"]

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]

DOCS = Path(__file__).parents[2] / "docs" / "settings.md"
PASSWORD = "for-this-test"
OPTIONAL = {"config", "config|get", "config|set", "client", "client|setinfo"}
"""Asked for, and done without: said in docs/settings.md, and by the client library about itself."""


def documented(prefix: str) -> list[str]:
    """The command of the documentation, for a prefix and a password of the test's own."""
    lines: list[str] = re.findall(r"^ACL SETUSER .*$", DOCS.read_text(encoding="utf-8"), re.MULTILINE)
    assert len(lines) == 1
    return lines[0].replace("~bb:*", f"~{prefix}:*").replace(">PASSWORD", f">{PASSWORD}").split()


async def test_the_documented_rights_are_enough(redis_own: Server, gcs_endpoint: str, fresh: str, tmp_path: Path) -> None:
    # Given a Redis with such a user, small objects, a large one, and one that the destination refuses
    line = Line(fresh, redis_own.address, tmp_path)
    source, destination = (make_gcs_bucket(gcs_endpoint, f"{fresh}-{end}") for end in "ab")
    for number in range(5):
        gcs_put(gcs_endpoint, source, f"small-{number}", os.urandom(1000))
    gcs_put(gcs_endpoint, source, "large", os.urandom(3 * 1024 * 1024))
    gcs_put(gcs_endpoint, source, "refused", b"never")
    fault = {"kind": "status", "status": 403, "key": f"{fresh}-out/refused", "times": 100}
    plan_faults(gcs_endpoint, {**fault, "operation": "insert.multipart"})
    environ = {"STORAGE_EMULATOR_HOST": gcs_endpoint, "BRIGADE_PART_BYTES": "1MiB", "RETRY_ATTEMPTS": "1"}
    line.settings(
        f"gs://{source}",
        f"gs://{destination}/{fresh}-out",
        {**environ, "REDIS_USERNAME": "brigade", "REDIS_PASSWORD": PASSWORD},
    )
    async with Redis(host="127.0.0.1", port=redis_own.port, protocol=2, decode_responses=True) as admin:
        await admin.execute_command(*documented(fresh))
        # When it is replicated, looked at, sent again, and forgotten
        with line.running("publish"), line.running("work"):
            await until(lambda: _ended(line), line)
        for arguments in (
            ("jobs", "list"),
            ("cache", "show"),
            ("errors", "list"),
            ("errors", "redrive"),
            ("cache", "delete", "--yes"),
        ):
            process = line.start(*arguments)
            assert process.wait(60) == 0, line.logs()
        # Then everything arrived, and Redis refused nothing but what is optional
        assert set(gcs_objects(gcs_endpoint, destination)) == {f"{fresh}-out/{name}" for name in _names()}
        refused = {entry["object"] for entry in await admin.acl_log() if entry["username"] == "brigade"}
    assert refused <= OPTIONAL, line.logs()


async def _ended(line: Line) -> bool:
    return any(job.moved == len(_names()) and job.failed == 1 for job in await line.jobs())


def _names() -> list[str]:
    return ["large", *(f"small-{number}" for number in range(5))]
