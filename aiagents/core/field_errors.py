"""The error for fields that are not valid, from the nested details of Django, DRF and pydantic."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from aiagents.core.errors import InvalidRequest


def invalid(detail: Any) -> InvalidRequest:
    """DRF's nested details as `{"field": ["sentence", …], "list.0.field": […]}`; the first sentence is the message."""
    details: dict[str, list[str]] = {}
    for path, sentence in _flatten(detail, ""):
        details.setdefault(path or "non_field_errors", []).append(sentence)
    if not details:
        return InvalidRequest()
    field, sentences = next(iter(details.items()))
    if field == "non_field_errors":
        return InvalidRequest(sentences[0], details=details)
    return InvalidRequest(f"{field}: {sentences[0]}", param=field, details=details)


def _flatten(detail: Any, path: str) -> Iterator[tuple[str, str]]:
    if isinstance(detail, dict):
        for name, inner in detail.items():
            # An object's own errors belong to the object.
            here = path if name in ("non_field_errors", "__all__") else f"{path}.{name}" if path else str(name)
            yield from _flatten(inner, here)
    elif isinstance(detail, list | tuple):
        for index, inner in enumerate(detail):
            nested = isinstance(inner, dict | list | tuple)
            yield from _flatten(inner, f"{path}.{index}" if nested and path else str(index) if nested else path)
    else:
        yield path, str(detail)
