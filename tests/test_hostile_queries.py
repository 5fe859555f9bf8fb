"""Hostile values in every query parameter that the OpenAPI document names, at every endpoint: 200, or 4xx in one shape, never 500."""

from __future__ import annotations

import json
import re
from collections import Counter
from functools import cache
from typing import Any

import pytest

from tests.kit import cast
from tests.kit.access_matrix import TABLE
from tests.kit.endpoints import Endpoint, every
from tests.kit.hostile.answers import check, openapi_document
from tests.kit.sampling import sample
from tests.kit.wire import Answer, product, start

pytestmark = pytest.mark.django_db
ENDPOINTS = [endpoint for endpoint in every() if endpoint.method in ("GET", "DELETE")]
# As they stand on the wire.
VALUES = {
    "empty": "",
    "zero": "0",
    "minus one": "-1",
    "minus zero": "-0.0",
    "beyond 32 bits": "2147483648",
    "beyond 64 bits": "9223372036854775808",
    "below 64 bits": "-9223372036854775809",
    "40 digits": "9" * 40,
    "5,000 digits": "9" * 5000,
    "1e999": "1e999",
    "nan": "nan",
    "signalling nan": "sNaN123",
    "infinity": "-Infinity",
    "other digits": "%D9%A3",
    "nul": "a%00b",
    "nul alone": "%00",
    "lone surrogate": "%ED%A0%80",
    "bad utf-8": "%ff%fe",
    "half an escape": "%",
    "very long": "x" * 20_000,
    "emoji": "%F0%9F%91%A8%E2%80%8D%F0%9F%91%A9",
    "year zero": "0000-00-00",
    "year 99999": "99999-01-01",
    "no such day": "2026-02-30T25:61:61Z",
    "first moment": "0001-01-01T00:00:00%2B14:00",
    "last moment": "9999-12-31T23:59:59-14:00",
    "no uuid": "00000000-0000-0000-0000-00000000000g",
    "nil uuid": "00000000-0000-0000-0000-000000000000",
    "uuid in braces": "%7B00000000-0000-7000-8000-000000000000%7D",
    "word": "nonsense",
    "true in capitals": "TRUE",
    "null": "null",
    "list": "1,nonsense,,2",
    "json": "%7B%22a%22:%5B1%5D%7D",
    "quote": "%27%22%5C",
    "pattern": "%28%5B",
    "wildcards": "%25_%25",
    "address": "999.1.1.1",
    "path": "..%2F..%2Fetc%2Fpasswd",
}


@pytest.fixture
def callers(settings: Any) -> tuple[cast.Person, cast.Person, dict[str, Any]]:
    """A user with one row of each kind, and an admin."""
    settings.RATE_LIMIT_REQUESTS = 1_000_000
    ann = cast.person("ann@example.com")
    return ann, cast.person("root@example.com", admin=True), cast.things(ann.user) | {"user": ann.user.pk}


def parameters(endpoint: Endpoint) -> dict[str, str]:
    """The documented query parameters with the kind of each; where there are none one that nothing knows."""
    shape = re.sub(r"{\w+}", "{}", endpoint.template)
    for path, operations in openapi_document()["paths"].items():
        if re.sub(r"{\w+}", "{}", path) == shape and endpoint.method.lower() in operations:
            found = operations[endpoint.method.lower()].get("parameters", [])
            queries = sorted((one for one in found if one["in"] == "query"), key=lambda one: one["name"])
            # Two plain texts may be read by different code; two of another schema are not.
            kinds = {one["name"]: one["name"] if one["schema"] == {"type": "string"} else json.dumps(one["schema"]) for one in queries}
            return kinds or {"unknown": "unknown"}
    return {"unknown": "unknown"}


async def answer_of(endpoint: Endpoint, target: str, token: str) -> Answer:
    """The answer; of a stream of events, which may have no end, its beginning."""
    client, task = start(product, endpoint.method, target, None, {"accept": "application/json"}, token)
    while not (client.answer.ended or task.done()):
        client.arrived.clear()
        if client.answer.headers.get("content-type", "").startswith("text/event-stream"):
            client.leave()
            break
        if not client.answer.ended:
            await client.arrived.wait()
    await task
    return client.answer


@cache
def plan() -> dict[Endpoint, dict[str, list[str]]]:
    """Which values each parameter gets: the first of a kind all of them, the others an eighth each, in turn."""
    found: dict[Endpoint, dict[str, list[str]]] = {}
    seen: Counter[str] = Counter()
    for endpoint in ENDPOINTS:
        found[endpoint] = {}
        for name, kind in parameters(endpoint).items():
            found[endpoint][name] = list(VALUES) if not seen[kind] else list(VALUES)[seen[kind] % 8 :: 8]
            seen[kind] += 1
    return found


@pytest.mark.soak
@pytest.mark.parametrize("endpoint", ENDPOINTS, ids=str)
async def test_no_value_of_a_query_parameter_makes_a_500(endpoint: Endpoint, callers: tuple[cast.Person, cast.Person, dict[str, Any]]):
    ann, root, rows = callers
    names = TABLE[str(endpoint)].owned or dict.fromkeys(set(endpoint.parameters) & {"id", "pk"}, "user")
    # A deletion that is taken would leave nothing for the next value.
    path = endpoint.path(**{name: str(rows[kind]) for name, kind in names.items()} if endpoint.method == "GET" else {})
    token = (root if endpoint.template.startswith("/api/v1/admin/") else ann).token
    for name, values in plan()[endpoint].items():
        for what, _ in sample(((one, None) for one in values), 4, f"{endpoint} {name}"):
            value = VALUES[what]
            answer = await answer_of(endpoint, f"{path}?{name}={value}", token)
            check(endpoint, f"{name}: {what}", answer)
            if "%00" in value or what in ("lone surrogate", "bad utf-8"):
                assert answer.status == 400, f"{endpoint} took {name}: {what}"
        check(endpoint, f"{name}: twice", await answer_of(endpoint, f"{path}?{name}=1&{name}=2", token))
        for what, query in (
            ()
            if len(values) < len(VALUES)
            else {
                "100 times": "&".join([f"{name}=1"] * 100),
                "in brackets": f"{name}[]=1&{name}[a]=2",
                "a look-up": f"{name}__isnull=x&{name}__in=1,2&{name}__regex=%28",
                "without a value": name,
            }.items()
        ):
            check(endpoint, f"{name}: {what}", await answer_of(endpoint, f"{path}?{query}", token))


def test_parameters_are_found():
    found = {name for endpoint in every() for name in parameters(endpoint)}
    assert {"cursor", "page_size", "from", "created_after", "min_quality", "ip", "after"} <= found and len(found) > 30
