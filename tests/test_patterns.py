"""Every regular expression of the product takes time in proportion to its text, whatever the text is.

The texts are made from the patterns themselves: what a pattern looks for, begun again and again and never finished.
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from types import ModuleType

import pytest

from tests.kit.hostile.growth import worst
from tests.kit.source.product_modules import ROOT, modules, sources
from tests.kit.source.tree import parse

# Methods that try one position only; every other method tries each position of the text.
ANCHORED = {"match", "fullmatch"}
# Patterns whose text is only known while the product runs, as `file: argument`, and why they are of no concern here.
DYNAMIC = {
    "aiagents/core/http/endpoints.py: endpoint.pattern": "the paths of the endpoints, which the registry of endpoints gives below",
    "agents/providers/native.py: (_MODEL % (self._field, name)).encode()": "a model's name, escaped, in _MODEL",
    "agents/providers/parts.py: pattern": "the vendors' rules for ids: one class of characters, matched whole",
}


def compiled() -> dict[str, re.Pattern]:
    """Every compiled pattern that a module of the product holds, in containers too, by where it stands."""
    found: dict[str, re.Pattern] = {}
    for module in modules():
        for name, value in list(vars(module).items()):
            for pattern in _inside(value):
                found.setdefault(f"{module.__name__}.{name}: {pattern.pattern!r}", pattern)
    return found


def _inside(value: object, depth: int = 0) -> Iterator[re.Pattern]:
    if isinstance(value, re.Pattern):
        yield value
    elif depth < 4 and isinstance(value, dict):
        for one in value.values():
            yield from _inside(one, depth + 1)
    elif depth < 4 and isinstance(value, list | tuple | set | frozenset):
        for one in value:
            yield from _inside(one, depth + 1)


def literal() -> tuple[dict[str, re.Pattern], list[str]]:
    """The patterns that stand in calls such as `re.sub("…", …)`, and those whose text is only known while the product runs."""
    found: dict[str, re.Pattern] = {}
    unknown: list[str] = []
    for path in sources():
        tree = parse(path.read_text())
        module_level = {id(node) for statement in tree.body if isinstance(statement, ast.Assign) for node in ast.walk(statement)}
        for call in (node for node in ast.walk(tree) if isinstance(node, ast.Call) and _is_re(node) and node.args):
            text = _text(call.args[0])
            where = f"{path.relative_to(ROOT)}:{call.lineno}: {text!r}"
            if text is not None:
                found[where] = re.compile(text, _flags(call))
            elif id(call) not in module_level:  # at module level the compiled object is found
                unknown.append(f"{path.relative_to(ROOT)}: {ast.unparse(call.args[0])}")
    return found, unknown


def _is_re(call: ast.Call) -> bool:
    function = call.func
    return (
        isinstance(function, ast.Attribute)
        and isinstance(function.value, ast.Name)
        and function.value.id == "re"
        and function.attr in {"compile", "search", "match", "fullmatch", "findall", "finditer", "sub", "subn", "split"}
    )


def _text(node: ast.expr) -> str | bytes | None:
    if isinstance(node, ast.Constant) and isinstance(node.value, str | bytes):
        return node.value
    if isinstance(node, ast.JoinedStr):  # with `re.escape(…)` a literal text stands there
        parts = [
            part.value if isinstance(part, ast.Constant) else "tool" if "re.escape" in ast.unparse(part) else None for part in node.values
        ]
        return None if None in parts else "".join(parts)
    return None


def _flags(call: ast.Call) -> int:
    flags = 0
    for node in [*call.args[1:], *(keyword.value for keyword in call.keywords)]:
        for part in ast.walk(node):
            if isinstance(part, ast.Attribute) and isinstance(part.value, ast.Name) and part.value.id == "re":
                flags |= getattr(re, part.attr) if isinstance(getattr(re, part.attr, None), re.RegexFlag) else 0
    return flags


@cache
def whole_source() -> str:
    return "\n".join(path.read_text() for path in sources())


def anchored(where: str) -> bool:
    """Whether the pattern is only ever tried at the beginning of a text."""
    if (at := re.match(r"([\w/]+\.py):(\d+)", where)) is not None:
        path = ROOT / at[1]
        line = path.read_text().splitlines()[int(at[2]) - 1]
        if re.search(r"re\.(match|fullmatch)\(", line):
            return True
        name = line.partition(" = re.compile(")[0] if " = re.compile(" in line else ""
    else:
        module, _, name = where.partition(": ")[0].rpartition(".")
        path = Path(getattr(sys.modules.get(module), "__file__", None) or "")
    # A private name of another module is another pattern.
    text = path.read_text() if name.startswith("_") else whole_source()
    uses = set(re.findall(rf"\b{re.escape(name)}\.(\w+)\(", text)) if name.isidentifier() else set()
    return bool(uses) and uses <= ANCHORED


def paths_of_endpoints() -> dict[str, re.Pattern]:
    from aiagents import endpoints

    return {f"endpoint: {endpoint.pattern}": re.compile(endpoint.pattern) for endpoint in endpoints.HTTP}


def patterns() -> dict[str, re.Pattern]:
    return {**compiled(), **literal()[0], **paths_of_endpoints()}


@pytest.mark.long
def test_every_pattern_is_linear():
    found = patterns()
    assert len(found) > 60, "the collection of patterns finds too few"
    wrong = [f"{where}: {how}" for where, pattern in found.items() if (how := worst(pattern, anchored(where)))]
    assert not wrong, "\n".join(wrong)


def test_patterns_made_while_running_are_accounted_for():
    assert set(literal()[1]) == set(DYNAMIC)


@pytest.mark.parametrize(
    ("pattern", "at_start"),
    [
        (r"\bSELECT\b.+\bFROM\b", False),
        (r"\[\[(call|say)\s+(.*?)\]\](?!\])", False),
        (r"\[\[sim:(?P<text>[^\]]*)\]\]", False),
        (r"\b[a-z][a-z0-9+.-]*://\S+", False),
        (r"(\d+\.?\d*|\.\d+)([eE][+-]?\d{1,4})?", True),
        (r"(?:^|[_\-.])(?:token|csrf\w*)$", False),
        (r"(a|aa)+$", True),
        (r"<!--.*?-->", False),
        (r"\s+$", False),
    ],
)
def test_the_texts_show_what_is_not_linear(pattern: str, at_start: bool):
    """The patterns that stood here before, and what everybody writes once."""
    made = re.compile(pattern, re.S if ".*?" in pattern else 0)
    assert any(worst(made, at_start) for _ in range(5))  # a disturbed measurement of a short text hides the growth


def test_modules_are_all_imported():
    """A module that nothing imports would hide its patterns."""
    assert all(isinstance(module, ModuleType) for module in modules())
    assert Path(ROOT / "manage.py").exists()
