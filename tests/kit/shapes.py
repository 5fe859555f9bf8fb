"""Whether a value is what its type says: TypedDicts with all their keys and no other."""

from __future__ import annotations

from collections.abc import Iterator
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints, is_typeddict


def wrong(value: Any, hint: Any, path: str = "$") -> Iterator[str]:
    """Each place where the value differs from its type."""
    origin, inner = get_origin(hint), get_args(hint)
    if origin is Annotated:
        yield from wrong(value, inner[0], path)
    elif origin in (Union, UnionType):
        if not any(not list(wrong(value, one, path)) for one in inner):
            closest = next((one for one in inner if one is not NoneType), NoneType)
            yield from wrong(value, closest, path)
    elif is_typeddict(hint):
        yield from _wrong_dict(value, get_type_hints(hint, include_extras=True), path)
    elif origin is list:
        if not isinstance(value, list):
            yield f"{path}: {type(value).__name__} is no list"
            return
        for index, item in enumerate(value):
            yield from wrong(item, inner[0], f"{path}[{index}]")
    elif origin is Literal:
        if value not in inner:
            yield f"{path}: {value!r} is none of {inner}"
    elif hint is not Any:
        expected = origin or hint
        fits = isinstance(value, int | float) if expected is float else isinstance(value, expected)
        if not fits or (isinstance(value, bool) and expected is not bool):
            yield f"{path}: {value!r} is no {getattr(expected, '__name__', expected)}"


def _wrong_dict(value: Any, hints: dict[str, Any], path: str) -> Iterator[str]:
    if not isinstance(value, dict):
        yield f"{path}: {value!r} is no dict"
        return
    for name in sorted(set(hints) ^ set(value)):
        yield f"{path}.{name} {'is missing' if name in hints else 'is not in the type'}"
    for name in sorted(set(hints) & set(value)):
        yield from wrong(value[name], hints[name], f"{path}.{name}")
