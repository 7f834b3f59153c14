"""What the documentation says, held against the code: settings that are read, messages that are raised, commands that exist.

Whoever reads the walk-throughs has no time to find out which of them has drifted.
"""

from __future__ import annotations

import ast
import base64
import json
import re
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import click
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from brigade.__main__ import brigade
from common import config, settings_sources, trust
from common.errors import Category
from common.location import SCHEMES
from common.settings import EVERYTHING, load
from common.transport.google_token import DRIVE_SCOPE

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
SETTINGS = ROOT / "docs/settings.md"
WALKS = sorted((ROOT / "docs/routes").glob("*.md"))
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")), *WALKS]
SECTIONS: dict[str, type[config.Shape]] = {
    "queue": config.QueueSettings,
    "redis": config.RedisSettings,
    "worker": config.WorkerSettings,
    "publisher": config.PublisherSettings,
    "api": config.ApiSettings,
    "log": config.LogSettings,
    "health": config.HealthSettings,
}
WITHOUT_A_TABLE: dict[str, type[config.Shape]] = {"aws": config.Aws, "google": config.Google}
FROM_THE_ENVIRONMENT = {"private_key"}
"""A field of the shapes that no file may have."""
BESIDE = {"COMPOSE", "ENV_FILE", "PUBLISHER_PORT", "BRIGADE_KILL_AT", "XDG_STATE_HOME", "HTTPS_PROXY", "NO_PROXY"}
"""What others than the settings read from the environment."""
ENVIRON = {
    "GCP_PROJECT_ID": "project",
    "REDIS_ADDRESS": "localhost:6379",
    "SYSTEM_ADMIN_USERNAME": "admin",
    "SYSTEM_ADMIN_PASSWORD": "password",
}
_BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_VARIABLE = re.compile(r"`([A-Z][A-Z0-9]*_[A-Z0-9_]+|COMPOSE)`")
_QUOTED = re.compile(r"`([^`]+)`")
SHORTEST_PIECE = 10
"""Characters. A shorter piece of a message may stand in the code by chance."""


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def blocks(page: Path, kind: str) -> list[str]:
    return [text for found, text in _BLOCK.findall(page.read_text(encoding="utf-8")) if found == kind]


def rows(page: Path) -> Iterator[tuple[str, list[str]]]:
    """(first cell of the heading, cells) of every row of every table."""
    heading = None
    for line in page.read_text(encoding="utf-8").splitlines():
        if not line.startswith("|"):
            heading = None
            continue
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if heading is None:
            heading = cells
        elif set("".join(cells)) != {"-"}:
            yield " | ".join(heading).strip(" |"), cells


