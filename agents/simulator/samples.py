"""Makes plausible values for a JSON Schema from the prompt, for arguments of tool calls and for JSON answers."""

from __future__ import annotations

import re
from typing import Any

_SUM = re.compile(r"\d[\d\s.+\-*/()^%]*\d")
_URL = re.compile(r"https?://[^\s\"'<>)\]]+")
_PLACE = re.compile(r"\b(?:in|for|at|to)\s+([A-Z][\w-]+)")
_NUMBER = re.compile(r"-?\d+(?:\.\d+)?")
_MAX_DEPTH = 6


def sample(schema: dict[str, Any], text: str, name: str = "", root: dict[str, Any] | None = None, depth: int = 0) -> Any:
    """Return a value that fits `schema`. Strings come from `text`, guided by the field's name."""
    root = schema if root is None else root
    if depth > _MAX_DEPTH or not isinstance(schema, dict):
        return None
    if "$ref" in schema:
        return sample(_resolve(schema["$ref"], root), text, name, root, depth + 1)
    for fixed in ("const", "default"):
        if fixed in schema:
            return schema[fixed]
    if schema.get("enum"):
        return next((value for value in schema["enum"] if str(value).lower() in text.lower()), schema["enum"][0])
    for several in ("anyOf", "oneOf", "allOf"):
        if schema.get(several):
            return sample(schema[several][0], text, name, root, depth + 1)
    kind = schema.get("type", "object" if "properties" in schema else "string")
    kind = next((one for one in kind if one != "null"), "null") if isinstance(kind, list) else kind
    match str(kind).lower():
        case "object":
            fields = schema.get("properties") or {}
            return {key: sample(value, text, key, root, depth + 1) for key, value in fields.items()}
        case "array":
            count = max(1, int(schema.get("minItems", 1)))
            return [sample(schema.get("items") or {}, text, name, root, depth + 1) for _ in range(count)]
        case "integer":
            return int(_number(schema, text))
        case "number":
            return _number(schema, text)
        case "boolean":
            return True
        case "null":
            return None
    return _string(schema, text, name)


def _resolve(ref: str, root: dict[str, Any]) -> dict[str, Any]:
    found: Any = root
    for step in ref.lstrip("#/").split("/"):
        found = found.get(step, {}) if isinstance(found, dict) else {}
    return found if isinstance(found, dict) else {}


def _number(schema: dict[str, Any], text: str) -> float:
    found = _NUMBER.search(text)
    value = float(found.group()) if found else 1.0
    value = max(value, float(schema.get("minimum", value)))
    return min(value, float(schema.get("maximum", value)))


def _string(schema: dict[str, Any], text: str, name: str) -> str:
    lowered = name.lower()
    if "date-time" in str(schema.get("format")):
        value = "2026-01-01T12:00:00Z"
    elif "date" in (lowered, str(schema.get("format"))):
        value = "2026-01-01"
    elif "email" in lowered or schema.get("format") == "email":
        value = "ada@example.com"
    elif lowered in ("url", "uri", "link"):
        found = _URL.search(text)
        value = found.group() if found else "https://example.com/"
    elif lowered in ("expression", "formula", "sum", "calculation"):
        calculation = _SUM.search(text)
        value = calculation.group().strip() if calculation else "6 * 7"
    elif lowered in ("city", "place", "location", "where", "town"):
        place = _PLACE.search(text)
        value = place.group(1) if place else "Oslo"
    elif lowered in ("timezone", "time_zone", "tz", "zone"):
        value = "Europe/Oslo"
    else:
        value = " ".join(text.split())[:120] or "a simulated value"
    return value[: int(schema.get("maxLength", 4000))].ljust(int(schema.get("minLength", 0)), ".")
