"""Validation of HTTP tools before staff can save them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from django.conf import settings
from jsonschema import Draft202012Validator
from jsonschema.exceptions import SchemaError

from agents.tools import builtin, template
from agents.tools.declaring import BUILTINS

if TYPE_CHECKING:
    from agents.models import HttpTool

assert builtin  # imported to register the built-in tools
_MOST_SCHEMA_BYTES = 20_000
_MOST_BYTES = 5_000_000


def wrong_with(row: HttpTool) -> dict[str, str]:
    """Return a sentence for each invalid field, by field name."""
    found = {
        "name": "A built-in tool has this name." if row.name in BUILTINS else "",
        "url": template.wrong_with(row.url, allow_private=row.allow_private_address),
        "parameters": _schema(row.parameters, template.placeholders(row.url)),
        "timeout_seconds": _between(row.timeout_seconds, int(settings.TOOL_MAX_SECONDS)),
        "max_bytes": _between(row.max_bytes, _MOST_BYTES),
    }
    return {name: sentence for name, sentence in found.items() if sentence}


def _between(value: int | None, most: int) -> str:
    return "" if value is not None and 1 <= value <= most else f"From 1 to {most}."


def _schema(schema: Any, placeholders: list[str]) -> str:
    if not isinstance(schema, dict) or schema.get("type", "object") != "object":
        return 'A JSON Schema of an object, such as {"properties": {"city": {"type": "string"}}, "required": ["city"]}.'
    if len(json.dumps(schema)) > _MOST_SCHEMA_BYTES:
        return f"At most {_MOST_SCHEMA_BYTES} bytes: the model reads it with every call."
    try:
        Draft202012Validator.check_schema(schema)
    except SchemaError as exc:
        return f"This is not a JSON Schema: {exc.message[:200]}"
    if _refers_elsewhere(schema):
        return "$ref may only point into this schema (#/…)."
    if missing := [name for name in placeholders if name not in schema.get("properties", {})]:
        return f"The URL has {{{missing[0]}}}, which is not one of the properties."
    return ""


def _refers_elsewhere(schema: Any) -> bool:
    if isinstance(schema, dict):
        return any(key in ("$ref", "$dynamicRef") and not str(value).startswith("#") for key, value in schema.items()) or any(
            _refers_elsewhere(value) for value in schema.values()
        )
    return isinstance(schema, list) and any(_refers_elsewhere(item) for item in schema)
