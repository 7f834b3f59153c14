"""The image of production: no root, no shell between it and SIGTERM, everything that it needs, nothing that installs or tests."""

from __future__ import annotations

from tests.compose.engine import ROOT, Engine, Failure, say

IMAGE = "bucketbrigade"
PACKAGES = ("brigade", "common", "publisher", "worker")
NOT_NEEDED = ("pip", "setuptools", "moto", "pytest", "tests")
_FIND_MODULES = f"import importlib.util as i; print(*(name for name in {NOT_NEEDED!r} if i.find_spec(name)))"
_LIST_SCRIPTS = """
import common, pathlib
top = pathlib.Path(common.__file__).parents[1]
print(*(path.relative_to(top) for path in top.rglob("*.lua")))
"""


def prove(engine: Engine) -> None:
    """Raises Failure for the first thing that is not as it must be."""
    facts = engine.inspect(IMAGE)
    config = facts["Config"]
    # docker has the health check in Config, podman beside it.
    found = (config["User"], config["Entrypoint"], bool(config.get("Healthcheck") or facts.get("Healthcheck")))
    if found != ("10001:10001", ["brigade"], True):
        raise Failure(f"the image has user, entrypoint, health check: {found}")
    if extra := _python(engine, _FIND_MODULES):
        raise Failure(f"the image holds what it does not need: {sorted(extra)}")
    scripts = {str(path.relative_to(ROOT)) for package in PACKAGES for path in (ROOT / package).rglob("*.lua")}
    if lacking := scripts - _python(engine, _LIST_SCRIPTS):
        raise Failure(f"the image lacks {sorted(lacking)}: [tool.setuptools.package-data] does not name them")
    if "Usage: brigade" not in engine.run("run", "--rm", "--read-only", "--network", "none", IMAGE):
        raise Failure("the image does not say how it is used")
    say("the image holds what it needs and no more")


def _python(engine: Engine, program: str) -> set[str]:
    """The words that a Python program writes in the image."""
    written = engine.run("run", "--rm", "--read-only", "--network", "none", "--entrypoint", "python", IMAGE, "-c", program)
    return set(written.split())
