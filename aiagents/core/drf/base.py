"""The classes that Django REST framework's settings name. Import them from here.

Views must not be imported in this module: they read those settings.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rest_framework.parsers import JSONParser

from aiagents.core import jsonio
from aiagents.core.drf.errors import exception_handler
from aiagents.core.drf.fields import StrictFieldsMixin
from aiagents.core.drf.idempotency import IdempotentMixin
from aiagents.core.drf.lists import SafeOrderingFilter, StrictFilterSet
from aiagents.core.drf.pages import CursorPagination
from aiagents.core.drf.renderers import BodyRenderer, BrowsableAPIRenderer, JSONRenderer
from aiagents.core.errors import InvalidRequest
from aiagents.core.http import body_limits

__all__ = [
    "BrowsableAPIRenderer",
    "CursorPagination",
    "IdempotentMixin",
    "JSONRenderer",
    "SafeOrderingFilter",
    "StrictFieldsMixin",
    "StrictFilterSet",
    "StrictJSONParser",
    "exception_handler",
]


class StrictJSONParser(JSONParser):
    """A JSON object read strictly (`jsonio.loads`); a body larger than its view's `max_body_bytes` is 413."""

    # The browsable API renders its request form with it.
    renderer_class = BodyRenderer

    def parse(self, stream: Any, media_type: str | None = None, parser_context: Mapping[str, Any] | None = None) -> dict[str, Any]:
        declared = getattr((parser_context or {}).get("view"), "max_body_bytes", body_limits.SMALL)
        limit = body_limits.bounded(declared)
        raw = stream.read(limit + 1)
        if len(raw) > limit:
            raise body_limits.too_large(limit)
        value = jsonio.loads(raw)
        if not isinstance(value, dict):
            raise InvalidRequest("The body must be a JSON object.", code="invalid_json")
        return value
