"""`make test-compose`: both ways to run the line in containers, proved. Exit code 0 also where there is no container engine."""

from __future__ import annotations

import sys

from tests.compose import cluster, line, manifests
from tests.compose.engine import Failure, Unavailable, find, say


def main(parts: list[str]) -> int:
    """`parts` picks from `compose` and `kubernetes` (which needs the images of the other); nothing means both."""
    chosen = set(parts) or {"compose", "kubernetes"}
    try:
        rendered = manifests.render()
        engine = find()
        if "compose" in chosen:
            line.prove(engine)
        if "kubernetes" in chosen and engine.is_podman:
            cluster.prove(engine, rendered)
        elif "kubernetes" in chosen:
            say("SKIPPED: the manifests can only be played by podman, and the engine here is docker")
    except Unavailable as reason:
        say(f"SKIPPED: {reason}")
    except Failure as failure:
        say(f"FAILED: {failure}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
