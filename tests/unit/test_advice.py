"""What errors advise can be done: every variable, option, command and setting that a message of ours names exists."""

from __future__ import annotations

import ast
import re
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

import click
import pytest

from brigade.__main__ import COMMANDS, brigade
from common import config, settings_sources
from common.advice import set_option

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parent.parent.parent
SOURCES = sorted(path for house in ("brigade", "publisher", "worker", "common") for path in (ROOT / house).rglob("*.py"))
OTHERS = {
    *("AWS_PROFILE", "AWS_S3_BUCKET", "BRIGADE_CONFIG", "BRIGADE_KILL_AT", "GCP_BUCKET_NAME"),
    *("GOOGLE_APPLICATION_CREDENTIALS", "SSL_CERT_DIR", "SSL_CERT_FILE"),
}
"""Names in messages that are read by others than the settings, or are no variables."""
_VARIABLE = re.compile(r"\b(?:AWS|GCP|GDRIVE|BRIGADE|REDIS|SYSTEM|PUBSUB|RETRY|STORAGE|GOOGLE|SSL)_[A-Z][A-Z0-9_]*\b")
_OPTION = re.compile(r"(?<![\w-])--[a-z][a-z-]+")
_COMMAND = re.compile(r"`?brigade ([a-z][a-z-]+)")
_NO_COMMANDS = {"process", "sync"}


def texts(path: Path) -> Iterator[str]:
    """Every text of a file that is no docstring and long enough to be a sentence."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    docs = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
        and node.body
        and isinstance(node.body[0], ast.Expr)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docs and " " in node.value:
            yield node.value


def options(command: click.Command) -> Iterator[str]:
    for parameter in command.params:
        yield from (name for name in (*parameter.opts, *parameter.secondary_opts) if name.startswith("--"))
    if isinstance(command, click.Group):
        for inner in command.commands.values():
            yield from options(inner)


KNOWN_VARIABLES = {name for variable in settings_sources.ENVIRONMENT for name in variable.names}
KNOWN_OPTIONS = {
    *options(brigade),
    *(option for name, module in COMMANDS.items() for option in options(getattr(import_module(f"brigade.{module}"), module))),
    "--help", "--no-browser",
}  # fmt: skip


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_what_a_message_names_exists(path: Path) -> None:
    for text in texts(path):
        for name in _VARIABLE.findall(text):
            bare = name.removesuffix("_FILE")
            assert name in OTHERS or KNOWN_VARIABLES & {name, bare}, (name, text)
        for option in _OPTION.findall(text):
            assert option in KNOWN_OPTIONS or _of_another_program(option, text), (option, text)
        for command in _COMMAND.findall(text):
            assert command in COMMANDS or command in _NO_COMMANDS, (command, text)


def _of_another_program(option: str, text: str) -> bool:
    """`gcloud … --option`, `aws … --option`: somebody else's."""
    return re.search(rf"\b(gcloud|aws|kubectl|redis-server|mount|ulimit)\b[^;]*{option}", text) is not None


def test_an_option_can_be_set_where_the_advice_is_given() -> None:
    assert set(re.findall(r"--[a-z-]+", set_option("compat", "basic"))) <= KNOWN_OPTIONS
    for name in ("compat", "region", "user_project"):
        assert name in config.StoreOptions.model_fields
