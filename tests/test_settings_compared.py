"""Wherever the product compares a setting with a word, the setting is a closed set and the word is one of it."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

from aiagents.settings.env import Env
from tests.kit.servers.server_process import ROOT
from tests.kit.source.tree import parse

PACKAGES = ("aiagents", "accounts", "billing", "agents", "chat", "tasks")
# Set by the product itself to one of these, not by the operator.
COMPUTED: dict[str, set[str]] = {"ENVIRONMENT": {"test"}}
# Settings whose text is looked at and that are no closed set, each with the reason why that is safe.
LOOKED_AT = {
    "HOST": "up.py: the address at which it asks itself, where HOST stands for all addresses",
    "SITE_URL": "its scheme decides on secure cookies; aiagents/settings/values.py admits http and https only, in lower case",
}
_METHODS = {"startswith", "endswith"}


def _closed() -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for name, info in Env.model_fields.items():
        for part in [info.annotation, *get_args(info.annotation)]:
            if get_origin(part) is Literal:
                found[name.upper()] = {*get_args(part)} | COMPUTED.get(name.upper(), set())
    return found


def _setting(node: ast.expr, in_settings: bool) -> str | None:
    """The setting that an expression names: `settings.X`, `env.x`, in the settings' own modules `X`."""
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in {"lower", "upper", "strip"}:
        return _setting(node.func.value, in_settings)
    if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in {"settings", "env"}:
        if node.attr == "model_fields_set":  # which settings are given, not what to
            return None
        return node.attr.upper()
    if in_settings and isinstance(node, ast.Name) and node.id.upper() in {name.upper() for name in Env.model_fields}:
        return node.id.upper()
    return None


def _words(node: ast.expr) -> set[str]:
    return {part.value for part in ast.walk(node) if isinstance(part, ast.Constant) and isinstance(part.value, str)}


def comparisons(tree: ast.AST, in_settings: bool) -> Iterator[tuple[str, set[str]]]:
    """(setting, the words that it is compared with)."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Compare):
            sides = [node.left, *node.comparators]
            for side in sides:
                words = set().union(*(_words(other) for other in sides if other is not side))
                if (name := _setting(side, in_settings)) and words:
                    yield name, words
        elif isinstance(node, ast.Match) and (name := _setting(node.subject, in_settings)):
            yield name, set().union(*(_words(part) for case in node.cases for part in ast.walk(case.pattern) if isinstance(part, ast.expr)))
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            name = _setting(node.func.value, in_settings) if node.func.attr in _METHODS else None
            if name:
                yield name, set().union(*(_words(part) for part in node.args))


def _product() -> Iterator[tuple[Path, str, set[str]]]:
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            if "tests" in path.parts or "migrations" in path.parts:
                continue
            in_settings = path.parent == ROOT / "aiagents" / "settings" and path.name != "exposure.py"
            for name, words in comparisons(parse(path.read_text()), in_settings):
                yield path.relative_to(ROOT), name, words


def test_a_setting_is_compared_with_words_of_its_closed_set_only():
    closed, found = _closed(), list(_product())
    wrong = [
        f"{path}: {name} with {sorted(words)}"
        for path, name, words in found
        if name not in LOOKED_AT and not (name in closed and words <= closed[name])
    ]
    assert not wrong
    assert {name for _, name, _ in found} >= {"ENVIRONMENT", *LOOKED_AT}  # it looks where there is something to see


def test_the_search_sees_each_way_of_comparing():
    source: dict[str, Any] = {
        'settings.MODE == "x"': {"x"},
        '"x" != settings.MODE': {"x"},
        'settings.MODE.lower() in {"x", "y"}': {"x", "y"},
        'env.mode.startswith("x")': {"x"},
        'match settings.MODE:\n    case "x" | "y": pass': {"x", "y"},
    }
    for text, words in source.items():
        assert list(comparisons(parse(text), False)) == [("MODE", words)], text
