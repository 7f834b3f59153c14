"""The layers, held by a test instead of goodwill: who may import whom, where each library may appear, how long a file may be."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
HOUSES = ("brigade", "publisher", "worker", "common")
MAY_IMPORT = {
    "brigade": {"publisher", "worker", "common"},
    "publisher": {"common"},
    "worker": {"common"},
    "common": set[str](),
}
"""brigade -> publisher, worker -> common. Publisher and worker meet only in the queue and in Redis."""

ONLY_IN = {
    "redis": ("common/state/", "common/queues/redis_streams"),
    "grpc": ("common/queues/pubsub",),
    "google.pubsub_v1": ("common/queues/pubsub",),
    "google.api_core": ("common/queues/pubsub",),
    "google.auth": ("common/transport/google.py", "common/queues/pubsub_identity.py"),
    "google.oauth2": ("common/transport/google.py", "common/queues/pubsub_identity.py"),
    "google_auth_oauthlib": ("brigade/auth.py",),
    "oauthlib": ("brigade/auth.py",),
    "googleapiclient": ("common/storage/gdrive/control.py",),
    "aiohappyeyeballs": ("common/transport/",),
    "boto3": ("common/transport/aws_machine.py",),
    "botocore": ("common/transport/aws_machine.py",),
    "cryptography": ("common/transport/cloudfront.py",),
    "flask": ("publisher/api/",),
    "werkzeug": ("publisher/api/",),
    "waitress": ("publisher/api/",),
    "click": ("brigade/",),
    "rich": ("brigade/",),
    "structlog": ("common/telemetry.py", "common/redaction.py"),
}
"""Where a library may be imported: a fault in it, or its replacement, concerns these files and no other."""

LONGEST = 500
LONGER: dict[str, str] = {}
"""Files that may be longer than LONGEST lines, and why."""

VAGUE = {"utils", "util", "helpers", "helper", "misc", "common_utils"}

SOURCES = sorted(path for house in HOUSES for path in (ROOT / house).rglob("*.py"))


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def imports(path: Path) -> set[str]:
    """Modules that the file imports, also inside functions and for type checking only."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            assert node.level == 0, f"{name_of(path)}: relative imports hide which house they lead to"
            found.update({node.module, *(f"{node.module}.{alias.name}" for alias in node.names)})
    return found


def test_the_houses_are_there() -> None:
    assert len(SOURCES) > 50
    assert {name_of(path).split("/")[0] for path in SOURCES} == set(HOUSES)


@pytest.mark.parametrize("path", SOURCES, ids=name_of)
def test_imports_follow_the_arrow(path: Path) -> None:
    house = name_of(path).split("/")[0]
    for module in imports(path):
        other = module.split(".")[0]
        assert other != "tests", f"{name_of(path)} imports {module}"
        assert other not in HOUSES or other == house or other in MAY_IMPORT[house], f"{name_of(path)} imports {module}"


@pytest.mark.parametrize("path", SOURCES, ids=name_of)
def test_libraries_stay_where_they_belong(path: Path) -> None:
    for module in imports(path):
        for library, places in ONLY_IN.items():
            if module == library or module.startswith(library + "."):
                assert name_of(path).startswith(places), f"{name_of(path)} imports {module}, which belongs in {', '.join(places)}"


@pytest.mark.parametrize("path", SOURCES, ids=name_of)
def test_files_stay_small_and_say_why_they_exist(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert text.count("\n") <= LONGEST or name_of(path) in LONGER
    assert path.stem not in VAGUE
    if path.name != "__init__.py":
        assert ast.get_docstring(ast.parse(text)), f"{name_of(path)} has no docstring"


def test_no_exception_outlives_its_file() -> None:
    for name in LONGER:
        assert (ROOT / name).read_text(encoding="utf-8").count("\n") > LONGEST, f"{name} is short now: take it off the list"
