"""Every module of the product, without its tests and migrations: for tests that look at all of them."""

from __future__ import annotations

from functools import cache
from importlib import import_module
from pathlib import Path
from types import ModuleType

ROOT = Path(__file__).resolve().parents[3]
APPS = ("accounts", "agents", "aiagents", "billing", "chat", "tasks")
# Programs: importing them runs them.
PROGRAMS = {"__main__"}


@cache
def sources() -> tuple[Path, ...]:
    return tuple(
        path
        for app in APPS
        for path in sorted((ROOT / app).rglob("*.py"))
        if not {"tests", "migrations"} & set(path.relative_to(ROOT).parts)
    )


@cache
def modules() -> tuple[ModuleType, ...]:
    return tuple(import_module(name) for path in sources() if path.stem not in PROGRAMS and not _is_settings(name := _name(path)))


def _name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def _is_settings(name: str) -> bool:
    """Settings are read once per process; a second reading would check the environment again."""
    return name.startswith("aiagents.settings")
