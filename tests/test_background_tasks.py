"""No task may die unseen: each is awaited by the function that creates it, kept by common.background, or on the list below."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING

import pytest

from tests.test_architecture import ROOT, SOURCES, name_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SEEN_ELSEWHERE = {
    "common/background.py::_add": "the one that watches",
    "common/batching.py::_start": "hands every exception to those who wait for an item",
    "publisher/ahead.py::begin": "awaited by the generator, in the order of the items",
    "publisher/ledger.py::__init__": "wakes whoever waits for the ledger, and _until raises its exception there",
    "publisher/publish.py::_sending": "the confirmation is a page's, and the ledger looks at its result",
    "publisher/scan.py::_start": "puts its exception where the pages go",
    "publisher/schedule.py::_start_due": "_sweep ends with a line in the log whatever happens",
    "worker/intake.py::_start": "the consumer's _one ends with a line in the log whatever happens",
}
"""Function -> why its task cannot end without somebody learning of it."""

MAKERS = {"create_task", "ensure_future"}
Function = ast.FunctionDef | ast.AsyncFunctionDef


def functions(tree: ast.AST) -> Iterator[Function]:
    return (node for node in ast.walk(tree) if isinstance(node, Function))


def own(function: Function) -> Iterator[ast.AST]:
    """The nodes of the function, without those of the functions inside it."""
    waiting: list[ast.AST] = list(function.body)
    while waiting:
        node = waiting.pop()
        yield node
        if not isinstance(node, Function):
            waiting.extend(ast.iter_child_nodes(node))


def names_in(node: ast.AST) -> set[str]:
    return {inner.id for inner in ast.walk(node) if isinstance(inner, ast.Name)}


def makes(node: ast.AST) -> bool:
    """Whether asyncio is told in this node to run something by itself. A TaskGroup waits for its own, and is not meant."""
    return any(
        isinstance(inner, ast.Attribute) and inner.attr in MAKERS and not (names_in(inner) & {"group"})
        for inner in ast.walk(node)
    )


def waited_for(function: Function) -> set[str]:
    """Names that the function awaits, other than to cancel them, or whose result it asks for."""
    found: set[str] = set()
    for node in own(function):
        if isinstance(node, ast.Await):
            call = node.value
            if not (isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id == "cancel"):
                found |= names_in(call)
        elif isinstance(node, ast.Attribute) and node.attr in ("result", "exception") and isinstance(node.value, ast.Name):
            found.add(node.value.id)
    return found


def bound(statement: ast.stmt) -> set[str]:
    """The local names that an assignment gives."""
    targets = statement.targets if isinstance(statement, ast.Assign) else [getattr(statement, "target", None)]
    flat = [part for target in targets for part in (target.elts if isinstance(target, ast.Tuple) else [target])]
    return {part.id for part in flat if isinstance(part, ast.Name)}


def unseen(tree: ast.AST) -> set[str]:
    """Functions that start a task which they do not wait for."""
    found = set()
    for function in functions(tree):
        for node in own(function):
            if isinstance(node, ast.Assign | ast.AnnAssign | ast.Expr | ast.Return) and makes(node):
                names = bound(node) if isinstance(node, ast.Assign | ast.AnnAssign) else set()
                if not names or not names <= waited_for(function):
                    found.add(function.name)
    return found


@pytest.mark.parametrize("path", SOURCES, ids=name_of)
def test_every_task_is_watched(path: Path) -> None:
    found = {f"{name_of(path)}::{name}" for name in unseen(ast.parse(path.read_text(encoding="utf-8")))}
    assert not found - SEEN_ELSEWHERE.keys(), "start it with common.background, or say in SEEN_ELSEWHERE who learns of its end"


def test_the_list_names_nothing_that_is_gone() -> None:
    for place in SEEN_ELSEWHERE:
        path, _, name = place.partition("::")
        assert name in unseen(ast.parse((ROOT / path).read_text(encoding="utf-8"))), f"{place} starts no such task now"


@pytest.mark.parametrize(
    ("body", "seen"),
    [
        ("task = asyncio.create_task(work())\n await task", True),
        ("task = asyncio.create_task(work())\n await asyncio.wait([task, other])", True),
        ("one, two = map(asyncio.ensure_future, both)\n await asyncio.wait([one, two])", True),
        ("task = asyncio.create_task(work())\n await cancel(task)", False),
        ("tasks = [asyncio.create_task(each()) for each in works]\n await cancel(*tasks)", False),
        ("self.task = asyncio.create_task(work())\n await self.task", False),
        ("asyncio.create_task(work())", False),
        ("return Child(asyncio.create_task(work()))", False),
        ("self.tasks.add(asyncio.get_running_loop().create_task(work()))", False),
        ("async with asyncio.TaskGroup() as group:\n  group.create_task(work())", True),
    ],
)
def test_the_look_itself_tells_them_apart(body: str, *, seen: bool) -> None:
    assert unseen(ast.parse(f"async def run(self):\n {body}\n")) == (set() if seen else {"run"})
