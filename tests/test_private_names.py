"""Tests use the public names of the product's modules."""

from __future__ import annotations

import ast
from collections.abc import Iterator

import pytest

from tests.kit.source.product_modules import ROOT, sources
from tests.kit.source.tree import dotted, last_name, parse, text_files


def modules() -> set[str]:
    """Dotted names of the product's modules and packages."""
    names = {".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__") for path in sources()}
    return names | {name.rpartition(".")[0] for name in names}


MODULES = modules()


def private(name: str) -> bool:
    return name.startswith("_") and not name.endswith("__")


def private_uses(tree: ast.AST) -> Iterator[str]:
    """Private names of product modules: imported, read, assigned or patched."""
    here: dict[str, str] = {}  # the name in this file: the module
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module in MODULES:
            for alias in node.names:
                if f"{node.module}.{alias.name}" in MODULES:
                    here[alias.asname or alias.name] = f"{node.module}.{alias.name}"
                elif private(alias.name):
                    yield f"{node.module}.{alias.name}"
        elif isinstance(node, ast.Import):
            here |= {alias.asname or alias.name: alias.name for alias in node.names if alias.name in MODULES}
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and private(node.attr) and (module := here.get(dotted(node.value))):
            yield f"{module}.{node.attr}"
        elif isinstance(node, ast.Call) and last_name(node.func) in (
            "setattr",
            "delattr",
            "getattr",
            "patch",
            "object",
        ):
            target, name = [*node.args, None, None][:2]
            if isinstance(target, ast.Constant) and isinstance(target.value, str):
                module, _, attribute = target.value.rpartition(".")
                if module in MODULES and private(attribute):
                    yield target.value
            elif isinstance(name, ast.Constant) and private(str(name.value)) and target and (module := here.get(dotted(target))):
                yield f"{module}.{name.value}"


def found() -> list[str]:
    """`file: module.name` of every use in the tests."""
    files = [path for path in text_files(".py") if "tests" in (parts := path.relative_to(ROOT).parts) or parts == ("conftest.py",)]
    return [f"{path.relative_to(ROOT)}: {name}" for path in files for name in private_uses(parse(path.read_text()))]


def test_no_test_uses_a_private_name_of_a_module():
    assert not found(), "give the module a public name for it, or test it through behaviour"


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("hooks._registered = {}", 1), ("hooks.register()", 0), ("hooks.__name__", 0), ('monkeypatch.setattr(hooks, "_registered", {})', 1),
        ('monkeypatch.setattr("accounts.hooks._registered", {})', 1), ("from accounts.hooks import _registered", 1),
        ('setattr(hooks, "registered", {})', 0), ("other._registered", 0),
    ],
)  # fmt: skip
def test_what_counts(line: str, expected: int):
    assert len(list(private_uses(parse(f"from accounts import hooks\n{line}")))) == expected
