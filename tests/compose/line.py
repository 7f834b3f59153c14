"""The demo profile of docker-compose.yml, from the first build to the last container taken down."""

from __future__ import annotations

import json
import time
from functools import partial
from typing import Any

from tests.compose import image
from tests.compose.engine import Compose, Engine, Failure, free_port, say
from tests.compose.fill import objects
from tests.compose.proof import SOURCE, Arrived, Proof, get

PROJECT = "bucketbrigade-test"
FILLED = len(objects()) + 1
ADDED = 200
WORKERS = 3
RESTARTS = 5
LONG_RUNNING = {"publisher", "worker", "redis", "pubsub", "s3", "gcs"}


def prove(engine: Engine) -> None:
    """Builds, runs, checks, and takes down. Raises Failure after showing the logs."""
    ports = {"PUBLISHER_PORT": free_port(), "DEMO_S3_PORT": free_port(), "DEMO_GCS_PORT": free_port()}
    compose = Compose(PROJECT, engine, {name: str(port) for name, port in ports.items()})
    proof = Proof(ports["DEMO_S3_PORT"], ports["DEMO_GCS_PORT"])
    watch = partial(_watch, compose)
    _take_down(compose)
    try:
        say("building the images")
        for service in ("publisher", "filler"):  # one of each image; the others then find it
            compose.run("build", service)
        image.prove(engine)
        say("bringing up the demo profile")
        compose.run("up", "--detach")
        first = proof.wait(FILLED, 240, watch)
        _containers(compose)
        _cache(ports["PUBLISHER_PORT"], FILLED)
        _scale(compose)
        _add(proof)
        both = proof.wait(FILLED + ADDED, 120, watch)
        _written_once(first, both)
        _cache(ports["PUBLISHER_PORT"], FILLED + ADDED)
        _no_errors(compose)
    except BaseException:
        _show_logs(compose)
        _take_down(compose)
        raise
    _stops_well(compose)
    _take_down(compose)
    _nothing_left(compose)


def _watch(compose: Compose) -> None:
    """A container that starts again and again will not do better."""
    for service in ("publisher", "worker"):
        for container in compose.containers(service, running=False):
            times = compose.engine.inspect(container)["RestartCount"]
            if times >= RESTARTS:
                raise Failure(f"{service} has ended and been started again {times} times")


def _containers(compose: Compose) -> None:
    """What every running container must be: unprivileged, unable to change itself, healthy."""
    services = set()
    for container in compose.containers():
        service, facts = compose.service(container), compose.engine.inspect(container)
        services.add(service)
        host, user = facts["HostConfig"], str(facts["Config"]["User"])
        wrong = []
        if user.partition(":")[0] in ("", "0", "root"):
            wrong.append(f"runs as {user or 'root'}")
        if not host["ReadonlyRootfs"]:
            wrong.append("its root is writable")
        # docker keeps the word ALL, podman the list of what ALL meant.
        if "ALL" not in host["CapDrop"] and facts.get("EffectiveCaps"):
            wrong.append(f"has capabilities {facts['EffectiveCaps']}")
        if not any("no-new-privileges" in option for option in host["SecurityOpt"]):
            wrong.append("may gain privileges")
        if wrong:
            raise Failure(f"{service}: {', '.join(wrong)}")
        _healthy(compose.engine, container, service)
    if services != LONG_RUNNING:
        raise Failure(f"running are {sorted(services)}, expected {sorted(LONG_RUNNING)}")
    say(f"unprivileged, on read-only roots, healthy: {', '.join(sorted(services))}")


def _healthy(engine: Engine, container: str, service: str) -> None:
    """Asks the health check itself: podman starts it by a systemd timer, and there is not always a systemd."""
    deadline = time.monotonic() + 60
    while True:
        if engine.is_podman:
            well = engine.answers("healthcheck", "run", container)
        else:
            well = engine.inspect(container)["State"]["Health"]["Status"] == "healthy"
        if well:
            return
        if time.monotonic() > deadline:
            raise Failure(f"{service} does not get healthy")
        time.sleep(2)