@pytest.fixture(scope="module")
def key() -> str:
    made = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    return base64.b64encode(made.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())).decode()


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The files that the walk-throughs have made by the time that they show their settings."""
    monkeypatch.chdir(tmp_path)
    account = {"type": "service_account", "client_email": "a@b", "private_key": "k", "token_uri": "https://t"}
    token = {"refresh_token": "r", "client_id": "i", "client_secret": "s", "scopes": [DRIVE_SCOPE]}
    (tmp_path / "service-account.json").write_text(json.dumps(account))
    (tmp_path / "token.json").write_text(json.dumps(token))


def environment(page: Path, key: str) -> dict[str, str]:
    """What the page says to set; where it says nothing, what no fleet can do without."""
    found = [line.split("=", 1) for text in blocks(page, "env") for line in text.splitlines()]
    environ = {name: key if name == "CLOUDFRONT_PRIVATE_KEY" else value for name, value in found} or dict(ENVIRON)
    return {name: value for name, value in environ.items() if name != settings_sources.CONFIG_NAME}


@pytest.mark.usefixtures("files")
@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_settings_file_can_be_loaded(page: Path, tmp_path: Path, key: str) -> None:
    for text in blocks(page, "toml"):
        # Given a settings file, and the environment that goes with it
        (tmp_path / "brigade.toml").write_text(text, encoding="utf-8")

        # When it is loaded as the publisher and the workers load it
        settings = load(environment(page, key), None, needs=EVERYTHING)

        # Then there is no fault in it, and every route of it is there
        assert [route.name for route in settings.routes] == [route["name"] for route in tomllib.loads(text)["route"]]


@pytest.mark.parametrize("page", WALKS, ids=name_of)
def test_a_walk_through_is_whole(page: Path) -> None:
    assert blocks(page, "toml")
    assert blocks(page, "env")
    known = {name for variable in settings_sources.ENVIRONMENT for name in variable.names}
    given = {line.split("=", 1)[0] for text in blocks(page, "env") for line in text.splitlines()}
    assert given - known <= {settings_sources.CONFIG_NAME, "CLOUDFRONT_PRIVATE_KEY"}
    for text in blocks(page, "json"):
        assert json.loads(text)["Version"] == "2012-10-17"


def test_the_pages_are_there() -> None:
    assert len(WALKS) == 3
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert all(name_of(page) in readme for page in PAGES[1:])
    assert all(f"`{category}`" in readme for category in Category)
    assert all(f"`{scheme}://" in readme for scheme in SCHEMES if scheme != "memory")


def read_from_the_environment() -> set[str]:
    names = {name for variable in settings_sources.ENVIRONMENT for name in variable.names}
    secrets = {f"{variable.names[0]}_FILE" for variable in settings_sources.ENVIRONMENT if variable.secret}
    ours = {settings_sources.CONFIG_NAME, settings_sources.SOURCE_BUCKET, settings_sources.DESTINATION_BUCKET}
    return names | secrets | ours | {*trust.FILES, trust.FOLDER} | BESIDE


def test_the_settings_page_has_every_variable_and_no_other() -> None:
    named = set(_VARIABLE.findall(SETTINGS.read_text(encoding="utf-8")))
    assert named == read_from_the_environment()


def test_what_others_read_is_still_read() -> None:
    sources = [*strings(), (ROOT / "docker-compose.yml").read_text(), (ROOT / "deploy/compose").read_text()]
    for name in BESIDE:
        assert any(name in text for text in sources), f"nobody reads {name}"


def test_the_example_of_an_environment_has_every_setting() -> None:
    text = (ROOT / ".env.example").read_text(encoding="utf-8")
    there = set(re.findall(r"^(?:# )?([A-Z][A-Z0-9_]+)=", text, re.MULTILINE))
    assert {variable.names[0] for variable in settings_sources.ENVIRONMENT} <= there
    assert there <= read_from_the_environment() | {"CLOUDFRONT_PRIVATE_KEY"}


def test_each_variable_stands_beside_the_setting_that_it_is() -> None:
    known = {variable.names[0]: variable for variable in settings_sources.ENVIRONMENT}
    seen = set()
    for heading, (variable, setting, default, *_) in with_a_section():
        section = re.findall(r"in `\[(\w+)\]`", heading)[0]
        name = _QUOTED.findall(setting)
        if variable:
            first = _QUOTED.findall(variable)[0]
            seen.add(first)
            assert known[first].section == section
            assert name == ([] if known[first].secret else [known[first].setting])
        if name:
            is_default(SECTIONS[section], name[0], default)
    assert seen == {name for name, variable in known.items() if variable.section in SECTIONS}


def test_the_defaults_of_what_the_environment_alone_has() -> None:
    known = {variable.names[0]: variable for variable in settings_sources.ENVIRONMENT}
    for cells in (cells for heading, cells in rows(SETTINGS) if heading == "environment | default"):
        for name in _QUOTED.findall(cells[0]):
            if name in known and _QUOTED.findall(cells[1]):
                is_default(WITHOUT_A_TABLE[known[name].section], known[name].setting, cells[1])


def with_a_section() -> list[tuple[str, list[str]]]:
    return [(heading, cells) for heading, cells in rows(SETTINGS) if heading.startswith("environment | in ")]


@pytest.mark.parametrize(
    ("title", "shape"),
    [
        ("`[[route]]` | default", config.Route),
        ("name | default | for", config.StoreOptions),
        ("name | default", config.Cdn),
    ],
)
def test_the_settings_page_has_every_setting_of_a_route(title: str, shape: type[config.Shape]) -> None:
    found = [cells for heading, cells in rows(SETTINGS) if heading == title]
    names = [name for cells in found for name in _QUOTED.findall(cells[0])]
    assert sorted(names) == sorted(set(shape.model_fields) - FROM_THE_ENVIRONMENT)
    for cells in found:
        for name in _QUOTED.findall(cells[0]):
            is_default(shape, name, cells[1])
            one_of = [value for value in get_args(shape.model_fields[name].annotation) if isinstance(value, str)]
            text = SETTINGS.read_text(encoding="utf-8") if name == "compat" else " ".join(cells)
            assert all(f"`{value}`" in text for value in one_of), f"{name} can be one of {one_of}"


def is_default(shape: type[config.Shape], setting: str, cell: str) -> None:
    """`value` in the cell is the setting's default; nothing says that there is none, words say how it is found."""
    field = shape.model_fields[setting]
    written = _QUOTED.findall(cell)
    if not written:
        computed = field.default_factory is not None
        assert bool(cell) == (computed and field.default_factory is not dict), f"{setting}: default {cell!r}"
        if not computed:
            assert field.is_required() or not field.default or isinstance(field.default, config.Shape), setting
        return
    required: dict[str, Any] = {name: "x" for name, each in shape.model_fields.items() if each.is_required()}
    if shape is config.Route:
        required |= {"source": "s3://a-bucket", "destination": "gs://a-bucket"}
    said, usual = shape.model_validate({**required, setting: written[0]}), shape.model_validate(required)
    assert getattr(said, setting) == getattr(usual, setting), f"{setting} is not {written[0]} by default"


