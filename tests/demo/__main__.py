"""The main job, shown from beginning to end on this machine: `make demo`, or `make demo QUEUE=pubsub`.

Real servers on free loopback ports, a publisher and two workers as processes of their own, every byte compared afterwards. Exits
with 0 only if everything that is claimed on the screen has been checked, and leaves nothing running.
"""

from __future__ import annotations

import base64
import json
import os
import secrets
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections import Counter
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from tests import servers
from tests.demo.bucket import Destination, Source, differences

if TYPE_CHECKING:
    from collections.abc import Iterator

USER = "admin"
CHANGED = "ordinary/0007.bin"
PATIENCE = 90.0
_DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))
console = Console(highlight=False, soft_wrap=True)


class DemoFailed(Exception):  # noqa: N818 - named after the situation
    """Something that the demo was to show is not so."""


@dataclass(frozen=True, slots=True)
class Api:
    """The publisher's HTTP service."""

    url: str
    password: str

    def ask(self, path: str, method: str = "GET") -> Any:
        request = urllib.request.Request(self.url + path, method=method)
        request.add_header("Authorization", "Basic " + _basic(USER, self.password))
        with _DIRECT.open(request, timeout=30) as answer:
            return json.load(answer)

    def curl(self, path: str, *options: str) -> Any:
        """What a person types; the answer."""
        command = ["curl", "--silent", "--noproxy", "*", "--user", f"{USER}:$PASSWORD", *options, self.url + path]
        typed = shlex.join(command).replace(f"'{USER}:$PASSWORD'", f"{USER}:$PASSWORD")
        console.print(f"  [bold]$ {typed}[/]")
        if shutil.which("curl") is None:  # a bare machine may have none: the same request, without it
            return self.ask(path, "DELETE" if "DELETE" in options else "GET")
        real = [part.replace("$PASSWORD", self.password) for part in command]
        done = subprocess.run(real, capture_output=True, check=True, timeout=60)
        return json.loads(done.stdout)


def step(text: str) -> None:
    console.print(f"\n[bold cyan]{text}[/]")


def check(held: bool, claim: str) -> None:
    if not held:
        raise DemoFailed(claim)
    console.print(f"  [green]✓[/] {claim}")


@contextmanager
def brigade(directory: Path, environ: dict[str, str], *arguments: str, name: str) -> Iterator[Path]:
    """`brigade ARGUMENTS` for as long as the block lasts; its log."""
    log = directory / f"{name}.log"
    with log.open("wb") as output:
        process = subprocess.Popen([sys.executable, "-m", "brigade", *arguments], env=environ, stdout=output, stderr=output)
    try:
        yield log
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            code = process.wait(40)
        except subprocess.TimeoutExpired:
            process.kill()
            code = process.wait()
    if code != 0:
        raise DemoFailed(f"{name} ended with exit code {code}:\n{log.read_text()[-2000:]}")


def wait_for_api(log: Path, password: str) -> Api:
    give_up = time.monotonic() + PATIENCE
    while time.monotonic() < give_up:
        for line in log.read_text().splitlines():
            if '"api_listening"' in line:
                said = json.loads(line)
                return Api(f"http://{said['host']}:{said['port']}", password)
        time.sleep(0.1)
    raise DemoFailed(f"the publisher did not start:\n{log.read_text()[-2000:]}")


