"""The OpenAPI document: our errors, Idempotency-Key, and the asynchronous endpoints."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from drf_spectacular.openapi import AutoSchema as SpectacularAutoSchema
from drf_spectacular.plumbing import get_doc
from drf_spectacular.utils import OpenApiParameter
from rest_framework import serializers

from aiagents.core.drf import request_models
from aiagents.core.drf.fields import StrictFieldsMixin
from aiagents.core.drf.idempotency import IdempotentMixin
from aiagents.core.http.endpoints import Endpoint
from aiagents.core.validation import RequestModel

JSON = dict[str, Any]
ERROR: JSON = {
    "type": "object",
    "required": ["error"],
    "properties": {
        "error": {
            "type": "object",
            "required": ["type", "message", "code", "param", "details", "request_id"],
            "properties": {
                "type": {"type": "string", "examples": ["invalid_request"]},
                "message": {"type": "string", "description": "A sentence for a person."},
                "code": {"type": "string"},
                "param": {"type": ["string", "null"], "description": "The field that is wrong."},
                "details": {"type": "object", "additionalProperties": True},
                "request_id": {"type": "string"},
            },
        }
    },
}
_IDEMPOTENCY: JSON = {
    "name": "Idempotency-Key",
    "in": "header",
    "schema": {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[!-~]+$"},
    "description": "The same key with the same body repeats the first answer (`Idempotent-Replayed: true`); with another body 409.",
}
# Codes of 400 and 413 that any request may get, even one that fits its schema.
EVERYWHERE = {
    "invalid_text": "a text or a name in it holds NUL or a lone surrogate",
    "invalid_number": "a number is too large",
    "invalid_json": "the body is not a JSON object",
    "duplicate_key": "one JSON object has a key twice",
    "json_too_deep": "the body is nested too deeply",
    "too_many_values": "the body holds too many values (413)",
    "payload_too_large": "the body has more bytes than this endpoint accepts, as sent or unpacked (413)",
    "unsupported_content_encoding": "the body has another Content-Encoding than gzip, deflate, br and zstd (415)",
    "invalid_content_encoding": "the body is not of its Content-Encoding",
    "invalid_cursor": "`cursor` was not made by this list with the same ordering",
    "out_of_range": "a value is beyond what the database can hold or compare",
}
# On an operation: why a request that fits the schema may still be refused, by the name of its field or parameter (`*`: any).
REFUSALS = "x-refusals"
_SENTENCES = {
    "400": "The request is not valid.",
    "401": "No valid access token or API key.",
    "402": "The remaining budget is too small.",
    "403": "Not allowed for this caller.",
    "404": "Not found.",
    "409": "The Idempotency-Key was used for another request, or its first request is still running.",
    "429": "Too many requests; see Retry-After.",
}
_METHODS = ("get", "post", "put", "patch", "delete")


_named: dict[str, type] = {}


class AutoSchema(SpectacularAutoSchema):
    """drf-spectacular's AutoSchema with the header of idempotent views and unique names for serializers of two apps."""

    def get_serializer_name(self, serializer: Any, direction: Any) -> str:
        """The class's name; a second class of the same name gets its app's name as a prefix."""
        name = super().get_serializer_name(serializer, direction)
        kind = type(serializer)
        first = _named.setdefault(name, kind)
        if (first.__module__, first.__qualname__) == (kind.__module__, kind.__qualname__):
            return name
        return kind.__module__.partition(".")[0].capitalize() + name

    def get_operation(self, *args: Any, **kwargs: Any) -> JSON | None:
        """Add the `refusals` that the view and the request's serializer declare, as `x-refusals`."""
        operation = super().get_operation(*args, **kwargs)
        if operation is not None:
            serializer = self.get_request_serializer() if "requestBody" in operation else None
            found = {**getattr(self.view, "refusals", {}), **getattr(serializer, "refusals", {})}
            if found:
                operation[REFUSALS] = found
        return operation

    def _map_basic_serializer(self, serializer: Any, direction: Any) -> JSON:
        """Add what our strict serializers refuse: unknown fields, blank texts, empty decimals."""
        schema = super()._map_basic_serializer(serializer, direction)
        if direction != "request":
            return schema
        if isinstance(serializer, StrictFieldsMixin):
            schema["additionalProperties"] = False
            if schema.get("description") == get_doc(StrictFieldsMixin):  # inherited, not about this serializer
                del schema["description"]
        for name, field in serializer.fields.items():
            if (found := schema.get("properties", {}).get(name)) is not None:
                found |= _narrowed(field, found)
        return schema

    def map_parsers(self) -> list[Any]:
        """JSON only: forms are parsed for the browsable API and cannot express nested values."""
        return ["application/json"]

    def get_override_parameters(self) -> list[Any]:
        found = super().get_override_parameters()
        if isinstance(self.view, IdempotentMixin) and self.method in self.view.idempotent_methods:
            found = [
                *found,
                OpenApiParameter(
                    "Idempotency-Key", _IDEMPOTENCY["schema"], OpenApiParameter.HEADER, description=_IDEMPOTENCY["description"]
                ),
            ]
        return found