def strings() -> list[str]:
    """Every text in the code, f-strings in their pieces."""
    return [
        node.value
        for house in ("brigade", "publisher", "worker", "common")
        for path in sorted((ROOT / house).rglob("*.py"))
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    ]


@pytest.mark.parametrize("page", WALKS, ids=name_of)
def test_every_message_that_is_quoted_is_said_by_the_code(page: Path) -> None:
    # Given what the tables quote
    known = [text for each in strings() if len(text := each.strip(" ;:,.'\n")) >= SHORTEST_PIECE]
    quoted = [text for heading, cells in rows(page) if "it says" in heading for text in _QUOTED.findall(cells[0])]
    quoted += [text for heading, cells in rows(page) if heading.startswith("`reason`") for text in _QUOTED.findall(cells[1])]
    assert len(quoted) > 10

    # Then it stands in the code, but for what a message fills in: names, numbers, the service's own words
    for text in quoted:
        found = said(text, known)
        shown = "".join(letter if place in found else "_" for place, letter in enumerate(text))
        assert len(found) > len(text) * 0.5, f"of {text!r} the code says {shown!r}"


def said(text: str, known: list[str]) -> set[int]:
    """The places of the letters that belong to pieces of the code. A piece is there whole; only at a "…" it may be cut off."""
    found: set[int] = set()
    for piece in known:
        if (at := text.find(piece)) >= 0:
            found.update(range(at, at + len(piece)))
    for part in re.finditer("[^…]+", text):
        start, end = part.span()
        bare = part[0].strip(" ;:,.'")
        if any(bare in piece for piece in known):
            found.update(range(start, end))
            continue
        for piece in known:
            if part[0][-SHORTEST_PIECE:] in piece:
                found.update(*(range(at, end) for at in range(start, end - SHORTEST_PIECE) if piece.startswith(text[at:end])))
            if part[0][:SHORTEST_PIECE] in piece:
                found.update(*(range(start, at) for at in range(start + SHORTEST_PIECE, end) if piece.endswith(text[start:at])))
    return found


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_command_of_ours_exists(page: Path) -> None:
    makefile = (ROOT / "Makefile").read_text()
    every = [makefile, *((ROOT / name).read_text() for name in re.findall(r"^include (\S+)$", makefile, re.MULTILINE))]
    targets = {target for text in every for target in re.findall(r"^([a-z][a-z-]*):", text, re.MULTILINE)}
    for command in commands(page):
        words = command.split()
        if words[0] == "make":
            given = [word for word in words[1:] if re.fullmatch(r"[a-z][a-z-]*", word)]
            assert set(given) <= targets, command
        else:
            parse(command, words[1:])


def commands(page: Path) -> Iterator[str]:
    text = page.read_text(encoding="utf-8")
    for kind, block in _BLOCK.findall(text):
        if kind in ("", "sh"):
            joined = re.sub(r"\\\n\s*", " ", block)
            for line in joined.splitlines():
                bare = line.removeprefix("$ ").split("#")[0].removesuffix("&").strip()
                found = re.search(r"(?:^|(?<=&& )|(?<=publisher ))(?:\.venv/bin/)?((?:brigade|make) .*)", bare)
                if found and "{" not in found[1]:
                    yield found[1]
    for quoted in _QUOTED.findall(_BLOCK.sub("", text)):
        if re.match(r"(\.venv/bin/)?brigade (auth|cache|check-config|errors|jobs|publish|sync|work)\b", quoted):
            yield quoted.removeprefix(".venv/bin/")


def parse(command: str, words: list[str]) -> None:
    """Every command and option on the line is one of ours."""
    here: click.Command = brigade
    with click.Context(brigade) as context:
        for word in words:
            if isinstance(here, click.Group) and not word.startswith("-"):
                found = here.get_command(context, word)
                assert found is not None, f"{command}: there is no command {word!r}"
                here = found
            elif word.startswith("--"):
                known = {option for parameter in here.params for option in parameter.opts}
                assert word.split("=")[0] in known, f"{command}: there is no option {word}"


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_link_leads_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8")):
        if "://" in target:
            continue
        path, _, anchor = target.partition("#")
        there = (page.parent / path).resolve() if path else page
        assert there.exists(), f"{target} leads nowhere"
        if anchor:
            assert anchor in anchors(there), f"{target}: there is no such heading"


def anchors(page: Path) -> set[str]:
    """As GitHub makes them of headings."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
