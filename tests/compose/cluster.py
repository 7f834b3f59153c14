"""The rendered minikube overlay, really run by `podman play kube`, until objects have moved through it."""

from __future__ import annotations

import base64
import json
import time
from functools import partial
from typing import TYPE_CHECKING, Any

from tests.compose.engine import ROOT, Engine, Failure, free_port, say
from tests.compose.fill import objects
from tests.compose.manifests import PREFIX, Workload, images, playable, secret_text
from tests.compose.proof import Proof

if TYPE_CHECKING:
    from tests.compose.manifests import Manifest

NETWORK = f"{PREFIX}net"
CLOUDS = {"s3": 9000, "gcs": 9001}
DEMO_IMAGE = "bucketbrigade-demo"
RESTARTS = 20
"""Kubernetes promises no order: what starts before Redis may end and start again."""
ORDER = ("pubsub", "redis", "publisher", "worker")


def prove(engine: Engine, manifests: list[Manifest]) -> None:
    """Runs every workload of `manifests` with stand-ins for both clouds. Raises Failure after showing the logs."""
    paths = {image: _sets_path(engine, image) for image in images(manifests)}
    play = playable(manifests, paths)
    play.secrets[f"{PREFIX}brigade-cloud"] = _cloud_settings()
    workloads = sorted(play.workloads, key=lambda workload: ORDER.index(workload.name.removeprefix(PREFIX)))
    ports = {name: free_port() for name in CLOUDS}
    _take_down(engine)
    try:
        engine.run("network", "create", NETWORK)
        _clouds(engine, ports)
        for name, values in play.secrets.items():
            engine.run("secret", "create", name, "-", given=secret_text(values))
        for workload in workloads:
            _play(engine, workload)
        Proof(ports["s3"], ports["gcs"]).wait(len(objects()) + 1, 240, partial(_watch, engine))
        for workload in workloads:
            _ask_probes(engine, workload)
        _unprivileged(engine)
    except BaseException:
        for container in _containers(engine):
            say(f"--- {container}; its last lines:\n{engine.both('logs', '--tail', '40', container)}")
        raise
    finally:
        _take_down(engine)
    left = _containers(engine) + engine.lines("volume", "ls", "--quiet", "--filter", f"name={PREFIX}")
    if left:
        raise Failure(f"left behind: {left}")
    say("taken down, nothing left")


def _sets_path(engine: Engine, image: str) -> bool:
    facts: dict[str, Any] = json.loads(engine.run("image", "inspect", image))[0]
    return any(entry.startswith("PATH=") for entry in facts["Config"].get("Env") or ())


def _demo_settings() -> dict[str, str]:
    lines = (ROOT / "deploy/demo/demo.env").read_text(encoding="utf-8").splitlines()
    return dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))


def _cloud_settings() -> dict[str, str]:
    """The Secret that `make prod-settings` would make of a .env: the demo's clouds, and nothing that the overlay sets itself."""
    theirs = ("AWS_", "GCP_PROJECT", "GCP_BUCKET", "STORAGE_", "BRIGADE_SWEEP")
    return {
        name: base64.b64encode(value.encode()).decode() for name, value in _demo_settings().items() if name.startswith(theirs)
    }


def _clouds(engine: Engine, ports: dict[str, int]) -> None:
    """Both stand-ins and the filler, by the image and under the names that the demo profile gives them."""
    commands = {
        "s3": ("--entrypoint", "moto_server", DEMO_IMAGE, "-H", "0.0.0.0", "-p", "9000"),
        "gcs": (DEMO_IMAGE, "-m", "tests.fakes.gcs", "--host", "0.0.0.0", "--port", "9001"),
    }
    for name, command in commands.items():
        published = f"127.0.0.1:{ports[name]}:{CLOUDS[name]}"
        engine.run(
            *("run", "--detach", "--name", PREFIX + name, "--network", NETWORK, "--network-alias", name),
            *("--publish", published, "--read-only", "--tmpfs", "/tmp", *command),
        )
    settings = [word for name, value in _demo_settings().items() for word in ("--env", f"{name}={value}")]
    deadline = time.monotonic() + 60
    filler = ("run", "--rm", "--name", f"{PREFIX}filler", "--network", NETWORK, *settings, DEMO_IMAGE, "-m", "tests.compose.fill")
    while not engine.answers(*filler, timeout=120):
        if time.monotonic() > deadline:
            raise Failure(f"the filler fails: {engine.both(*filler)}")
        time.sleep(2)


