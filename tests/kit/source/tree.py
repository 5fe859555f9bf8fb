"""The modules of the product and what they import, read from the source."""

from __future__ import annotations

import ast
import os
import time
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]


# An app imports aiagents.core and the apps before it, and nothing else of aiagents.
APPS = ["accounts", "billing", "agents", "chat", "tasks"]


TOP = "aiagents"


def parse(source: str, filename: str = "<unknown>") -> ast.Module:
    """The tree of a source text; for every test that reads source.

    Python 3.11 fails with a SystemError where another thread parses meanwhile, as one does that formats a traceback
    (python/cpython#106905).
    """
    for _ in range(20):
        try:
            return ast.parse(source, filename)
        except SystemError:
            time.sleep(0.01)
    return ast.parse(source, filename)


def dotted(node: ast.AST) -> str:
    """`a.b.c` for a name or an attribute of one; empty for all else. Python's own `unparse` costs fifty times as much."""
    parts: list[str] = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    return ".".join([node.id, *reversed(parts)]) if isinstance(node, ast.Name) else ""


def last_name(node: ast.AST) -> str:
    """The name of what is called: `sleep` for `time.sleep` and for `clock().sleep`."""
    return getattr(node, "attr", "") or getattr(node, "id", "")


def text_files(*suffixes: str) -> Iterator[Path]:
    """The tree's own files with one of these suffixes: not what is installed, built or made by runs."""
    for folder, folders, names in os.walk(ROOT):
        folders[:] = sorted(set(folders) - {".venv", ".data", ".git", "node_modules", "__pycache__"})
        yield from (Path(folder, name) for name in sorted(names) if name.endswith(suffixes))


def modules() -> list[tuple[str, Path]]:
    """(dotted name, file) of the product's modules, tests and migrations left out."""
    found = []
    for package in [*APPS, TOP]:
        for path in sorted((ROOT / package).rglob("*.py")):
            parts = path.relative_to(ROOT).with_suffix("").parts
            if "tests" in parts or "migrations" in parts:
                continue
            found.append((".".join(parts[:-1] if parts[-1] == "__init__" else parts), path))
    return found


def imports(name: str, path: Path) -> Iterator[tuple[str, int]]:
    """Every module that is imported anywhere in the file, with its line; imports for types alone count too."""
    package = name if path.name == "__init__.py" else name.rpartition(".")[0]
    for node in ast.walk(parse(path.read_text(), str(path))):
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