def _cache(port: int, objects_there: int) -> None:
    """The HTTP API is closed without a password, and knows every object as consumed with it."""
    url = f"http://127.0.0.1:{port}"
    status, headers, _ = get(f"{url}/cache")
    if status != 401 or "www-authenticate" not in headers:
        raise Failure(f"/cache without a password answers {status} {headers}")
    deadline = time.monotonic() + 60
    while True:
        status, _, body = get(f"{url}/cache/type?value=consumed", "admin", "demo")
        records: dict[str, dict[str, Any]] = json.loads(body) if status == 200 else {}
        if len(records) == objects_there:
            break
        if time.monotonic() > deadline:
            raise Failure(
                f"/cache/type?value=consumed answers {status} with {len(records)} of {objects_there} records: {body[:200]!r}"
            )
        time.sleep(1)
    workers = {record["worker"] for record in records.values()}
    say(f"the cache knows {len(records)} consumed objects, moved by {len(workers)} workers")


def _no_errors(compose: Compose) -> None:
    """Nothing was given up. Also shows that the command works from inside a container that cannot be written to."""
    publisher = compose.containers("publisher")[0]
    if errors := compose.engine.lines("exec", publisher, "brigade", "errors", "list", "--json"):
        raise Failure(f"{len(errors)} reports are on the error topic: {errors[0]}")
    say("the error topic is empty")


def _scale(compose: Compose) -> None:
    say(f"scaling to {WORKERS} workers")
    compose.run("up", "--detach", "--no-deps", "--no-recreate", "--scale", f"worker={WORKERS}", "worker")
    running = len(compose.containers("worker"))
    if running != WORKERS:
        raise Failure(f"{running} workers are running after scaling to {WORKERS}")


def _written_once(before: dict[str, Arrived], after: dict[str, Arrived]) -> None:
    if again := [name for name, arrived in before.items() if after[name] != arrived]:
        raise Failure(f"{len(again)} objects were written twice: {again[:5]}")
    say(f"the {len(before)} objects from before were not written again")


def _add(proof: Proof) -> None:
    say(f"adding {ADDED} objects")
    s3 = proof.s3()
    for number in range(ADDED):
        s3.put_object(Bucket=SOURCE, Key=f"added/{number:04} &=.bin", Body=number.to_bytes(2) * 2048)


def _stops_well(compose: Compose) -> None:
    """SIGTERM reaches publisher and workers, and they end by themselves, well within the grace period."""
    began = time.monotonic()
    for service in ("publisher", "worker"):
        for container in compose.containers(service):
            # As long as docker-compose.yml gives them; by itself the engine would wait for ten seconds.
            compose.engine.run("stop", "--time", "40", container, timeout=60)
            code = compose.engine.inspect(container)["State"]["ExitCode"]
            if code:
                raise Failure(f"{service} ended with {code} when it was told to stop")
    say(f"publisher and workers ended by themselves when told to ({time.monotonic() - began:.0f} s)")


def _show_logs(compose: Compose) -> None:
    for container in compose.containers(running=False):
        state = compose.engine.inspect(container)["State"]
        say(f"--- {compose.service(container)}: {state['Status']}, exit code {state['ExitCode']}; its last lines:")
        say(compose.engine.both("logs", "--tail", "40", container))


def _take_down(compose: Compose) -> None:
    for _ in range(2):  # podman-compose takes scaled workers for orphans: they hold on to what they depend on at first
        compose.run("down", "--remove-orphans", "--volumes", timeout=180)


def _nothing_left(compose: Compose) -> None:
    left = compose.containers(running=False)
    for kind in ("volume", "network"):
        left += compose.engine.lines(kind, "ls", "--quiet", "--filter", f"name={PROJECT}_")
    if left:
        raise Failure(f"left behind: {left}")
    say("taken down, nothing left")
