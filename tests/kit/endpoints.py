"""Every endpoint that the product has: from Django's URL map and from the table beside it. A new one shows up by itself."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

from django.urls import URLPattern, URLResolver, get_resolver

from aiagents import endpoints

METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")
# Django's own admin has its own rights and its own tests; static files are public.
NOT_OURS = ("/admin/", "/static/")
RANDOM_ID = "01890000-0000-7000-8000-000000000000"


@dataclass(frozen=True, order=True)
class Endpoint:
    """`template` is the path with `{name}` for each of its parameters."""

    template: str
    method: str
    beside_django: bool = False

    def __str__(self) -> str:
        return f"{self.method} {self.template}"

    @property
    def parameters(self) -> list[str]:
        return re.findall(r"{(\w+)}", self.template)

    def path(self, **values: str) -> str:
        """The path with its parameters filled; those not given are a random id."""
        return re.sub(r"{(\w+)}", lambda match: values.get(match[1], RANDOM_ID), self.template)


@cache
def every() -> tuple[Endpoint, ...]:
    found = {Endpoint(one.template, one.method, beside_django=True) for one in endpoints.HTTP}
    for template, callback in _patterns(get_resolver().url_patterns, "/"):
        if not template.startswith(NOT_OURS):
            found |= {Endpoint(template, method) for method in _methods(callback)}
    return tuple(sorted(found))


def _patterns(patterns: list[Any], prefix: str) -> Iterator[tuple[str, Any]]:
    for pattern in patterns:
        template = prefix + _template(str(pattern.pattern))
        if isinstance(pattern, URLResolver):
            yield from _patterns(pattern.url_patterns, template)
        elif isinstance(pattern, URLPattern):
            yield template, pattern.callback


def _template(pattern: str) -> str:
    """`<uuid:id>` and `(?P<id>…)` as `{id}`."""
    text = re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", pattern) if "(?P<" not in pattern else re.sub(r"\(\?P<(\w+)>[^)]*\)", r"{\1}", pattern)
    return text.removeprefix("^").removesuffix("$").removesuffix(r"\Z").replace("/?", "").replace("\\", "")


def _methods(callback: Any) -> set[str]:
    view = getattr(callback, "cls", None) or getattr(callback, "view_class", None)
    if view is None:
        return {"GET"}
    if getattr(callback, "actions", None):  # a viewset: its routes say which
        return {name.upper() for name in callback.actions if name in view.http_method_names} & set(METHODS)
    return {name.upper() for name in view.http_method_names if hasattr(view, name)} & set(METHODS)
