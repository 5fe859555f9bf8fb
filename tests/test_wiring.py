"""No import has an effect: what is registered, is registered in `aiagents/wiring.py`. Over the `ast` of every module."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path

import pytest

from tests.kit.source.tree import ROOT, modules, parse

# Calls that hand something to somebody else, in an expression of any kind.
EFFECTS = {
    "register", "unregister", "on_drain", "on_decision", "connect", "install", "source", "gauge", "measure_also", "register_converter",
    "register_at_fork", "add", "append", "extend", "insert", "setdefault", "update", "setitem", "__setitem__", "setattr",
}  # fmt: skip
# file: call. What Django or Celery find by importing, entry points of a process, and what an interpreter must have before anything else.
ALLOWED = [
    ("*/admin/*.py", "admin.register"),
    ("*/admin.py", "admin.register"),
    ("*/admin/*.py", "admin.site.unregister"),
    ("*/admin.py", "admin.site.unregister"),
    ("*/urls.py", "router.register"),
    ("*/templatetags/*.py", "register.filter"),
    # The Celery application itself, with its logging and the request id of its messages.
    ("aiagents/celery.py", "*"),
    ("aiagents/settings/*.py", "*"),
    ("aiagents/asgi.py", "os.environ.setdefault"),
    ("aiagents/server/__main__.py", "os.environ.setdefault"),
    # Each module fills a table of its own, which nothing else adds to.
    ("agents/simulator/rules/*.py", "RULES.add"),
    # Twisted takes one reactor for a process, before anything imports it.
    ("aiagents/server/core.py", "asyncioreactor.install"),
    # prometheus_client asks for its class of values while a metric is made, which happens in the next lines.
    ("aiagents/core/metrics/counters.py", "files.install"),
]


def effects(path: Path, source: str) -> Iterator[tuple[int, str]]:
    """(line, called name) of what runs at import: statements that are a call, and calls and decorators of EFFECTS anywhere else."""
    tree = parse(source, str(path))
    statements = list(_at_import(tree))
    imported = {
        (alias.asname or alias.name).partition(".")[0]
        for node in ast.walk(tree)
        if isinstance(node, ast.Import | ast.ImportFrom)
        for alias in node.names
    }
    for node in statements:
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Call):
            yield node.lineno, ast.unparse(node.value.func)
        for call in _calls(node):
            name = ast.unparse(call.func if isinstance(call, ast.Call) else call)
            if name.rpartition(".")[2] in EFFECTS or ".register." in f".{name}." or ".connect." in f".{name}.":
                yield call.lineno, name
        if isinstance(node, ast.Assign | ast.AugAssign | ast.Delete):
            targets = [node.target] if isinstance(node, ast.AugAssign) else node.targets
            for target in targets:
                # `routing.routes[path] = …`, `module.name = …`: what belongs to another module is changed.
                name = ast.unparse(target)
                if isinstance(target, ast.Subscript | ast.Attribute) and re.split(r"[.\[]", name)[0] in imported:
                    yield node.lineno, name


def _at_import(node: ast.AST) -> Iterator[ast.stmt]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.stmt) and not _is_main(child):
            yield child
            if not isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef):
                yield from _at_import(child)
        elif isinstance(child, ast.ExceptHandler | ast.match_case):
            yield from _at_import(child)


def _is_main(node: ast.stmt) -> bool:
    return isinstance(node, ast.If) and "__name__" in ast.unparse(node.test)


def _calls(node: ast.stmt) -> Iterator[ast.Call | ast.expr]:
    """The calls in a statement's own expressions, and its decorators."""
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        yield from node.decorator_list
        return
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.expr):
            pending: list[ast.AST] = [child]
            while pending:
                one = pending.pop()
                if isinstance(one, ast.Call):
                    yield one
                if not isinstance(one, ast.Lambda):
                    pending += ast.iter_child_nodes(one)


def is_allowed(file: str, name: str) -> bool:
    return any(fnmatch(file, pattern) and fnmatch(name.partition("(")[0], call) for pattern, call in ALLOWED)


def test_no_module_has_an_effect_when_it_is_imported():
    wrong = []
    for _, path in modules():
        file = str(path.relative_to(ROOT))
        wrong += [f"{file}:{line} {name}" for line, name in effects(path, path.read_text()) if not is_allowed(file, name)]
    assert not wrong, "register it in aiagents/wiring.py:\n" + "\n".join(wrong)


def test_every_exception_is_needed():
    found = {
        (pattern, call)
        for _, path in modules()
        for _, name in effects(path, path.read_text())
        for pattern, call in ALLOWED
        if fnmatch(str(path.relative_to(ROOT)), pattern) and fnmatch(name.partition("(")[0], call)
    }
    assert found == set(ALLOWED)


@pytest.mark.parametrize(
    "source, name",
    [
        ("draining.on_drain(turns.drain)", "draining.on_drain"),
        ("if True:\n    register('chat', check)", "register"),
        ("try:\n    pass\nexcept OSError:\n    register('chat', check)", "register"),
        ("found = registry.register(check)", "registry.register"),
        ("door.add('GET', '/x', handler)", "door.add"),
        ("_prepare()", "_prepare"),
        ("@worker_init.connect\ndef f(): ...", "worker_init.connect"),
        ("@register(Tags.security)\ndef f(): ...", "register"),
        ("class A:\n    registry.append(1)", "registry.append"),
        ("from chat.api import routing\nrouting.routes['/x'] = 1", "routing.routes['/x']"),
        ("import values\nvalues.Class = 1", "values.Class"),
        ("for x in y:\n    known.setdefault(x, 1)", "known.setdefault"),
    ],
)
def test_effects_are_seen(source: str, name: str):
    assert name in [found for _, found in effects(Path("sample.py"), source)]


@pytest.mark.parametrize(
    "source", ["def f():\n    register(1)", "f = lambda: register(1)", "if __name__ == '__main__':\n    main()", "x = frozenset()"]
)
def test_what_runs_later_is_no_effect(source: str):
    assert not list(effects(Path("sample.py"), source))


def test_everything_is_registered_once_the_apps_are_loaded():
    """In a process of its own that imports nothing beside Django's set-up: no import of an endpoint or a task adds to it."""
    script = """
import django; django.setup()
from aiagents.core import draining
from aiagents.core.db import soft_deletion
from billing import invariants
from billing.budgets import subjects
def state():
    return (len(draining.registered_callbacks), len(soft_deletion._sweeps), sorted(invariants.registered_checks), sorted(subjects.scopes()))
before = state()
import aiagents.asgi, aiagents.celery
aiagents.celery.app.loader.import_default_modules()
assert state() == before, (before, state())
assert before[0] == 2 and before[1] == 4 and len(before[2]) == 8 and before[3] == ["agent", "key", "task", "user"], before
"""
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
