"""Schemas of structured output and strict tools reach Claude in the form that its API takes."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import BaseModel, Field

from agents.messages import ToolSpec
from agents.providers.anthropic.schemas import fitted
from agents.providers.errors import ProviderBadRequest
from agents.simulator import Simulator
from agents.tests.vendors import ask, hear, target


class City(BaseModel):
    name: str = Field(min_length=2)
    people: int = Field(ge=0, le=100)
    tags: list[str] = Field(max_length=3)
    mayor: str | None = None


# Types and keywords that the API takes. Source: the SDK's transform_schema and its API reference of structured outputs.
TAKEN = {
    "type", "properties", "required", "additionalProperties", "items", "minItems", "anyOf", "allOf", "enum", "const", "format",
    "description", "title", "$ref", "$defs",
}  # fmt: skip


def check(schema: Any) -> None:
    """Fail for a keyword that the API refuses, and for an open object."""
    assert isinstance(schema, dict) and set(schema) <= TAKEN, schema
    assert "$ref" in schema or any(name in schema for name in ("type", "anyOf", "allOf", "enum", "const")), schema
    assert isinstance(schema.get("type", ""), str)
    if schema.get("type") == "object":
        assert schema["additionalProperties"] is False
    for inner in (
        *schema.get("properties", {}).values(),
        *schema.get("$defs", {}).values(),
        *schema.get("anyOf", ()),
        *schema.get("allOf", ()),
    ):
        check(inner)
    if "items" in schema:
        check(schema["items"])


SCHEMAS: dict[str, dict[str, Any]] = {
    "pydantic": City.model_json_schema(),
    "an empty one": {},
    "nullable types": {"type": "object", "properties": {"a": {"type": ["string", "null"], "description": "x", "minLength": 1}}},
    "an enumeration with null": {"type": "object", "properties": {"a": {"type": ["string", "null"], "enum": ["x", None]}}},
    "draft 7": {
        "$schema": "http://json-schema.org/draft-07/schema#", "type": "object", "properties": {"a": {"$ref": "#/definitions/A"}},
        "definitions": {"A": {"type": "object", "properties": {"n": {"type": "number", "minimum": 0}}}},
    },
    "without types": {"properties": {"a": {}, "b": True, "c": {"items": {"type": "string"}}, "d": {"properties": {"x": {"type": "null"}}}}},
    "a map": {"type": "object", "additionalProperties": {"type": "string"}},
    "one of": {"type": "object", "properties": {"a": {"oneOf": [{"type": "string"}, {"type": "array", "items": {"type": "integer"}}]}}},
    "a mixed type": {"type": "object", "properties": {"a": {"type": ["object", "string"], "properties": {"b": {"type": "string"}}}}},
}  # fmt: skip


@pytest.mark.parametrize("schema", SCHEMAS.values(), ids=SCHEMAS)
async def test_claude_gets_closed_objects_and_no_keyword_that_it_refuses(schema: dict[str, Any]):
    wanted = {"type": "json_schema", "name": "answer", "schema": schema, "strict": True}
    tool = ToolSpec("make", "Make it", schema, strict=True)
    async with Simulator() as sim:
        await hear("anthropic", ask("Hello", response_format=wanted, tools=(tool,)), target(sim, "anthropic"))
        sent = sim.requests[0].body
    check(sent["output_config"]["format"]["schema"])
    check(sent["tools"][0]["input_schema"])


async def test_a_tool_that_is_not_strict_keeps_its_schema():
    schema = SCHEMAS["draft 7"]
    async with Simulator() as sim:
        await hear("anthropic", ask("Hello", tools=(ToolSpec("make", "", schema),)), target(sim, "anthropic"))
        assert sim.requests[0].body["tools"][0]["input_schema"] == schema


def test_what_is_moved_is_told_in_the_description():
    assert "minimum: 0" in fitted(City.model_json_schema(), "x")["properties"]["people"]["description"]


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "object", "properties": {"a": False}},
        {"type": "array", "items": [{"type": "string"}]},
        {"type": "object", "properties": {"a": {"type": "text"}}},
        {"type": "object", "properties": {"a": "string"}},
    ],
)
def test_a_schema_without_a_form_is_refused_by_name(schema: dict[str, Any]):
    with pytest.raises(ProviderBadRequest, match="response_format"):
        fitted(schema, "response_format")
