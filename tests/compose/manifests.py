"""The rendered Kubernetes manifests: checked strictly against the schemas, and brought into what `podman play kube` can run.

Every difference between what Kubernetes would run and what runs here stands in this file, with its reason.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from copy import deepcopy
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import kubernetes_validate  # type: ignore[import-untyped]
import yaml  # type: ignore[import-untyped]

from tests.compose.engine import ROOT, Failure, Unavailable, say

if TYPE_CHECKING:
    from collections.abc import Iterator

OVERLAY = ROOT / "deploy/kubernetes/overlays/minikube"
PREFIX = "bucketbrigade-test-"
"""Goes before every name, so that nothing of anybody else is replaced or taken down."""
SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
NOT_PLAYED = {
    "Namespace": "podman has none; the names get a prefix instead",
    "Service": "its name becomes the pod's name on the network",
}
PART = "app.kubernetes.io/component"
PARTS = ("settings", "pubsub", "redis", "publisher", "worker")
REFERENCES = {
    "configMapRef": "ConfigMap",
    "secretRef": "Secret",
    "configMapKeyRef": "ConfigMap",
    "secretKeyRef": "Secret",
}
PROBES = ("startupProbe", "readinessProbe", "livenessProbe")

Manifest = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Claim:
    """A volume that must be there, and be `owner`'s as fsGroup has it, before `image` mounts it at `path`."""

    name: str
    image: str
    path: str
    owner: str


@dataclass(frozen=True, slots=True)
class Workload:
    """One Deployment or StatefulSet, ready to play."""

    name: str
    manifests: list[Manifest]
    claims: list[Claim]
    aliases: list[str]
    """The names that Services give it."""
    probes: list[Manifest]
    """What the kubelet would ask; this program asks instead."""

    @property
    def text(self) -> str:
        return str(yaml.safe_dump_all(self.manifests))


@dataclass(slots=True)
class Playable:
    secrets: dict[str, dict[str, str]] = field(default_factory=dict)
    """Secrets by name, values in base64 as Kubernetes has them."""
    workloads: list[Workload] = field(default_factory=list)


def render() -> list[Manifest]:
    """The minikube overlay as kubectl renders it, every resource valid. Raises Failure for one that is not."""
    if not shutil.which("kubectl"):
        missing = Failure if os.environ.get("CI") == "true" else Unavailable
        raise missing("kubectl is not on PATH: https://kubernetes.io/docs/tasks/tools/")
    done = subprocess.run(["kubectl", "kustomize", OVERLAY], capture_output=True, text=True, timeout=60, check=False)
    if done.returncode:
        raise Failure(f"kubectl kustomize: {done.stderr.strip()}")
    manifests: list[Manifest] = list(yaml.safe_load_all(done.stdout))
    version = kubernetes_validate.latest_version()
    for manifest in manifests:
        called = f"{manifest['kind']} {manifest['metadata']['name']}"
        try:
            kubernetes_validate.validate(manifest, version, strict=True)
        except kubernetes_validate.SchemaNotFoundError as error:
            raise Failure(f"{called}: Kubernetes {version} has no such kind") from error
        except kubernetes_validate.ValidationError as error:
            raise Failure(f"{called}: {error.message} at {list(error.path)}") from error
    _parts_stand_alone(manifests)
    say(f"rendered the minikube overlay: {len(manifests)} resources, all strictly valid for Kubernetes {version}")
    return manifests


def _parts_stand_alone(manifests: list[Manifest]) -> None:
    """The Make targets apply one part and the settings: every resource belongs to one, and refers to nothing outside of it."""
    parts = {(m["kind"], m["metadata"]["name"]): m["metadata"].get("labels", {}).get(PART, "") for m in manifests}
    if strangers := {called: part for called, part in parts.items() if part not in PARTS}:
        raise Failure(f"no Make target applies {strangers}")
    for manifest in manifests:
        for kind, name, optional in _references(manifest):
            part = parts.get((kind, name), "missing")
            if part not in ("settings", manifest["metadata"]["labels"][PART]) and not optional:
                raise Failure(f"{manifest['metadata']['name']} refers to {kind} {name}, which is {part}")


def _references(manifest: Manifest) -> Iterator[tuple[str, str, bool]]:
    """Kind, name, and whether it may be missing, of every ConfigMap and Secret that the containers name."""
    for source in _sources(manifest):
        for key, reference in source.items():
            yield REFERENCES[key], reference["name"], reference.get("optional", False)


