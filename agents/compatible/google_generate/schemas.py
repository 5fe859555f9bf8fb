"""Google's schema of a tool or an answer (OpenAPI's subset, types in capitals) as a JSON schema, which other vendors know."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from agents.compatible.reading import JSON, invalid

# Google writes 64-bit integers as texts.
_INTEGERS = ("minItems", "maxItems", "minLength", "maxLength", "minProperties", "maxProperties")
# These orders and hints exist in Google's schemas only.
_LEFT_OUT = ("nullable", "propertyOrdering", "example")
_DEEPEST = 60


def json_schema(schema: Mapping[str, Any], at: str, depth: int = 0) -> Mapping[str, Any]:
    """Return the JSON schema of Google's. Raises InvalidRequest for one that is nested too deeply, or no schema."""
    if depth > _DEEPEST:
        raise invalid(at, f"may be nested {_DEEPEST} times at most")
    found: JSON = {}
    for given, value in schema.items():
        name = camel(given)
        if name in _LEFT_OUT or value is None:
            continue
        match name:
            case "type" if isinstance(value, str):
                found["type"] = value.lower()
            case "properties" | "defs" | "$defs" if isinstance(value, Mapping):
                inner = {key: _schema(one, f"{at}.{name}.{key}", depth) for key, one in value.items()}
                found["properties" if name == "properties" else "$defs"] = inner
            case "items" | "additionalProperties" if isinstance(value, Mapping):
                found[name] = json_schema(value, f"{at}.{name}", depth + 1)
            case "anyOf" | "oneOf" | "allOf" | "prefixItems" if isinstance(value, list):
                found[name] = [_schema(one, f"{at}.{name}[{number}]", depth) for number, one in enumerate(value)]
            case _ if name in _INTEGERS and isinstance(value, str) and value.isdecimal() and len(value) < 20:
                found[name] = int(value)
            case _:
                found[name] = value
    if schema.get("nullable") is True and isinstance(found.get("type"), str):
        found["type"] = [found["type"], "null"]
    return found


def _schema(value: Any, at: str, depth: int) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise invalid(at, "must be an object", "invalid_type")
    return json_schema(value, at, depth + 1)


def camel(name: str) -> str:
    """Return a field's name as Google's JSON has it: its API also takes `snake_case`."""
    head, *rest = name.split("_")
    return head + "".join(part[:1].upper() + part[1:] for part in rest) if head and rest else name
