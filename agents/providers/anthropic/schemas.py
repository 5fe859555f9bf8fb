"""JSON schemas in the form that Claude's structured output and strict tools take.

The SDK's own function closes objects and moves keywords that the API refuses into the description. It expects schemas
as pydantic writes them; what other tools write is rewritten before: lists of types, `definitions`, subschemas without a
type.
"""

from __future__ import annotations

from typing import Any

import anthropic

from agents.providers.errors import ModelCannotTake

# A JSON schema: its keywords are open.
Schema = dict[str, object]
_NOTES = frozenset({"$schema", "$id", "$comment", "id"})
_SEVERAL = ("anyOf", "oneOf", "allOf")
_NUMBER = ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf")
# The keywords that say something of a value of each type.
_OF_TYPE: dict[str, tuple[str, ...]] = {
    "object": ("properties", "required", "additionalProperties", "minProperties", "maxProperties", "patternProperties"),
    "array": ("items", "minItems", "maxItems", "uniqueItems"),
    "string": ("format", "pattern", "minLength", "maxLength"),
    "number": _NUMBER,
    "integer": _NUMBER,
}
_ANYTHING = [{"type": name} for name in ("string", "number", "boolean", "null")]


def fitted(schema: Schema, where: str) -> Schema:
    """Return the schema as the API takes it. Raises ModelCannotTake, which names `where`, if there is no such form."""
    try:
        return anthropic.transform_schema(_plain(schema, root=True))
    except (ValueError, TypeError, AttributeError, AssertionError) as exc:
        raise ModelCannotTake(f"The schema of {where} has no form that Claude's structured output takes.", param=where) from exc


def _plain(schema: Any, *, root: bool = False) -> Schema:
    if schema is True:
        return {"anyOf": list(_ANYTHING)}
    if not isinstance(schema, dict):
        raise TypeError("a schema is an object")
    found = {name: value for name, value in schema.items() if name not in _NOTES}
    if isinstance(definitions := found.pop("definitions", None), dict):
        found["$defs"] = definitions | (found.get("$defs") or {})
    if isinstance(reference := found.get("$ref"), str):
        found["$ref"] = reference.replace("#/definitions/", "#/$defs/", 1)
    for name in ("$defs", "properties"):
        if isinstance(inner := found.get(name), dict):
            found[name] = {key: _plain(one) for key, one in inner.items()}
    if isinstance(items := found.get("items"), dict | bool):
        found["items"] = _plain(items)
    for name in _SEVERAL:
        if isinstance(inner := found.get(name), list):
            found[name] = [_plain(one) for one in inner]
    return _typed(found, root=root)


def _typed(schema: Schema, *, root: bool) -> Schema:
    """Return the schema with exactly one type, or with one for each of its types."""
    types = schema.get("type")
    if isinstance(types, list):
        enum = schema.get("enum")
        if enum is not None or len(types) == 1:  # an enumeration needs no type
            return schema | {"type": types[0]}
        kept = {name: schema[name] for name in ("$defs", "description", "title") if name in schema}
        return kept | {"anyOf": [{"type": one} | {name: schema[name] for name in _OF_TYPE.get(one, ()) if name in schema} for one in types]}
    if types is None and not any(name in schema for name in ("$ref", "enum", "const", *_SEVERAL)):
        if root or "properties" in schema or "required" in schema:
            return schema | {"type": "object"}
        return schema | ({"type": "array"} if "items" in schema else {"anyOf": list(_ANYTHING)})
    return schema
