"""`brigade services`: what was found out is shown, and can be forgotten."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner

from brigade.__main__ import brigade
from common.config import RedisSettings
from common.state.agreements import Agreements
from common.state.findings import Findings
from common.state.store import Store
from common.storage.abilities import FRESH, Finding

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


@pytest.fixture
async def store(redis_address: str, fresh: str) -> AsyncIterator[Store]:
    opened = await Store.open(RedisSettings(address=redis_address, prefix=fresh))
    yield opened
    await opened.close()


async def test_findings_survive_and_the_last_one_counts(store: Store) -> None:
    # Given what two workers have found
    one, other = Agreements(store), Agreements(store)
    await one.found("https://s3.example", "conditions", Finding(kept=True, how="asked", at=1.5))
    await other.found("https://s3.example", "conditions", Finding(kept=False, how="\u00fc", at=2.5))
    await other.found("https://else.example", "checksums", Finding(kept=True, how="asked", at=3))
    # Then the last one counts, for each service by itself
    assert await one.findings("https://s3.example") == {"conditions": Finding(kept=False, how="\u00fc", at=2.5)}
    assert len(await Findings(store).all()) == 2
    # And what nobody can read is not known
    await store.send([("HSET", store.keys.services(), b"x\0conditions", b"[]")])
    assert await one.findings("x") == {}
    assert await Findings(store).forget() == 3
    assert await Findings(store).all() == {}


def test_the_command_shows_what_was_found(store: Store, redis_address: str, fresh: str) -> None:
    import asyncio  # noqa: PLC0415 - the command runs on a loop of its own

    now = time.time()
    environ = {"REDIS_ADDRESS": redis_address, "BRIGADE_REDIS_PREFIX": fresh}

    def shown(*arguments: str) -> str:
        result = CliRunner().invoke(brigade, ["services", *arguments], env=environ, catch_exceptions=False)
        assert result.exit_code == 0, result.output
        return result.output

    async def fill() -> None:
        own = await Store.open(RedisSettings(address=redis_address, prefix=fresh))
        await Agreements(own).found("https://s3.example", "conditions", Finding(kept=True, how="refused with 412", at=now))
        await Agreements(own).found("https://s3.example", "checksums", Finding(kept=False, how="taken", at=now - FRESH))
        await own.close()

    assert "nothing was found out yet" in shown()
    asyncio.run(fill())
    lines = shown().splitlines()
    assert lines[1].split()[:3] == ["https://s3.example", "checksums", "no,"]
    assert "too long ago" in lines[1]
    assert lines[2].split()[:3] == ["https://s3.example", "conditions", "yes"]
    assert lines[2].endswith("refused with 412")
    assert json.loads(shown("--json").splitlines()[1])["kept"] == "yes"
    assert "2 forgotten" in shown("--forget")
    assert "nothing was found out yet" in shown()
