"""DRF's edges in the contract's shape: what the settings name. (views must not be imported here: they read those settings.)

Errors stand in api_errors.py, lists in api_lists.py and api_pages.py, serializers in api_fields.py, Idempotency-Key in api_idempotency.py;
import them from here.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson
from django.conf import settings
from rest_framework.parsers import JSONParser
from rest_framework.renderers import JSONRenderer as DRFJSONRenderer
from rest_framework.utils.encoders import JSONEncoder

from aiagents.lib import jsonio
from aiagents.lib.api_errors import exception_handler
from aiagents.lib.api_fields import StrictFieldsMixin
from aiagents.lib.api_idempotency import IdempotentMixin
from aiagents.lib.api_lists import SafeOrderingFilter, StrictFilterSet
from aiagents.lib.api_pages import CursorPagination
from aiagents.lib.errors import InvalidRequest, PayloadTooLarge

__all__ = [
    "CursorPagination",
    "IdempotentMixin",
    "JSONRenderer",
    "SafeOrderingFilter",
    "StrictFieldsMixin",
    "StrictFilterSet",
    "StrictJSONParser",
    "exception_handler",
]
_OPTIONS = orjson.OPT_UTC_Z | orjson.OPT_NON_STR_KEYS
_encoder = JSONEncoder()


class JSONRenderer(DRFJSONRenderer):
    """Our JSON (aiagents/lib/jsonio.py), and all that DRF's encoder knows besides."""

    def render(self, data: Any, accepted_media_type: str | None = None, renderer_context: Mapping[str, Any] | None = None) -> bytes:
        if data is None:
            return b""
        # The browsable API asks for an indent.
        pretty = bool((renderer_context or {}).get("indent"))
        return orjson.dumps(data, default=_default, option=_OPTIONS | (orjson.OPT_INDENT_2 if pretty else 0))


def _default(value: Any) -> Any:
    try:
        return jsonio._default(value)
    except TypeError:
        return _encoder.default(value)


class StrictJSONParser(JSONParser):
    """A JSON object read strictly (`jsonio.loads`); too large a body is 413."""

    def parse(self, stream: Any, media_type: str | None = None, parser_context: Mapping[str, Any] | None = None) -> dict[str, Any]:
        raw = stream.read(settings.MAX_BODY_BYTES + 1)
        if len(raw) > settings.MAX_BODY_BYTES:
            raise PayloadTooLarge(details={"max_bytes": settings.MAX_BODY_BYTES})
        value = jsonio.loads(raw)
        if not isinstance(value, dict):
            raise InvalidRequest("The body must be a JSON object.", code="invalid_json")
        return value
