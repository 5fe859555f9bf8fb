"""Rules for the tests themselves."""

from __future__ import annotations

import ast
import io
import tokenize
from collections.abc import Iterator
from pathlib import Path

from tests.kit.plugins.stores import FIRST
from tests.kit.source.tree import dotted, last_name, parse, text_files

ROOT = Path(__file__).resolve().parents[1]
FOLDERS = ("accounts", "agents", "aiagents", "billing", "chat", "tasks", "tests")


def paths_of_tests() -> Iterator[str]:
    """Every file of every `tests` folder, from the root."""
    for path in text_files(".py"):
        parts = path.relative_to(ROOT).parts
        if parts[0] in FOLDERS and "tests" in parts:
            yield path.relative_to(ROOT).as_posix()


def files_of_tests() -> Iterator[tuple[str, ast.Module]]:
    """Every file of every `tests` folder, parsed, with its path from the root."""
    for path in paths_of_tests():
        yield path, parse((ROOT / path).read_text())


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
        if isinstance(node, ast.Attribute) and dotted(node) == "ast.parse"
    ]
    assert not calls


# A sleep of 0 lets other tasks run. One of so many seconds stands for something that never ends.
NEVER_ENDS = 30


def guessed_sleeps(source: str) -> list[int]:
    """Lines that sleep for some time without a comment that says why."""
    commented = {token.start[0] for token in tokenize.generate_tokens(io.StringIO(source).readline) if token.type == tokenize.COMMENT}
    return [
        node.lineno
        for node in ast.walk(parse(source))
        if isinstance(node, ast.Call) and last_name(node.func) == "sleep" and node.lineno not in commented
        if not (isinstance(node.args[0], ast.Constant) and (node.args[0].value == 0 or node.args[0].value >= NEVER_ENDS))
    ]


def test_no_test_guesses_how_long_something_takes():
    """It waits for a condition with tests/kit/waiting.py. Where a time is what the test is about, a comment says so."""
    wrong = {
        path: found
        for path in paths_of_tests()
        if not path.startswith("tests/kit/")
        if (found := guessed_sleeps((ROOT / path).read_text()))
    }
    assert not wrong


def test_guessed_sleeps_are_seen():
    for line in ("time.sleep(0.1)", "await asyncio.sleep(1)", "sleep(seconds)", "while x: time.sleep(0.01)", '__import__("time").sleep(3)'):
        assert guessed_sleeps(f"async def f():\n    {line}") == [2], line
        assert not guessed_sleeps(f"async def f():\n    {line}  # a slow reader"), line
    assert not guessed_sleeps("async def f():\n    await asyncio.sleep(0)\n    await asyncio.sleep(3600)")