def _narrowed(field: Any, schema: JSON) -> JSON:
    """What DRF's field refuses beyond the schema that drf-spectacular makes of it."""
    if isinstance(field, serializers.DecimalField) and "pattern" in schema and field.max_digits and field.decimal_places is not None:
        sign = "" if field.min_value is not None and field.min_value >= 0 else "-?"
        whole = field.max_digits - field.decimal_places
        return {"pattern": rf"^{sign}[0-9]{{1,{whole}}}(\.[0-9]{{1,{field.decimal_places}}})?$"}
    if isinstance(field, serializers.MultipleChoiceField) and not field.allow_empty:
        return {"minItems": 1}
    trims = type(field) is serializers.CharField and field.trim_whitespace and not field.allow_blank
    return {"pattern": r"\S"} if trims and not {"pattern", "format", "enum", "$ref"} & schema.keys() else {}


def add_endpoints(result: JSON, endpoints: Iterable[Endpoint], models: Iterable[type[RequestModel]] = ()) -> JSON:
    """Add the asynchronous endpoints' paths, every operation's errors, and the components of `models` and of all request models."""
    schemas = result.setdefault("components", {}).setdefault("schemas", {})
    schemas["Error"] = ERROR if result["openapi"].startswith("3.1") else _without_types(ERROR)
    secured = next((operation["security"] for operation in _operations(result) if {} not in operation.get("security", [{}])), None)
    for endpoint in endpoints:
        path = result["paths"].setdefault(endpoint.template, {})
        path[endpoint.method.lower()] = _operation(endpoint, secured)
    taken: set[str] = set()
    for operation in _operations(result):
        operation["operationId"] = _unique(operation["operationId"], taken)
        _add_errors(operation)
    result["paths"] = dict(sorted(result["paths"].items()))
    schemas |= request_models.components([*models, *request_models.referred_to(result)])
    return result


def _operation(endpoint: Endpoint, secured: Any) -> JSON:
    lines = (endpoint.handler.__doc__ or "").strip().splitlines()
    operation: JSON = {"summary": lines[0] if lines else "", **endpoint.operation}
    operation.setdefault("tags", [_tag(endpoint.template)])
    operation.setdefault("responses", {"200": {"description": "", "content": {"application/json": {"schema": {"type": "object"}}}}})
    parameters = operation["parameters"] = list(operation.get("parameters", []))
    named = {parameter["name"] for parameter in parameters}
    for name in re.findall(r"{(\w+)}", endpoint.template):
        if name not in named:
            parameters.append({"name": name, "in": "path", "required": True, "schema": {"type": "string"}})
    if endpoint.idempotent and "Idempotency-Key" not in named:
        parameters.append(_IDEMPOTENCY)
    if endpoint.authenticated and secured:
        operation.setdefault("security", secured)
    return operation


def _tag(template: str) -> str:
    parts = [part for part in template.split("/") if part and part != "api"]
    return parts[1] if len(parts) > 1 and parts[0] == "v1" and template.startswith("/api/") else parts[0]


def _add_errors(operation: JSON) -> None:
    responses = operation.setdefault("responses", {})
    parameters = operation.get("parameters", [])
    wanted = ["429"]
    if operation.get("security") and {} not in operation["security"]:
        wanted += ["401", "403"]
    if operation.get("requestBody") or any(parameter["in"] == "query" for parameter in parameters):
        wanted.append("400")
    if any(parameter["in"] == "path" for parameter in parameters):
        wanted.append("404")
    if any(parameter["name"] == "Idempotency-Key" for parameter in parameters):
        wanted.append("409")
    content = {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}}
    for status in wanted:
        found = responses.setdefault(status, {"description": _SENTENCES[status]})
        found.setdefault("content", content)
    if "400" in responses:
        responses["400"] = responses["400"] | {"description": _reasons(responses["400"]["description"], operation)}
    responses.setdefault("default", {"description": "Any other error.", "content": content})
    operation["responses"] = dict(sorted(responses.items()))


def _reasons(sentence: str, operation: JSON) -> str:
    """The description of status 400: why a request that fits the schema may be refused."""
    general = "; ".join(f"`{code}`: {text}" for code, text in EVERYWHERE.items())
    named = "".join(f"\n- {'any field' if name == '*' else f'`{name}`'}: {text}" for name, text in operation.get(REFUSALS, {}).items())
    return f"{sentence.rstrip('.')}. Beyond the schema, by code: {general}.{named}"


def _operations(result: JSON) -> list[JSON]:
    return [path[method] for path in result["paths"].values() for method in _METHODS if method in path]


def _unique(name: str, taken: set[str]) -> str:
    found, number = name, 2
    while found in taken:
        found, number = f"{name}_{number}", number + 1
    taken.add(found)
    return found


def _without_types(schema: Any) -> Any:
    """OpenAPI 3.0 has no lists of types and no `examples`."""
    if isinstance(schema, dict):
        found = {key: _without_types(value) for key, value in schema.items() if key != "examples"}
        if isinstance(found.get("type"), list):
            found["type"], found["nullable"] = found["type"][0], True
        return found
    return [_without_types(item) for item in schema] if isinstance(schema, list) else schema
