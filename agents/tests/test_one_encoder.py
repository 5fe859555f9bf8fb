"""Every event of the vocabulary is built in `agents/events.py`; no other module writes an event's name and its data."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.conf import settings

from tests.kit.source.tree import parse

ROOT = Path(settings.BASE_DIR)
ENCODER = ROOT / "agents/events.py"
# What takes an event's name and its data.
TAKES_EVENT = {"add", "end", "event", "close", "write"}
# The answer of a stream that failed, in a layer that knows no events of agents.
MAY_WRITE_ERROR = {"aiagents/core/http/exchange.py"}
_TREE = parse(ENCODER.read_text())
NAMES = {
    node.value
    for node in ast.walk(_TREE)
    if isinstance(node, ast.Constant) and isinstance(node.value, str) and re.fullmatch(r"[a-z]+\.[a-z]+", node.value)
}  # fmt: skip


def product_modules() -> Iterator[Path]:
    for app in ("accounts", "agents", "aiagents", "billing", "chat", "tasks"):
        for path in sorted((ROOT / app).rglob("*.py")):
            if path != ENCODER and not {"tests", "migrations"} & set(path.parts):
                yield path


def built(source: str, *, may_write_error: bool = False) -> list[tuple[int, str]]:
    """The line and the name of each event that this source builds. A name that is only compared with is not one."""
    tree = parse(source)
    compared = {
        id(part)
        for node in ast.walk(tree)
        if isinstance(node, ast.Compare | ast.match_case | ast.Set)
        for part in ast.walk(node.pattern if isinstance(node, ast.match_case) else node)
    }
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Tuple | ast.Call) and id(node) not in compared:
            parts = node.elts if isinstance(node, ast.Tuple) else node.args
            given = [part.value for part in parts if isinstance(part, ast.Constant)]
            with_data = len(given) < len(parts)
            names = NAMES | ({"error"} if _takes_event(node) and not may_write_error else set())
            found += [(node.lineno, name) for name in given if with_data and name in names]
    return found


def _takes_event(node: ast.AST) -> bool:
    function = getattr(node, "func", None)
    return getattr(function, "attr", getattr(function, "id", "")) in TAKES_EVENT


def test_the_names_are_read_from_the_encoder() -> None:
    assert {"message.start", "message.end", "message.rewind", "content.delta", "tool.call", "run.status", "task.status"} <= NAMES


@pytest.mark.parametrize(
    ("source", "name"),
    [
        ('def event(run):\n    return "run.status", dumps(state(run))', "run.status"),
        ('feed.add("message.start", dumps(ids))', "message.start"),
        ('yield sse.event("task.status", dumps(snapshot(task)))', "task.status"),
        ('yield 0, "message.start", data', "message.start"),
        ('broadcast.end("error", dumps(body))', "error"),
    ],
)
def test_an_event_built_elsewhere_is_found(source: str, name: str) -> None:
    assert [found for _, found in built(source)] == [name]


@pytest.mark.parametrize("source", ['kind == "message.end"', 'kind in ("message.end", "error")', 'TERMINAL = ("message.end", "error")'])
def test_a_name_that_is_compared_with_is_no_event(source: str) -> None:
    assert built(source) == []


@pytest.mark.parametrize("path", list(product_modules()), ids=lambda path: str(path.relative_to(ROOT)))
def test_no_other_module_builds_an_event(path: Path) -> None:
    assert built(path.read_text(), may_write_error=str(path.relative_to(ROOT)) in MAY_WRITE_ERROR) == []
