"""The floors hold: over the `ast` of every module, function bodies too."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
FLOORS = ["accounts", "billing", "agents", "chat", "tasks"]
CELLAR = ("aiagents.core", "aiagents.monitoring", "aiagents.models", "aiagents.tasks")
# The roof wires and may import every app; settings stand above nothing and import no app.
ROOF = "aiagents"
VENDOR_SDKS = {"openai", "anthropic", "google"}
SDK_ROOM = "agents.providers"


def modules() -> list[tuple[str, Path]]:
    """(dotted name, file) of the product's modules, tests and migrations left out."""
    found = []
    for package in [*FLOORS, ROOF]:
        for path in sorted((ROOT / package).rglob("*.py")):
            parts = path.relative_to(ROOT).with_suffix("").parts
            if "tests" in parts or "migrations" in parts:
                continue
            found.append((".".join(parts[:-1] if parts[-1] == "__init__" else parts), path))
    return found


def imports(name: str, path: Path) -> Iterator[tuple[str, int]]:
    """Every module that is imported anywhere in the file, with its line; imports for types alone count too."""
    package = name if path.name == "__init__.py" else name.rpartition(".")[0]
    for node in ast.walk(ast.parse(path.read_text(), str(path))):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                base = ".".join([*package.split(".")[: len(package.split(".")) - node.level + 1], *([base] if base else [])])
            # `from chat import turns` imports a module, `from chat.turns import Turn` a name: both are named below.
            yield from ((f"{base}.{alias.name}", node.lineno) for alias in node.names)
        elif isinstance(node, ast.Call) and getattr(node.func, "attr", getattr(node.func, "id", "")) == "import_module":
            for argument in node.args[:1]:
                if isinstance(argument, ast.Constant) and isinstance(argument.value, str):
                    yield argument.value, node.lineno


def app_of(module: str) -> str | None:
    head = module.split(".")[0]
    return head if head in FLOORS else None


def floor(module: str) -> int:
    """0 is the cellar; the roof is above all."""
    app = app_of(module)
    if app:
        return FLOORS.index(app) + 1
    return 0 if module.startswith(CELLAR) else len(FLOORS) + 1


def test_the_house_was_found():
    names = {name for name, _ in modules()}
    assert {"accounts.models", "agents.calls.service", "aiagents.core.db.calls", "aiagents.asgi"} <= names
    assert len(names) > 60


def test_no_module_imports_a_higher_floor():
    wrong = []
    for name, path in modules():
        for imported, line in imports(name, path):
            if app_of(imported) and floor(imported) > floor(name):
                wrong.append(f"{path.relative_to(ROOT)}:{line} imports {imported}")
    assert not wrong, "\n".join(wrong)


def test_the_apps_and_the_cellar_do_not_import_the_roof():
    """They may import its settings' values only by `django.conf.settings`."""
    wrong = []
    for name, path in modules():
        if floor(name) > len(FLOORS):
            continue
        for imported, line in imports(name, path):
            if imported.split(".")[0] == ROOF and not imported.startswith(CELLAR):
                wrong.append(f"{path.relative_to(ROOT)}:{line} imports {imported}")
    assert not wrong, "\n".join(wrong)


def test_vendor_sdks_are_imported_in_their_room_only():
    wrong = [
        f"{path.relative_to(ROOT)}:{line} imports {imported}"
        for name, path in modules()
        if not name.startswith(SDK_ROOM)
        for imported, line in imports(name, path)
        if imported.split(".")[0] in VENDOR_SDKS
    ]
    assert not wrong, "\n".join(wrong)


def test_no_import_circles_between_modules():
    """At module level: what is imported while a module loads. (Between apps the floors already forbid them.)"""
    names = dict(modules())
    edges: dict[str, set[str]] = {}
    for name, path in modules():
        tree = ast.parse(path.read_text())
        found = set()
        for node in tree.body:
            if isinstance(node, ast.Import):
                found |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and not node.level:
                for alias in node.names:
                    found.add(f"{node.module}.{alias.name}" if f"{node.module}.{alias.name}" in names else str(node.module))
        edges[name] = {target for target in found if target in names and target != name}
    circle = find_circle(edges)
    assert circle is None, " -> ".join(circle or [])


def find_circle(edges: dict[str, set[str]]) -> list[str] | None:
    done: set[str] = set()

    def walk(node: str, trail: list[str]) -> list[str] | None:
        if node in trail:
            return [*trail[trail.index(node) :], node]
        if node in done:
            return None
        for target in sorted(edges.get(node, ())):
            if circle := walk(target, [*trail, node]):
                return circle
        done.add(node)
        return None

    return next((circle for node in sorted(edges) if (circle := walk(node, []))), None)


# --- the tests of this test: each rule sees what it forbids --------------------------------------


@pytest.mark.parametrize(
    "source, imported",
    [
        ("from chat.turns import service as turns", "chat.turns.service"),
        ("import chat.turns", "chat.turns.service"),
        ("def f():\n    from chat.turns.service import start", "chat.turns.service.start"),
        ("if TYPE_CHECKING:\n    from chat.turns.service import Turn", "chat.turns.service.Turn"),
        ("importlib.import_module('chat.turns.service')", "chat.turns.service"),
        ("from .calls import stream", "agents.calls.service.stream"),
        ("from ..chat import turns", "chat.turns.service"),
    ],
)
def test_every_way_to_import_is_seen(tmp_path: Path, source: str, imported: str):
    path = tmp_path / "sample.py"
    path.write_text(source)
    assert imported in [found for found, _ in imports("agents.sample", path)]


def test_circles_are_found():
    assert find_circle({"a": {"b"}, "b": {"c"}, "c": {"b"}}) == ["b", "c", "b"]
    assert find_circle({"a": {"b", "c"}, "b": {"c"}, "c": set()}) is None


def test_floors_stand_in_order():
    assert floor("aiagents.core.db.calls") < floor("accounts.models") < floor("billing.ledger.service") < floor("agents.calls.service")
    assert floor("agents.calls.service") < floor("chat.turns.service") < floor("tasks.models") < floor("aiagents.asgi")
