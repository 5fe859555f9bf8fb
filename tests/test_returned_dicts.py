"""Functions return dicts with known keys as TypedDicts, dataclasses or pydantic models, not as `dict[str, Any]`.

The number of functions that still do otherwise stands here for each package. It may only fall.
"""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Iterator

import pytest

from tests.kit.source.product_modules import ROOT, sources
from tests.kit.source.tree import parse

# Their types are those of Django, DRF, drf-spectacular, Channels and pydantic, which they override.
OVERRIDES = {
    "clean", "get_actions", "get_context", "get_fields", "get_schema_operation_parameters", "get_serializer_context", "parse", "receive",
    "to_internal_value", "to_representation", "validate", "__get_pydantic_json_schema__", "all_as_schedule", "_map_basic_serializer",
    "get_operation",
}  # fmt: skip
# "package": the functions that return `dict[str, Any]`, or a collection of them. Columns of a query by name, JSON of others
# and parts of a JSON schema have no known keys.
LEFT: dict[str, int] = {
    "accounts/api": 2, "accounts/sign_in": 1, "agents": 2, "agents/api": 5, "agents/calls": 2, "agents/compatible": 26,
    "agents/providers": 18, "agents/routing": 3, "agents/runs": 12, "agents/simulator": 3, "agents/tools": 4, "aiagents": 2,
    "aiagents/core": 21, "aiagents/dashboards": 2, "aiagents/management": 1, "aiagents/monitoring": 10, "aiagents/server": 1,
    "aiagents/settings": 2, "billing": 2, "billing/api": 3, "billing/budgets": 1, "billing/catalogue": 4, "billing/ledger": 3,
    "billing/reports": 14, "chat": 8, "chat/api": 9, "chat/conversations": 3, "chat/turns": 3, "tasks": 1, "tasks/api": 3, "tasks/runs": 6,
}  # fmt: skip


def untyped(tree: ast.AST) -> Iterator[str]:
    """Names of the functions that return a dict of anything by text, alone or in another type."""
    aliases = {
        node.targets[0].id
        for node in ast.walk(tree)
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name) and _is_dict_of_any(node.value)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.returns is not None and node.name not in OVERRIDES:
            parts = list(ast.walk(node.returns))
            plain = {id(part.value) for part in parts if isinstance(part, ast.Subscript)}  # the `dict` of dict[str, int]
            names = {part.id for part in parts if isinstance(part, ast.Name) and id(part) not in plain}
            if names & {*aliases, "JSON", "dict"} or any(_is_dict_of_any(part) for part in parts):
                yield node.name


def _is_dict_of_any(node: ast.AST) -> bool:
    return isinstance(node, ast.Subscript) and ast.unparse(node).replace(" ", "") == "dict[str,Any]"


def found() -> Counter[str]:
    counts: Counter[str] = Counter()
    for path in sources():
        parts = path.relative_to(ROOT).parts
        package = "/".join(parts[: min(2, len(parts) - 1)])
        counts[package] += sum(1 for _ in untyped(parse(path.read_text())))
    return +counts


def test_no_package_has_more_untyped_dicts_than_before():
    more = {package: count for package, count in found().items() if count > LEFT.get(package, 0)}
    assert not more, "return a TypedDict, a frozen dataclass or a pydantic model instead of dict[str, Any]"


def test_the_numbers_follow_when_they_fall():
    counts = found()
    fewer = {package: counts[package] for package, allowed in LEFT.items() if counts[package] < allowed}
    assert not fewer, "lower these numbers in LEFT"


@pytest.mark.parametrize(
    ("annotation", "expected"),
    [
        ("dict[str, Any]", 1), ("list[dict[str, Any]]", 1), ("tuple[int, dict[str, Any]] | None", 1), ("JSON", 1), ("dict", 1),
        ("dict[str, int]", 0), ("Mapping[str, Any]", 0), ("Report", 0), ("Facts", 1),
    ],
)  # fmt: skip
def test_what_counts(annotation: str, expected: int):
    assert len(list(untyped(parse(f"Facts = dict[str, Any]\ndef f() -> {annotation}: ...")))) == expected
