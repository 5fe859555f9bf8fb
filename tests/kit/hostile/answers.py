"""What every answer to a hostile request must be, and which fields an endpoint's body has."""

from __future__ import annotations

import re
from functools import cache
from typing import Any

from tests.kit.endpoints import Endpoint, every
from tests.kit.hostile import corpus
from tests.kit.wire import Answer

ENDPOINTS = every()


WRITES = [endpoint for endpoint in ENDPOINTS if endpoint.method in ("POST", "PUT", "PATCH")]


# Without a vendor there is no model to call, and a readiness probe says what is away: the only honest 5xx here.
MAY_BE_503 = {"no_model_available", "no_model_fits", "not_configured", "unavailable", "shutting_down"}


PAGES = ("/", "/docs", "/password", "/{page}")


def check(endpoint: Endpoint, what: str, answer: Answer) -> None:
    said = f"{endpoint} with {what} answered {answer.status}: {answer.body[:500]!r}"
    assert answer.headers.get("x-request-id"), said
    if answer.status == 503 and endpoint.template == "/health/ready":
        return
    if answer.status >= 500:
        assert answer.status == 503 and answer.error["code"] in MAY_BE_503, said
    if answer.status >= 400:
        assert answer.headers["content-type"].startswith("application/json"), said
        error = answer.error
        assert error["message"] and error["type"], said
        if not endpoint.template.startswith(("/v1/", "/v1beta/")):
            assert set(error) == {"type", "message", "code", "param", "details", "request_id"}, said
            assert error["request_id"] == answer.headers["x-request-id"], said
    elif endpoint.template not in PAGES:
        assert not answer.headers.get("content-type", "").startswith("text/html"), said
    assert not corpus.LEAKS.search(answer.body), said


@cache
def openapi_document() -> dict[str, Any]:
    from drf_spectacular.generators import SchemaGenerator

    return SchemaGenerator().get_schema(request=None, public=True)


@cache
def fields_of(endpoint: Endpoint) -> list[str]:
    """The names of the body's fields, by our own OpenAPI document."""
    document = openapi_document()
    shape = re.sub(r"{\w+}", "{}", endpoint.template)
    for path, operations in document["paths"].items():
        if re.sub(r"{\w+}", "{}", path) == shape and endpoint.method.lower() in operations:
            content = operations[endpoint.method.lower()].get("requestBody", {}).get("content", {})
            schema = content.get("application/json", {}).get("schema", {})
            while "$ref" in schema:
                schema = document["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
            return sorted(schema.get("properties", {}))
    return []
