"""The OpenAPI document: valid, without a warning, and true to what is served."""

from __future__ import annotations

import re
from io import StringIO
from typing import Any

import pytest
from django.core.management import call_command
from drf_spectacular.generators import SchemaGenerator

from tests.kit.access_matrix import TABLE
from tests.kit.endpoints import every


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    return SchemaGenerator().get_schema(request=None, public=True)


def test_it_is_valid_and_made_without_a_warning():
    call_command("spectacular", validate=True, fail_on_warn=True, stdout=StringIO())


def test_every_endpoint_of_the_api_stands_in_it_with_its_errors(document: dict[str, Any]):
    shown = {(re.sub(r"{\w+}", "{}", path), method.upper()) for path, found in document["paths"].items() for method in found}
    served = [endpoint for endpoint in every() if endpoint.template.startswith(("/api/v1/", "/v1/"))]
    missing = [str(endpoint) for endpoint in served if (re.sub(r"{\w+}", "{}", endpoint.template), endpoint.method) not in shown]
    assert not missing
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            responses = operation["responses"]
            assert "default" in responses and any(status.startswith("2") for status in responses), f"{method} {path}"
            if "{" in path:
                assert "404" in responses, f"{method} {path}"


def test_what_needs_a_credential_says_so(document: dict[str, Any]):
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            shape = re.sub(r"{\w+}", "{}", f"{method.upper()} {path}")
            rows = [row for name, row in TABLE.items() if re.sub(r"{\w+}", "{}", name) == shape]
            if rows and rows[0].who != "public":
                assert operation.get("security") and {} not in operation["security"], f"{method} {path}"
                assert "401" in operation["responses"], f"{method} {path}"


def test_ids_of_operations_are_unique_and_their_parameters_complete(document: dict[str, Any]):
    names = [operation["operationId"] for methods in document["paths"].values() for operation in methods.values()]
    assert len(names) == len(set(names))
    for path, methods in document["paths"].items():
        for operation in methods.values():
            named = {parameter["name"] for parameter in operation.get("parameters", []) if parameter["in"] == "path"}
            assert named == set(re.findall(r"{(\w+)}", path)), path
