"""Markdown tables for the documents."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any


def markdown(heads: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    lines = ["| " + " | ".join(heads) + " |", "|" + "---|" * len(heads)]
    return "\n".join([*lines, *("| " + " | ".join(str(cell) for cell in row) + " |" for row in rows)])


def number(value: float | None, digits: int = 1) -> str:
    """A number with thousands separators; empty if it was not measured."""
    return "" if value is None or value != value else f"{value:,.{digits}f}"
