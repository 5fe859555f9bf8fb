"""Endpoints beside Django, by themselves."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from aiagents.core import draining
from aiagents.core.errors import AppError, BudgetExceeded
from aiagents.core.http.consumer import EndpointApplication
from aiagents.core.http.endpoints import Endpoint, Request, Response, json_response
from tests.kit.waiting import until
from tests.kit.wire import ask, start

GOOD = {"authorization": "Bearer good"}


async def echo(request: Request) -> Response:
    """Give back what came."""
    return json_response({"body": await request.json(), "args": request.path_args, "query": request.query})


async def test_it_answers_with_every_header_of_the_contract(app: EndpointApplication, settings: Any):
    app.add(Endpoint("POST", r"/api/v1/things/(?P<id>[^/]+)", echo, scope="chat"))
    answer = await ask(app, "POST", "/api/v1/things/7?a=1&a=2", {"x": 1}, GOOD | {"x-request-id": "client-made-id-1"})
    assert (answer.status, answer.json) == (200, {"body": {"x": 1}, "args": {"id": "7"}, "query": {"a": "2"}})
    assert answer.headers["x-request-id"] == "client-made-id-1"
    assert answer.headers["content-type"] == "application/json" and answer.headers["content-length"] == str(len(answer.body))
    assert answer.headers["cache-control"] == "no-store" and answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["ratelimit-limit"] == str(settings.RATE_LIMIT_REQUESTS)
    assert answer.headers["ratelimit-remaining"] == str(settings.RATE_LIMIT_REQUESTS - 1)


@pytest.mark.parametrize("offered", ["short", "x" * 65, "with space in", "a\tb23456789", "{{7*7}}aaaa", "ü" * 10])
async def test_a_request_id_that_is_not_harmless_is_replaced(app: EndpointApplication, offered: str):
    app.add(Endpoint("GET", "/api/v1/things", echo, scope="chat"))
    answer = await ask(app, "GET", "/api/v1/things", None, GOOD | {"x-request-id": offered})
    assert answer.headers["x-request-id"] != offered and len(answer.headers["x-request-id"]) == 32


@pytest.mark.parametrize(
    ("method", "path", "headers", "status", "code"),
    [
        ("POST", "/api/v1/things", {}, 401, "not_authenticated"),
        ("POST", "/api/v1/forbidden", GOOD, 403, "permission_denied"),
        ("PUT", "/api/v1/things", GOOD, 405, "method_not_allowed"),
        ("TRACE", "/api/v1/things", GOOD, 405, "method_not_allowed"),
        ("GET", "/api/v1/nowhere", GOOD, 404, "not_found"),
        ("POST", "/api/v1/things?x=%00", GOOD, 400, "invalid_text"),
        ("POST", "/api/v1/things?x=%ff", GOOD, 400, "invalid_text"),
        ("POST", "/api/v1/poor", GOOD, 402, "budget_exceeded"),
        ("POST", "/api/v1/broken", GOOD, 500, "internal_error"),
    ],
)
async def test_every_error_has_the_contracts_shape(
    app: EndpointApplication, method: str, path: str, headers: dict, status: int, code: str, caplog: Any
):
    async def poor(request: Request) -> Response:
        raise BudgetExceeded

    async def broken(request: Request) -> Response:
        raise ValueError("the password is hunter2")

    for name, handler, scope in (
        ("things", echo, "chat"),
        ("forbidden", echo, "forbidden"),
        ("poor", poor, None),
        ("broken", broken, None),
    ):
        app.add(Endpoint("POST", f"/api/v1/{name}", handler, scope=scope))
    answer = await ask(app, method, path, {}, headers)
    assert (answer.status, answer.error["code"]) == (status, code)
    assert set(answer.error) == {"type", "message", "code", "param", "details", "request_id"}
    assert answer.error["request_id"] == answer.headers["x-request-id"]
    assert "ratelimit-remaining" in answer.headers and b"hunter2" not in answer.body
    assert (answer.headers.get("www-authenticate") is not None) is (status == 401)
    if status == 405:
        assert answer.headers["allow"] == "OPTIONS, POST"
    if status == 500:
        assert "hunter2" in caplog.text  # said in the log, with its traceback, and nowhere else


async def test_two_credentials_in_one_request_are_refused(app: EndpointApplication):
    app.add(Endpoint("POST", "/api/v1/things", echo, scope="chat"))
    for name in (b"authorization", b"x-api-key", b"idempotency-key"):
        answer = await ask(app, "POST", "/api/v1/things", b"{}", [(b"authorization", b"Bearer good"), (name, b"a"), (name, b"b")])
        assert (answer.status, answer.error["code"]) == (400, "duplicate_header")


async def test_the_body_is_counted_and_not_believed(app: EndpointApplication, settings: Any):
    settings.MAX_BODY_BYTES = 1000
    app.add(Endpoint("POST", "/api/v1/things", echo, scope="chat"))
    announced = await ask(app, "POST", "/api/v1/things", b"{}", GOOD | {"content-length": "1001"})
    understated = await ask(app, "POST", "/api/v1/things", [b" " * 600, b" " * 600], GOOD | {"content-length": "10"})
    absurd = await ask(app, "POST", "/api/v1/things", b"{}", GOOD | {"content-length": "9" * 5000})
    assert [answer.status for answer in (announced, understated, absurd)] == [413, 413, 413]
    fits = await ask(app, "POST", "/api/v1/things", [b'{"a":', b"1}"], GOOD)
    assert fits.json["body"] == {"a": 1}


async def test_the_limit_is_exact_also_for_requests_at_once(app: EndpointApplication, settings: Any):
    settings.RATE_LIMIT_REQUESTS = 20
    app.add(Endpoint("POST", "/api/v1/things", echo, scope="chat"))
    answers = await asyncio.gather(*(ask(app, "POST", "/api/v1/things", {}, GOOD) for _ in range(60)))
    refused = [answer for answer in answers if answer.status == 429]
    assert len(refused) == 40 and sum(answer.status == 200 for answer in answers) == 20
    assert all(1 <= int(answer.headers["retry-after"]) <= settings.RATE_LIMIT_WINDOW for answer in refused)
    assert all(answer.headers["ratelimit-remaining"] == "0" and answer.error["type"] == "rate_limited" for answer in refused)


async def test_a_key_has_a_bucket_of_its_own_within_its_users(app: EndpointApplication, principal: Any, settings: Any):
    settings.RATE_LIMIT_REQUESTS = 5
    app.add(Endpoint("GET", "/api/v1/me", lambda request: _ok(), scope=None))
    principal.key_id, principal.rate_limit = "key-1", 2
    assert [(await ask(app, "GET", "/api/v1/me", None, GOOD)).status for _ in range(3)] == [200, 200, 429]
    principal.key_id = "key-2"
    answers = [await ask(app, "GET", "/api/v1/me", None, GOOD) for _ in range(3)]
    assert [answer.status for answer in answers] == [200, 200, 429] and answers[0].headers["ratelimit-limit"] == "2"
    principal.key_id, principal.rate_limit = None, None
    assert [(await ask(app, "GET", "/api/v1/me", None, GOOD)).status for _ in range(2)] == [200, 429]


async def _ok() -> Response:
    return json_response({})


async def test_wrong_credentials_are_counted_by_address(app: EndpointApplication, settings: Any):
    settings.RATE_LIMIT_REQUESTS = 3
    app.add(Endpoint("GET", "/api/v1/me", lambda request: _ok(), scope=None))
    statuses = [
        (await ask(app, "GET", "/api/v1/me", None, {"authorization": f"Bearer {n}", "x-forwarded-for": f"9.9.9.{n}"})).status
        for n in range(5)
    ]
    assert statuses == [401, 401, 401, 429, 429]
    assert (await ask(app, "GET", "/api/v1/me", None, {}, peer="192.0.2.9")).status == 401
    assert (await ask(app, "GET", "/api/v1/me", None, GOOD)).status == 200


async def test_a_leaving_process_starts_no_work_and_finishes_what_it_can(app: EndpointApplication):
    app.add(Endpoint("POST", "/api/v1/start", lambda request: _ok(), scope=None, starts_work=True))
    app.add(Endpoint("POST", "/api/v1/stop", lambda request: _ok(), scope=None))
    draining.begin()
    try:
        refused = await ask(app, "POST", "/api/v1/start", {}, GOOD)
        assert (refused.status, refused.error["code"], refused.headers["retry-after"]) == (503, "shutting_down", str(draining.RETRY_AFTER))
        assert (await ask(app, "POST", "/api/v1/stop", {}, GOOD)).status == 200
    finally:
        draining.reset()


async def test_cors_is_for_listed_origins_only(app: EndpointApplication, settings: Any):
    settings.CORS_ALLOWED_ORIGINS = ["https://app.example.com"]
    app.add(Endpoint("POST", "/api/v1/things", echo, scope="chat"))
    listed = await ask(app, "POST", "/api/v1/things", {}, GOOD | {"origin": "https://app.example.com"})
    foreign = await ask(app, "POST", "/api/v1/things", {}, GOOD | {"origin": "https://app.example.com.evil"})
    refused = await ask(app, "POST", "/api/v1/things", {}, {"origin": "https://app.example.com"})
    assert listed.headers["access-control-allow-origin"] == refused.headers["access-control-allow-origin"] == "https://app.example.com"
    assert "RateLimit-Remaining" in listed.headers["access-control-expose-headers"]
    assert "access-control-allow-origin" not in foreign.headers and foreign.headers["vary"] == "origin"
    assert "access-control-allow-credentials" not in listed.headers
    preflight = {
        "origin": "https://app.example.com",
        "access-control-request-method": "POST",
        "access-control-request-headers": "authorization,x-stainless-os",
    }
    asked = await ask(app, "OPTIONS", "/api/v1/things", None, preflight)
    assert asked.status == 204 and "POST" in asked.headers["access-control-allow-methods"]
    assert {"authorization", "x-stainless-os", "idempotency-key"} <= set(asked.headers["access-control-allow-headers"].split(", "))


async def test_a_foreign_wire_renders_errors_in_its_own_shape(app: EndpointApplication):
    def foreign(exc: AppError, request_id: str) -> tuple[int, bytes, dict[str, str]]:
        return 429 if exc.status == 402 else exc.status, b'{"oops":"%b"}' % exc.code.encode(), {"x-should-retry": "false"}

    async def poor(request: Request) -> Response:
        raise BudgetExceeded

    app.add(Endpoint("POST", "/v1/poor", poor, scope="chat", error=foreign))
    answer = await ask(app, "POST", "/v1/poor", {}, GOOD)
    assert (answer.status, answer.json, answer.headers["x-should-retry"]) == (429, {"oops": "budget_exceeded"}, "false")
    assert (await ask(app, "POST", "/v1/poor", {}, {})).json == {"oops": "not_authenticated"}
    assert (await ask(app, "GET", "/v1/poor", None, GOOD)).json == {"oops": "method_not_allowed"}


@pytest.mark.parametrize("cancelled", [True, False])
async def test_a_handler_is_cancelled_with_its_client_only_where_asked(app: EndpointApplication, cancelled: bool):
    seen: list[str] = []

    async def slow(request: Request) -> Response:
        seen.append("begun")
        try:
            await asyncio.sleep(0.15)  # a slow handler
            seen.append("finished")
        except asyncio.CancelledError:
            await asyncio.sleep(0.01)  # cleaning up may await
            seen.append("cancelled")
            raise
        return json_response({})

    app.add(Endpoint("POST", "/v1/slow", slow, scope="chat", cancel_on_disconnect=cancelled))
    client, task = start(app, "POST", "/v1/slow", {}, GOOD)
    await until(lambda: seen, every=0.001)
    client.leave()
    await asyncio.wait_for(task, 10)
    assert seen == ["begun", "cancelled" if cancelled else "finished"]
    assert not cancelled or client.answer.status == 0


async def test_gone_returns_when_the_client_leaves(app: EndpointApplication):
    left: list[bool] = []

    async def waits(request: Request) -> Response:
        await request.gone()
        left.append(True)
        return json_response({})

    app.add(Endpoint("POST", "/v1/waits", waits, scope="chat"))
    client, task = start(app, "POST", "/v1/waits", {}, GOOD)
    await asyncio.sleep(0.02)  # nothing is to come
    assert not left
    client.leave()
    await asyncio.wait_for(task, 10)
    assert left == [True]


async def test_the_access_log_is_one_line_without_the_query(app: EndpointApplication, caplog: Any):
    app.add(Endpoint("GET", "/api/v1/me", lambda request: _ok(), scope=None))
    caplog.set_level("INFO", "aiagents.access")
    await ask(app, "GET", "/api/v1/me?note=aia_verysecretvalue", None, GOOD)
    (line,) = [record for record in caplog.records if record.name == "aiagents.access"]
    assert line.fields["path"] == "/api/v1/me" and line.fields["status"] == 200 and "aia_" not in str(vars(line))
