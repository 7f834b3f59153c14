"""The whole line as its users run it: `brigade publish` and `brigade work` as processes, against real servers."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import urllib.parse
import urllib.request
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from common.config import RedisSettings
from common.queues.registry import open_errors, open_queue
from common.settings import load
from common.state.jobs import Jobs
from common.state.store import Store

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from common.state.jobs import Job

USER, PASSWORD = "admin", "bucket brigade ä"
_DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))


@dataclass
class Line:
    """One line with names of its own on shared servers."""

    name: str
    redis: str
    directory: Path
    environ: dict[str, str] = field(default_factory=dict)

    def settings(self, source: str, destination: str, environ: Mapping[str, str]) -> None:
        """Write the settings file and the environment that every process of this line gets."""
        config = self.directory / "brigade.toml"
        config.write_text(f'[[route]]\nname = "r"\nsource = "{source}"\ndestination = "{destination}"\n', encoding="utf-8")
        keep = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
        self.environ = {
            **keep,
            "BRIGADE_CONFIG": str(config),
            "BRIGADE_QUEUE": "redis",
            "BRIGADE_REDIS_PREFIX": self.name,
            "BRIGADE_LEASE_SECONDS": "10",
            "BRIGADE_PROCESSES": "1",
            "BRIGADE_HTTP_PORT": "0",
            "BRIGADE_LOG_FORMAT": "json",
            "RETRY_BACKOFF_SEC": "0.2",
            "REDIS_ADDRESS": self.redis,
            "SYSTEM_ADMIN_USERNAME": USER,
            "SYSTEM_ADMIN_PASSWORD": PASSWORD,
            **environ,
        }

    def start(self, *arguments: str, **extra: str) -> subprocess.Popen[bytes]:
        """Start `brigade ARGUMENTS`; its log goes to a file of the line's directory."""
        with (self.directory / f"{'-'.join(arguments)}-{time.monotonic_ns()}.log").open("wb") as log:
            return subprocess.Popen(
                [sys.executable, "-m", "brigade", *arguments],
                env={**self.environ, **extra},
                cwd=self.directory,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    @contextmanager
    def running(self, *arguments: str, **extra: str) -> Iterator[subprocess.Popen[bytes]]:
        """The process for as long as the block lasts; then it is asked to stop, and must do so with exit code 0."""
        process = self.start(*arguments, **extra)
        try:
            yield process
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                code = process.wait(40)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
                raise
        assert code == 0, f"{arguments} ended with {code}\n{self.logs()}"

    def logs(self) -> str:
        """What every process of the line has printed, for a failing test."""
        return "\n".join(f"--- {path.name}\n{path.read_text()[-4000:]}" for path in sorted(self.directory.glob("*.log")))

    def logged(self, action: str) -> int:
        """How many log lines have this action."""
        return sum(path.read_text().count(f'"action": "{action}"') for path in self.directory.glob("*.log"))

    async def jobs(self) -> list[Job]:
        store = await Store.open(RedisSettings(address=self.redis, prefix=self.name))
        try:
            return list(await Jobs(store).recent(50))
        finally:
            await store.close()

    async def lose_queue(self) -> None:
        """Delete everything that is on the queue, as a queue without a disk does when it restarts."""
        store = await Store.open(RedisSettings(address=self.redis, prefix=self.name))
        try:
            names = [name async for name in store.client.scan_iter(f"{self.name}:{{queue}}:*")]
            assert names
            await store.client.delete(*names)
        finally:
            await store.close()

    async def left(self) -> tuple[int, int]:
        """(messages on the queue, messages on the error topic)"""
        settings = load(self.environ, None, needs={"queue", "redis"})
        queue, errors = await open_queue(settings), await open_errors(settings)
        try:
            return await queue.backlog() or 0, await errors.backlog() or 0
        finally:
            await queue.close()
            await errors.close()


def gcs_objects(endpoint: str, bucket: str) -> dict[str, tuple[int, str]]:
    """name -> (size, crc32c) of everything in a bucket of the stand-in."""
    found: dict[str, tuple[int, str]] = {}
    page = ""
    while True:
        answer = _json(f"{endpoint}/storage/v1/b/{bucket}/o?maxResults=1000{page}")
        found.update({item["name"]: (int(item["size"]), item["crc32c"]) for item in answer.get("items", [])})
        if "nextPageToken" not in answer:
            return found
        page = f"&pageToken={answer['nextPageToken']}"


def gcs_writes(endpoint: str, bucket: str) -> dict[str, int]:
    """name -> how often an object was made visible there."""
    writes: dict[str, int] = _json(f"{endpoint}/_stats")["writes"].get(bucket, {})
    return writes


def gcs_put(endpoint: str, bucket: str, name: str, data: bytes) -> None:
    query = urllib.parse.urlencode({"uploadType": "media", "name": name})
    request = urllib.request.Request(f"{endpoint}/upload/storage/v1/b/{bucket}/o?{query}", data=data, method="POST")
    with _DIRECT.open(request, timeout=30) as answer:
        answer.read()


def _json(url: str) -> Any:
    with _DIRECT.open(url, timeout=30) as answer:
        return json.load(answer)
