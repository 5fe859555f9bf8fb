"""Rules for the tests themselves."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

from tests.kit.plugins.stores import FIRST
from tests.kit.source.tree import parse

ROOT = Path(__file__).resolve().parents[1]
FOLDERS = ("accounts", "agents", "aiagents", "billing", "chat", "tasks", "tests")


def files_of_tests() -> Iterator[tuple[str, ast.Module]]:
    """Every file of every `tests` folder, parsed, with its path from the root."""
    for folder in FOLDERS:
        for path in sorted((ROOT / folder).rglob("*.py")):
            if "tests" in path.relative_to(ROOT).parts:
                yield path.relative_to(ROOT).as_posix(), parse(path.read_text())


def imported_test_modules(tree: ast.Module) -> list[str]:
    names: list[str] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            names += [f"{node.module}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
    return [name for name in names if any(after.startswith("test_") for after in name.partition("tests.")[2].split(".")[:2])]


def test_no_test_module_is_imported():
    """What two of them need stands in a module that holds no tests: beside them, or in tests/kit."""
    wrong = {path: found for path, tree in files_of_tests() if (found := imported_test_modules(tree))}
    assert not wrong


def test_imports_of_test_modules_are_seen():
    for source in (
        "from tests.test_up import Installation",
        "from tests import test_up",
        "from chat.tests.test_views import said",
        "import tests.browser.test_chat",
    ):
        assert imported_test_modules(parse(source)), source
    assert not imported_test_modules(parse("from agents.calls.test_call import run\nfrom tests.kit.servers.live import Live"))


def test_one_fixture_is_the_user():
    found = [
        path
        for path, tree in (*files_of_tests(), ("conftest.py", parse((ROOT / "conftest.py").read_text())))
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef) and node.name == "user" and any("fixture" in ast.unparse(mark) for mark in node.decorator_list)
    ]
    assert found == ["conftest.py"]


def test_the_files_that_come_first_exist():
    assert [name for name in FIRST if not (ROOT / name).exists()] == []


def test_source_is_parsed_by_the_kit_alone():
    """`ast.parse` may fail while another thread formats a traceback; the kit's `parse` does not."""
    calls = [
        (path, node.lineno)
        for path, tree in files_of_tests()
        if path != "tests/kit/source/tree.py"
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and ast.unparse(node) == "ast.parse"
    ]
    assert not calls