def _sources(manifest: Manifest) -> list[Manifest]:
    containers = manifest.get("spec", {}).get("template", {}).get("spec", {}).get("containers", ())
    named = [entry["valueFrom"] for container in containers for entry in container.get("env", ()) if "valueFrom" in entry]
    return named + [entry for container in containers for entry in container.get("envFrom", ())]


def playable(manifests: list[Manifest], paths: dict[str, bool]) -> Playable:
    """What to play. `paths` says of each image whether it sets PATH itself."""
    manifests = _renamed(deepcopy(manifests))
    services = [manifest for manifest in manifests if manifest["kind"] == "Service"]
    settings = [manifest for manifest in manifests if manifest["kind"] == "ConfigMap"]
    result = Playable()
    for manifest in manifests:
        kind, name = manifest["kind"], manifest["metadata"]["name"]
        if kind == "Secret":
            # podman 4 cannot read back the Secrets that it plays; as JSON every version can.
            result.secrets[name] = manifest["data"]
        elif kind in ("Deployment", "StatefulSet"):
            result.workloads.append(_workload(manifest, services, settings, paths))
        elif kind in NOT_PLAYED:
            say(f"not played: {kind} {name} ({NOT_PLAYED[kind]})")
        elif kind != "ConfigMap":
            raise Failure(f"{kind} {name}: nobody has said how this kind is played")
    return result


def images(manifests: list[Manifest]) -> set[str]:
    return {
        container["image"]
        for manifest in manifests
        if manifest["kind"] in ("Deployment", "StatefulSet")
        for container in manifest["spec"]["template"]["spec"]["containers"]
    }


def _renamed(manifests: list[Manifest]) -> list[Manifest]:
    """Every resource gets the prefix, and so does what refers to it. Services keep their names: settings hold them."""
    for manifest in manifests:
        manifest["metadata"].pop("namespace", None)
        if manifest["kind"] != "Service":
            manifest["metadata"]["name"] = PREFIX + manifest["metadata"]["name"]
        for source in _sources(manifest):
            for reference in source.values():
                reference["name"] = PREFIX + reference["name"]
    return manifests


def _workload(manifest: Manifest, services: list[Manifest], settings: list[Manifest], paths: dict[str, bool]) -> Workload:
    spec = manifest["spec"]
    pod, labels = spec["template"]["spec"], spec["template"]["metadata"]["labels"]
    probes = []
    for container in pod["containers"]:
        for name in PROBES:
            # podman would run HTTP and TCP probes inside the container, by tools that are not in there.
            probe = container.pop(name, None)
            if probe:
                probes.append(_numbered(probe, container))
        if not paths[container["image"]]:
            # An image without PATH gets none from play kube, while every other engine gives it the usual one.
            container.setdefault("env", []).append({"name": "PATH", "value": SYSTEM_PATH})
    claims = _claims(manifest) if manifest["kind"] == "StatefulSet" else []
    aliases = [s["metadata"]["name"] for s in services if s["spec"]["selector"].items() <= labels.items()]
    return Workload(manifest["metadata"]["name"], [*settings, manifest], claims, aliases, probes)


def _claims(manifest: Manifest) -> list[Claim]:
    """podman 4 has no StatefulSet: with one replica it is a Deployment whose claims are volumes."""
    spec = manifest["spec"]
    pod = spec["template"]["spec"]
    container, owner = pod["containers"][0], pod["securityContext"]
    if spec["replicas"] != 1:
        raise Failure(f"{manifest['metadata']['name']}: a StatefulSet of {spec['replicas']} replicas cannot be played as one pod")
    manifest["kind"] = "Deployment"
    del spec["serviceName"]
    claims = []
    for claim in spec.pop("volumeClaimTemplates"):
        called = claim["metadata"]["name"]
        name = f"{manifest['metadata']['name']}-{called}"
        pod.setdefault("volumes", []).append({"name": called, "persistentVolumeClaim": {"claimName": name}})
        path = next(mount["mountPath"] for mount in container["volumeMounts"] if mount["name"] == called)
        claims.append(Claim(name, container["image"], path, f"{owner['runAsUser']}:{owner['fsGroup']}"))
    return claims


def _numbered(probe: Manifest, container: Manifest) -> Manifest:
    """The probe with the port's number instead of its name."""
    ports = {port["name"]: port["containerPort"] for port in container.get("ports", ())}
    for kind in ("httpGet", "tcpSocket"):
        if kind in probe:
            probe[kind]["port"] = ports.get(probe[kind]["port"], probe[kind]["port"])
    return probe


def secret_text(values: dict[str, str]) -> str:
    """A secret as podman keeps the Secrets of Kubernetes."""
    return json.dumps(values)
