"""Real answers against the OpenAPI document: each value as it says, and no key that it does not name.

The fuzz round (test_schemathesis.py) asks for answers without much content; these have some of everything.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import jsonschema
import pytest

from accounts import audit
from agents.simulator.thread import SimulatorThread
from aiagents.core.db.calls import in_db
from billing.models import Budget
from tests.kit import cast
from tests.kit import catalogue as installed_catalogue
from tests.kit.access_matrix import TABLE
from tests.kit.endpoints import every
from tests.kit.hostile.answers import openapi_document
from tests.kit.wire import Answer, ask, product

pytestmark = pytest.mark.django_db
MODEL = "gpt-4o-mini"
# Endpoints whose answers go out as other products define them, or are no JSON.
NOT_OURS = ("/v1/", "/api/schema/", "/health", "/metrics", "/docs", "/{page}", "/password")
READABLE = [endpoint for endpoint in every() if endpoint.method == "GET" and not endpoint.template.startswith(NOT_OURS)]
# Further answers: the method, the path by `cast.things`, and the body.
WRITES: list[tuple[str, str, Any]] = [
    ("POST", "/api/v1/chat/send", {"content": "Hello", "model": MODEL, "metadata": {"a": 1}}),
    ("POST", "/api/v1/chat/send", {"content": [{"type": "text", "text": "Hello"}], "model": "auto"}),
    ("POST", "/api/v1/chat/route", {"content": "Hello", "model": "auto"}),
    ("POST", "/api/v1/chat/route", {"content": "Hello", "model": MODEL}),
    ("POST", "/api/v1/chat/messages/{answer}/cancel", {}),
    ("POST", "/api/v1/chat/messages/{answer}/feedback", {"rating": "up", "comment": "good"}),
    ("POST", "/api/v1/chat/messages/{answer}/regenerate", {"model": MODEL}),
    ("POST", "/api/v1/chat/messages/{question}/edit", {"content": "Hello", "model": MODEL}),
    ("POST", "/api/v1/chat/conversations", {"title": "x"}),
    ("PATCH", "/api/v1/chat/conversations/{conversation}", {"pinned": True}),
    ("POST", "/api/v1/agents/", {"name": "x", "model": MODEL, "tools": [{"name": "calculator", "approval": "never"}]}),
    ("PATCH", "/api/v1/agents/{agent}", {"description": "x"}),
    ("POST", "/api/v1/agents/{agent}/run", {"input": "Hello"}),
    ("POST", "/api/v1/agents/runs/{agent_run}/reject", {"reason": "no"}),
    ("POST", "/api/v1/agents/runs/{agent_run}/cancel", {}),
    ("POST", "/api/v1/tasks/", {"name": "x", "input": "Hello", "model": MODEL, "webhook_url": "https://hooks.example.com/x"}),
    ("POST", "/api/v1/tasks/{task}/run", {}),
    ("POST", "/api/v1/tasks/{task}/pause", {}),
    ("POST", "/api/v1/tasks/{task}/resume", {}),
    ("POST", "/api/v1/tasks/{task}/webhook-secret", {}),
    ("POST", "/api/v1/auth/api-keys", {"name": "x", "scopes": ["chat"]}),
    ("POST", "/api/v1/auth/ws-ticket", {}),
    ("PATCH", "/api/v1/auth/profile", {"name": "Ann"}),
    ("PUT", "/api/v1/billing/alerts", {"enabled": True, "by_email": True, "thresholds": [80]}),
    ("PUT", "/api/v1/billing/budgets", {"scope": "agent", "scope_id": "{agent}", "limit_usd": "5"}),
    ("PUT", "/api/v1/admin/budgets", {"scope": "system", "limit_usd": "1000"}),
]


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    return openapi_document()


@pytest.fixture
def vendors(settings: Any, db: None) -> Iterator[None]:
    settings.CHAT_TITLES = False
    installed_catalogue.load()
    with SimulatorThread() as sim:
        settings.SIMULATOR, settings.SIMULATOR_URL = True, sim.url
        yield


@pytest.fixture
def root(vendors: None) -> cast.Person:
    return cast.person("root@example.com", admin=True)


async def call(method: str, path: str, body: Any, person: cast.Person) -> Answer:
    return await ask(product, method, path, body, {"accept": "application/json"}, person.token)


async def things(person: cast.Person) -> dict[str, str]:
    """Rows of everything, some of them made by the product itself."""
    rows = {name: str(id) for name, id in (await in_db(cast.things, person.user)).items()}
    sent = await call("POST", "/api/v1/chat/send", {"content": "Hello", "model": MODEL}, person)
    assert sent.status == 200, sent.body
    rows["answer"], rows["question"] = sent.json["message"]["id"], sent.json["user_message"]["id"]
    rows["conversation"] = sent.json["conversation_id"]
    await in_db(audit.record, "user.update", actor=person.user, target=person.user, details={"fields": ["name"]})
    await in_db(Budget.objects.filter(scope="user", scope_id=person.user.pk).update, limit_usd=1)
    return rows


async def test_what_is_read_is_documented(document: dict[str, Any], root: cast.Person):
    """In one test, since all of them may read the same rows, which are made by calls."""
    rows, found = await things(root), []
    for endpoint in READABLE:
        owned = TABLE[str(endpoint)].owned
        answer = await call("GET", endpoint.path(**{name: rows[kind] for name, kind in owned.items()}), None, root)
        if "{id}" in endpoint.template and not owned:
            answer = await call("GET", endpoint.path(id=str(root.user.pk)), None, root)
        if answer.status >= 500:
            found.append(f"{endpoint}: {answer.status}")
        if answer.status == 200 and answer.headers["content-type"].startswith("application/json"):
            found += [f"{endpoint}: {one}" for one in wrong(document, "GET", endpoint.template, answer)]
    assert not found


@pytest.mark.parametrize(("method", "template", "body"), WRITES, ids=lambda one: one if isinstance(one, str) else "")
async def test_what_is_answered_to_a_write_is_documented(
    method: str, template: str, body: Any, document: dict[str, Any], root: cast.Person
):
    rows = await things(root)
    filled = {name: value.format(**rows) if isinstance(value, str) else value for name, value in body.items()}
    answer = await call(method, template.format(**rows), filled, root)
    assert 200 <= answer.status < 300, answer.body
    assert not list(wrong(document, method, template, answer))


def wrong(document: dict[str, Any], method: str, template: str, answer: Answer) -> Iterator[str]:
    """Each place where the answer is not as the document says."""
    shape = re.sub(r"{\w+}", "{}", template)
    paths = [path for path in document["paths"] if re.sub(r"{\w+}", "{}", path) == shape]
    responses = document["paths"][paths[0]][method.lower()]["responses"]
    schema = responses[str(answer.status)]["content"]["application/json"]["schema"]
    validator = jsonschema.Draft202012Validator({**schema, "components": document["components"]})
    for error in validator.iter_errors(answer.json):
        yield f"{error.json_path}: {error.message[:40]} … {error.message[-160:]}"
    yield from unnamed(document, schema, answer.json, "$")


def unnamed(document: dict[str, Any], schema: dict[str, Any], value: Any, path: str) -> Iterator[str]:
    """Keys of the answer that its schema does not name."""
    options = list(parts(document, schema))
    properties = {name: inner for one in options for name, inner in one.get("properties", {}).items()}
    if isinstance(value, dict) and properties and not any(one.get("additionalProperties") for one in options):
        for name in sorted(set(value) - set(properties)):
            yield f"{path}.{name} is not documented"
        for name in sorted(set(value) & set(properties)):
            yield from unnamed(document, properties[name], value[name], f"{path}.{name}")
    if isinstance(value, list):
        for item in (next((one["items"] for one in options if "items" in one), None) and value) or ():
            yield from unnamed(document, next(one["items"] for one in options if "items" in one), item, f"{path}[]")


def parts(document: dict[str, Any], schema: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The schema and those that it refers to or is made of."""
    yield schema
    if "$ref" in schema:
        yield from parts(document, document["components"]["schemas"][schema["$ref"].rpartition("/")[2]])
    for name in ("allOf", "anyOf", "oneOf"):
        for inner in schema.get(name, ()):
            yield from parts(document, inner)


def test_a_key_that_is_not_documented_is_found():
    components = {"components": {"schemas": {"A": {"type": "object", "properties": {"b": {"type": "array", "items": {"$ref": "#/x/B"}}}},
                                             "B": {"type": "object", "properties": {"c": {}}}}}}  # fmt: skip
    schema = {"allOf": [{"$ref": "#/x/A"}]}
    assert list(unnamed(components, schema, {"b": [{"c": 1, "d": 2}], "e": 3}, "$")) == [
        "$.e is not documented", "$.b[].d is not documented",
    ]  # fmt: skip