def follow(api: Api, job: str | None, total: int | None = None) -> dict[str, Any]:
    """Show the job's progress until it is done; its counters. None: the first sweep."""
    give_up = time.monotonic() + PATIENCE
    columns = TextColumn("  {task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()
    with Progress(*columns, console=console, transient=not console.is_terminal) as progress:
        bar = progress.add_task("replicating", total=total)
        while time.monotonic() < give_up:
            jobs = [api.ask(f"/jobs/{job}")] if job else api.ask("/jobs")["jobs"]
            if jobs:
                found: dict[str, Any] = jobs[-1]
                progress.update(bar, total=total or found["listed"] or None, completed=found["listed"] - found["in_flight"])
                if found["state"] == "done":
                    return found
                if found["state"] in ("failed", "done_with_failures"):
                    raise DemoFailed(f"the job is {found['state']}: {found['message']}")
            time.sleep(0.1)
    raise DemoFailed(f"the job was not done after {PATIENCE:.0f} s: {jobs}")


def sweep(api: Api) -> dict[str, Any]:
    """Ask for a sweep now, and see it through."""
    job: str = api.ask("/jobs", "POST")["jobs"][0]["id"]
    return follow(api, job)


def environment(redis: servers.Server, redis_password: str, password: str, s3: str, gcs: str) -> dict[str, str]:
    """The names that users of the earlier systems have in their files."""
    keep = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    return {
        **keep,
        "AWS_ACCESS_KEY_ID": "demo",
        "AWS_SECRET_ACCESS_KEY": "demo",
        "AWS_REGION": "us-east-1",
        "AWS_ENDPOINT_URL_S3": s3,
        "AWS_S3_BUCKET": "demo-source",
        "GCP_BUCKET_NAME": "demo-destination",
        "STORAGE_EMULATOR_HOST": gcs,
        "REDIS_ADDRESS": redis.address,
        "REDIS_PASSWORD": redis_password,
        "SYSTEM_ADMIN_USERNAME": USER,
        "SYSTEM_ADMIN_PASSWORD": password,
        "BRIGADE_HTTP_PORT": "0",
        "BRIGADE_LOG_FORMAT": "json",
        "BRIGADE_QUEUE": "redis",
        "BRIGADE_PROCESSES": "1",
    }


def run(queue: str, stack: ExitStack) -> None:
    started = time.monotonic()
    directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="brigade-demo-")))
    password, redis_password = secrets.token_urlsafe(12), secrets.token_urlsafe(12)

    step("Real servers on free loopback ports")
    redis = stack.enter_context(servers.redis_server(directory / "redis", redis_password))
    s3 = stack.enter_context(servers.moto_server())
    gcs = stack.enter_context(servers.gcs_server(["demo-destination"]))
    environ = environment(redis, redis_password, password, s3.url, gcs.url)
    console.print(f"  Redis {redis.address}   S3 {s3.url}   GCS {gcs.url}")
    if queue == "pubsub":
        host = stack.enter_context(servers.pubsub_emulator())
        environ |= {"BRIGADE_QUEUE": "pubsub", "GCP_PUBSUB_HOST": host, "GCP_PROJECT_ID": "demo", "GCP_TOPIC_ID": "brigade"}
        console.print(f"  Pub/Sub emulator {host}")

    step("A source bucket with everything that breaks careless programs")
    source, destination = Source(s3.url, "demo-source"), Destination(gcs.url, "demo-destination")
    objects, size = source.fill()
    console.print(
        f"  {objects} objects, {size / 2**20:.0f} MiB: empty ones, 64 MiB, a multipart upload, names with '..', '//', '#', '🪣'"
    )

    step("One publisher, two workers")
    lines = ExitStack()
    with lines:
        log = lines.enter_context(brigade(directory, environ, "publish", name="publisher"))
        for number in (1, 2):
            lines.enter_context(brigade(directory, environ, "work", name=f"worker-{number}"))
        api = wait_for_api(log, password)
        moving = time.monotonic()
        first = follow(api, None, objects)
        took = time.monotonic() - moving
        check(first["moved"] == objects, f"{objects} objects were replicated in {took:.1f} s, by proof of the destination")
        consumed = api.ask("/cache/type?value=consumed").values()
        shares = Counter(record["worker"] for record in consumed).values()
        check(len(shares) == 2, f"both workers took part: {' and '.join(map(str, shares))} objects")
        compared, wrong = differences(source, destination)
        check(
            not wrong and compared == objects,
            f"all {compared} objects are at the destination, byte for byte" + "".join(wrong[:5]),
        )
        resource = destination.resource(CHANGED)
        check(
            (resource["contentType"], resource["metadata"]["demo"]) == ("application/x-demo", "yes"),
            "content type and metadata came along",
        )
        show_cache(api, objects)
        change_one(api, source, destination)
        lose_the_cache(api, destination, objects)
    failures = sum(path.read_text().count('"object_failed"') for path in directory.glob("worker-*.log"))
    check(failures == 0, "no failures, and everything has stopped in order")
    seconds = time.monotonic() - started
    step("Summary")
    console.print(
        f"  objects {objects}   bytes {size:,}   {objects / took:.0f} objects/s   {size / 2**20 / took:.0f} MiB/s   "
        f"failures {failures}   whole demo {seconds:.0f} s"
    )


def show_cache(api: Api, objects: int) -> None:
    step("What the cache knows, over HTTP")
    for name, record in list(api.curl("/cache?limit=2").items()):
        console.print(f"  {name[:60]!r}: {json.dumps(record)[:170]}", markup=False)
    record = api.curl(f"/cache/name?value=consumed:{CHANGED}")[f"consumed:{CHANGED}"]
    console.print(f"  {json.dumps(record)}", markup=False)
    check(len(api.ask("/cache/type?value=consumed")) == objects, f"{objects} consumed records")


def change_one(api: Api, source: Source, destination: Destination) -> None:
    step("One object changes")
    before = destination.generations()
    source.put(CHANGED, b"changed")
    job = sweep(api)
    after = destination.generations()
    moved = [name for name in after if before.get(name) != after[name]]
    check(job["published"] == 1 and moved == [CHANGED], f"only {CHANGED!r} moved again, {job['proven']} were left alone")
    check(destination.read(CHANGED) == b"changed", "its new bytes are at the destination")


def lose_the_cache(api: Api, destination: Destination, objects: int) -> None:
    step("The cache is lost")
    before = destination.generations()
    deleted = api.curl("/cache", "--request", "DELETE")
    console.print(f"  {json.dumps(deleted)}", markup=False)
    job = sweep(api)
    check(
        destination.generations() == before and (job["proven"], job["moved"]) == (objects, 0),
        f"all {objects} were looked at and none was copied twice: every generation is as it was",
    )


def _basic(user: str, password: str) -> str:
    return base64.b64encode(f"{user}:{password}".encode()).decode()


@click.command()
@click.option("--queue", type=click.Choice(["redis", "pubsub"]), default="redis")
def main(queue: str) -> None:
    try:
        with ExitStack() as stack:
            run(queue, stack)
    except servers.ServerMissing as error:
        console.print(f"[red]{error}[/]")
        raise SystemExit(2) from None
    except (DemoFailed, servers.ServerFailed) as error:
        console.print(f"[bold red]✗ {error}[/]", markup=True)
        raise SystemExit(1) from None
    console.print("\n[bold green]All of it held. Nothing is left running.[/]")


if __name__ == "__main__":
    main()
