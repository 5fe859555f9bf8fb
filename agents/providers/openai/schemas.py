"""Which JSON schemas OpenAI takes as strict ones. Source: developers.openai.com/api/docs/guides/structured-outputs."""

from __future__ import annotations

_SEVERAL = ("anyOf", "prefixItems")
_REFUSED = frozenset({"allOf", "oneOf", "not", "dependentRequired", "dependentSchemas", "if", "then", "else", "patternProperties"})


def is_strict(schema: object) -> bool:
    """Return whether OpenAI takes the schema as strict: its objects are closed, and all of their properties are required."""
    if not isinstance(schema, dict) or _REFUSED & schema.keys():
        return not isinstance(schema, dict)
    properties = schema.get("properties") or {}
    is_object, is_closed = schema.get("type") == "object" or properties, schema.get("additionalProperties") is False
    if is_object and not (is_closed and set(properties) <= set(schema.get("required") or ())):
        return False
    inner = [*properties.values(), *(schema.get("$defs") or {}).values(), schema.get("items")]
    return all(is_strict(one) for one in (*inner, *(one for name in _SEVERAL for one in schema.get(name) or ())))