def _play(engine: Engine, workload: Workload) -> None:
    for claim in workload.claims:
        volume = ("--volume", f"{claim.name}:{claim.path}")
        engine.run("run", "--rm", "--user", "0:0", *volume, "--entrypoint", "chown", claim.image, claim.owner, claim.path)
    network = NETWORK + "".join(f"{',' if number else ':'}alias={alias}" for number, alias in enumerate(workload.aliases))
    engine.run("play", "kube", "--network", network, "-", given=workload.text, timeout=180)
    say(f"playing {workload.name.removeprefix(PREFIX)} ({len(_containers(engine, workload.name))} containers)")


def _containers(engine: Engine, name: str = PREFIX) -> list[str]:
    """Names of our containers, without those that only hold a pod together."""
    lines = engine.lines("ps", "--all", "--format", "{{.Names}}", "--filter", f"name=^{name}")
    return [line for line in lines if not line.endswith("-infra")]


def _watch(engine: Engine) -> None:
    for container in _containers(engine):
        times = engine.inspect(container)["RestartCount"]
        if times >= RESTARTS:
            raise Failure(f"{container} has ended and been started again {times} times")


def _ask_probes(engine: Engine, workload: Workload) -> None:
    """What the kubelet would ask, asked from inside the network by a container that has an HTTP client."""
    asker = _containers(engine, f"{PREFIX}publisher")[0]
    for probe in workload.probes:
        for container in _containers(engine, workload.name):
            _ask(engine, probe, container, workload, asker)
    say(f"{workload.name.removeprefix(PREFIX)}: {len(workload.probes)} probes answer well")


def _ask(engine: Engine, probe: Manifest, container: str, workload: Workload, asker: str) -> None:
    if "exec" in probe:
        command = ["exec", container, *probe["exec"]["command"]]
    elif "httpGet" in probe:
        url = f"http://{workload.aliases[0]}:{probe['httpGet']['port']}{probe['httpGet']['path']}"
        command = ["exec", asker, "python", "-c", f"import urllib.request as r; r.urlopen({url!r}, timeout=5)"]
    else:
        address = (workload.aliases[0], probe["tcpSocket"]["port"])
        command = ["exec", asker, "python", "-c", f"import socket; socket.create_connection({address!r}, 5)"]
    if not engine.answers(*command):
        raise Failure(f"{workload.name}: a probe fails: {probe}\n{engine.both(*command)}")


def _unprivileged(engine: Engine) -> None:
    for container in _containers(engine):
        facts = engine.inspect(container)
        user = str(facts["Config"]["User"]).partition(":")[0]
        if user in ("", "0", "root") or not facts["HostConfig"]["ReadonlyRootfs"]:
            raise Failure(f"{container} runs as {user or 'root'}, read-only root: {facts['HostConfig']['ReadonlyRootfs']}")
    say("every container is unprivileged and on a read-only root")


def _take_down(engine: Engine) -> None:
    pods = engine.lines("pod", "ls", "--quiet", "--filter", f"name={PREFIX}")
    if pods:
        engine.run("pod", "stop", "--time", "35", *pods, timeout=300)
        engine.run("pod", "rm", "--force", *pods)
    for kind, listing in (
        ("rm", ("ps", "--all", "--quiet", "--filter", f"name=^{PREFIX}")),
        ("secret", ("secret", "ls", "--format", "{{.Name}}")),
        ("volume", ("volume", "ls", "--quiet", "--filter", f"name=^{PREFIX}")),
    ):
        found = [line for line in engine.lines(*listing) if kind != "secret" or line.startswith(PREFIX)]
        if found:
            engine.run(*(("rm", "--force") if kind == "rm" else (kind, "rm")), *found)
    if engine.answers("network", "exists", NETWORK):
        engine.run("network", "rm", NETWORK)
