"""A DRF view and an endpoint beside Django answer errors, limits and headers alike."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from accounts import keys, principals
from accounts.authentication import authenticate, require_scope
from accounts.models import User
from aiagents.core.errors import BudgetExceeded, InvalidRequest
from aiagents.core.http import body_limits
from aiagents.core.http.consumer import EndpointApplication
from aiagents.core.http.endpoints import Endpoint, Request, Response, json_response
from aiagents.core.tests import urls
from tests.kit import wire
from tests.kit.hostile import corpus
from tests.kit.wire import Answer, ask

pytestmark = pytest.mark.django_db
# What both must say alike, wherever it stands.
ALIKE = (
    "cache-control", "content-type", "x-content-type-options", "referrer-policy", "x-frame-options", "cross-origin-opener-policy",
    "content-security-policy", "ratelimit-limit", "ratelimit-remaining", "www-authenticate", "allow", "idempotent-replayed",
)  # fmt: skip


async def things(request: Request) -> Response:
    body = await request.json()
    if set(body) - {"name", "size", "tags"}:
        raise InvalidRequest
    urls.RUNS.append(body)
    if body.get("name") == "poor":
        raise BudgetExceeded
    if body.get("name") == "broken":
        raise ValueError("the password is hunter2")
    return json_response({"run": len(urls.RUNS)}, 201)


async def get(request: Request) -> Response:
    return json_response({"ok": True})


@pytest.fixture
def both(settings: Any) -> dict[str, Callable]:
    settings.ROOT_URLCONF = "aiagents.core.tests.urls"
    principals.forget()
    urls.RUNS.clear()
    hot = EndpointApplication(authenticate=authenticate, authorize=require_scope)
    hot.add(Endpoint("POST", "/api/v1/things", things, scope="chat", idempotent=True))
    hot.add(Endpoint("GET", "/api/v1/things", get, scope="chat"))
    hot.add(Endpoint("POST", "/api/v1/forbidden", things, scope="tasks"))
    wire._handler = None
    return {"hot": hot, "django": wire.django}


@pytest.fixture
def key() -> str:
    user = User.objects.create_user("ann@example.com", "correct horse battery staple")
    return keys.create(user, name="k", scopes=["chat"])[1]


async def compare(both: dict, *arguments: Any, **options: Any) -> tuple[Answer, Answer]:
    """The two answers, after checking all that must be alike."""
    from aiagents.core.valkey.clients import sync_client

    found = []
    for application in both.values():
        sync_client().flushdb()
        found.append(await ask(application, *arguments, **options))
    hot, django = found
    assert hot.status == django.status, (hot.body, django.body)
    if hot.status >= 400:
        assert set(hot.json) == set(django.json) == {"error"} and set(hot.error) == set(django.error)
        assert (hot.error["type"], hot.error["code"]) == (django.error["type"], django.error["code"])
    for name in ALIKE:
        if name != "allow":
            assert hot.headers.get(name) == django.headers.get(name), name
    for answer in found:
        assert answer.headers["x-request-id"] and "server" not in answer.headers
        if answer.status >= 400:
            assert answer.error["request_id"] == answer.headers["x-request-id"]
    return hot, django


@pytest.mark.parametrize(
    ("method", "path", "body", "headers", "status"),
    [
        ("GET", "/api/v1/things", None, {}, 200),
        ("POST", "/api/v1/things", {"name": "a"}, {}, 201),
        ("POST", "/api/v1/things", {"name": "poor"}, {}, 402),
        ("POST", "/api/v1/things", {"name": "a", "owner": "you"}, {}, 400),
        ("POST", "/api/v1/things", {"name": "a", "nonsense": 1}, {}, 400),
        ("POST", "/api/v1/forbidden", {"name": "a"}, {}, 403),
        ("DELETE", "/api/v1/things", None, {}, 405),
        ("TRACE", "/api/v1/things", None, {}, 405),
        ("GET", "/api/v1/nowhere", None, {}, 404),
        ("POST", "/api/v1/things", {"name": "a"}, {"content-length": str(10**9)}, 413),
        ("GET", "/api/v1/things?x=%00", None, {}, 400),
        ("GET", "/api/v1/things?x=%ff", None, {}, 400),
        ("GET", "/api/v1/%00", None, {}, None),
        ("GET", "/api/v1/%ff", None, {}, None),
    ],
)
async def test_same_request_same_verdict(both: dict, key: str, method: str, path: str, body: Any, headers: dict, status: int | None):
    if status is None:  # a path that no endpoint has: only Django answers it
        answer = await ask(both["django"], method, path, body, headers, key)
        assert answer.status == 400 and answer.error["code"] == "invalid_text"
        return
    hot, _ = await compare(both, method, path, body, headers, key)
    assert hot.status == status


@pytest.mark.parametrize("offered", ["", "aia_wrong", "x.y.z", "\u00e9", "a" * 5000, "'; DROP TABLE users; --"])
@pytest.mark.parametrize("carrier", ["authorization", "x-api-key"])
async def test_no_credential_and_a_wrong_one_are_answered_alike(both: dict, key: str, offered: str, carrier: str):
    value = f"Bearer {offered}" if carrier == "authorization" and offered else offered
    hot, django = await compare(both, "GET", "/api/v1/things", None, {carrier: value} if offered else {})
    assert hot.status == 401 and hot.error["message"] == django.error["message"]


async def test_a_key_gets_the_same_verdict_by_either_header(both: dict, key: str):
    assert (await compare(both, "GET", "/api/v1/things", None, {"x-api-key": key}))[0].status == 200
    twice = [(b"authorization", f"Bearer {key}".encode()), (b"x-api-key", key.encode()), (b"x-api-key", b"other")]
    assert (await compare(both, "GET", "/api/v1/things", None, twice))[0].status == 400


@pytest.mark.parametrize("body", corpus.BODIES.values(), ids=corpus.BODIES)
async def test_hostile_bodies_are_400_at_both(both: dict, key: str, body: bytes):
    hot, _ = await compare(both, "POST", "/api/v1/things", body, {"content-type": "application/json"}, key)
    assert hot.status == (413 if len(body) > body_limits.SMALL else 400)


async def test_their_limits_are_one(both: dict, key: str, settings: Any):
    settings.RATE_LIMIT_REQUESTS = 4
    statuses = []
    for turn in range(3):
        for application in both.values():
            answer = await ask(application, "GET", "/api/v1/things", None, {}, key)
            statuses.append(answer.status)
            assert int(answer.headers["ratelimit-limit"]) == 4 and int(answer.headers["ratelimit-remaining"]) == max(
                0, 3 - len(statuses) + 1
            )
            assert ("retry-after" in answer.headers) is (answer.status == 429), turn
    assert statuses == [200] * 4 + [429] * 2


async def test_refusals_count_too(both: dict, settings: Any):
    settings.RATE_LIMIT_REQUESTS = 4
    statuses = [
        (await ask(application, "GET", path)).status
        for path in ("/api/v1/things", "/api/v1/nowhere", "/api/v1/things")
        for application in both.values()
    ]
    assert statuses == [401, 401, 404, 404, 429, 429]


async def test_idempotency_is_one(both: dict, key: str):
    headers = {"idempotency-key": "k-1"}
    first = await ask(both["django"], "POST", "/api/v1/things", {"name": "a"}, headers, key)
    again = await ask(both["django"], "POST", "/api/v1/things", {"name": "a"}, headers, key)
    at_the_other = await ask(both["hot"], "POST", "/api/v1/things", {"name": "a"}, headers, key)
    assert first.body == again.body == at_the_other.body and len(urls.RUNS) == 1
    assert again.headers["idempotent-replayed"] == at_the_other.headers["idempotent-replayed"] == "true"
    assert again.status == at_the_other.status == 201
    other = await ask(both["django"], "POST", "/api/v1/things", {"name": "b"}, headers, key)
    assert (other.status, other.error["code"]) == (409, "idempotency_key_reused")
    for name in ("poor", "x" * 50):  # failures are not kept
        for _ in range(2):
            assert (await ask(both["django"], "POST", "/api/v1/things", {"name": name}, {"idempotency-key": name[:5]}, key)).status in (
                400,
                402,
            )


async def test_cors_is_one(both: dict, key: str, settings: Any):
    settings.CORS_ALLOWED_ORIGINS = ["https://app.example.com"]
    for origin, allowed in (("https://app.example.com", True), ("https://evil.example.com", False), ("null", False)):
        for application in both.values():
            answer = await ask(application, "GET", "/api/v1/things", None, {"origin": origin}, key)
            assert (answer.headers.get("access-control-allow-origin") == origin) is allowed
            assert "access-control-allow-credentials" not in answer.headers and "origin" in answer.headers["vary"]
            ask_first = {"origin": origin, "access-control-request-method": "POST", "access-control-request-headers": "idempotency-key"}
            asked = await ask(application, "OPTIONS", "/api/v1/things", None, ask_first)
            assert ("idempotency-key" in asked.headers.get("access-control-allow-headers", "")) is allowed


@pytest.mark.parametrize("which", ["hot", "django"])
async def test_an_unexpected_exception_leaks_nothing(both: dict, key: str, which: str, caplog: Any):
    answer = await ask(both[which], "POST", "/api/v1/things", {"name": "broken"}, {}, key)
    assert answer.status == 500 and answer.error["code"] == "internal_error" and b"hunter2" not in answer.body
    assert "hunter2" in caplog.text
