"""`/v1/messages` with a model of Anthropic: the vendor gets the body as it came, the client the answer as it came."""

from __future__ import annotations

import json
import re
from copy import deepcopy
from decimal import Decimal
from typing import Any

import aiohttp
import anthropic
import pytest
from anthropic.types.beta import message_create_params
from pydantic import TypeAdapter

from accounts import keys
from agents.calls import running as running_calls
from agents.compatible.anthropic_messages import request as anthropic_request
from agents.providers.anthropic.answer import usage_of
from agents.simulator import Simulator
from agents.simulator.seals import seal
from billing import pricing
from billing.catalogue import snapshot as catalogue
from billing.models import UsageLog
from billing.pricing import Usage
from tests.kit.wire import Answer, ask, product, start

pytestmark = pytest.mark.django_db
# Its name at the vendor is another one.
MODEL, VENDOR_MODEL = "claude-3-haiku", "claude-3-haiku-20240307"
PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
MARK = {"cache_control": {"type": "ephemeral"}}
HOUR = {"cache_control": {"type": "ephemeral", "ttl": "1h"}}
DAY = {"cache_control": {"type": "ephemeral", "ttl": "1d"}}
PICTURE = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PIXEL}}
RESULT = {"type": "tool_result", "tool_use_id": "toolu_1", "content": [{"type": "text", "text": "a"}, PICTURE]}
DOCUMENT = {
    "type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "x"}, "title": "T", "context": "C",
    "citations": {"enabled": True},
}  # fmt: skip
SEARCH_RESULT = {"type": "search_result", "source": "x", "title": "t", "content": []}
BETA = {"anthropic-beta": "context-management-2025-06-27"}
CLOSED = {"type": "object", "properties": {}, "additionalProperties": False}
HELLO = {"model": MODEL, "max_tokens": 200, "messages": [{"role": "user", "content": "Hello"}]}
# What a coding agent sends, by Anthropic's own types.
RICH: dict[str, Any] = {
    "model": MODEL,
    "max_tokens": 2000,
    "system": [{"type": "text", "text": "You are a coding agent.", **MARK}],
    "messages": [
        {"role": "user", "content": [{"type": "text", "text": "Read the screenshot", **MARK}]},
        {
            "role": "assistant",
            "content": [
                {"type": "thinking", "thinking": "A picture.", "signature": seal("A picture.")},
                {"type": "redacted_thinking", "data": "ZW5jcnlwdGVk"},
                {"type": "tool_use", "id": "toolu_1", "name": "Read", "input": {"path": "a.png", "big": 12345678901234567890123}},
            ],
        },
        {"role": "user", "content": [RESULT]},
        {"role": "system", "content": "The user switched to plan mode."},
        {"role": "user", "content": [{"type": "text", "text": "Go on"}, DOCUMENT]},
    ],
    "tools": [
        {"name": "Read", "description": "Reads", "input_schema": CLOSED, "strict": True, **MARK},
        {"type": "bash_20250124", "name": "bash"},
    ],
    "thinking": {"type": "enabled", "budget_tokens": 1024},
    "context_management": {"edits": [{"type": "clear_thinking_20251015", "keep": "all"}]},
    "metadata": {"user_id": "someone"},
    **MARK,
}  # fmt: skip


@pytest.fixture
def key(user, models) -> str:
    return keys.create(user, name="t", scopes=["chat"])[1]


@pytest.fixture
def cards(models) -> dict[str, Any]:
    return catalogue.load().cards


async def whole(body: Any, key: str, **headers: str) -> Answer:
    return await ask(product, "POST", "/v1/messages", body, headers, key)


async def rows() -> list[UsageLog]:
    await running_calls.finish_settlements()
    return [row async for row in UsageLog.objects.order_by("created_at")]


async def direct(sim: Simulator, body: Any) -> bytes:
    """What the vendor answers to this very request."""
    async with aiohttp.ClientSession() as session, session.post(f"{sim.url}/v1/messages", json=body, headers=BETA) as answer:
        return await answer.read()


def test_the_body_of_these_tests_is_what_anthropics_types_say():
    taken = TypeAdapter(message_create_params.MessageCreateParamsNonStreaming).validate_python(deepcopy(RICH))
    assert set(taken) == set(RICH)


@pytest.mark.parametrize("stream", [False, True])
async def test_a_model_of_anthropic_gets_the_body_as_it_came(key, vendor, stream: bool):
    body = {**RICH, "stream": stream, "a_field_of_next_week": {"x": [1, None]}}
    async with vendor(future=True) as sim:
        answer = await whole(body, key, **{"anthropic-beta": "context-management-2025-06-27,next-week", "anthropic-version": "2023-06-01"})
        assert answer.status == 200, answer.body
        seen = sim.requests[-1]
    assert seen.body == {**body, "model": VENDOR_MODEL}
    assert seen.headers["anthropic-beta"] == "context-management-2025-06-27,next-week"
    assert key not in json.dumps(seen.headers)


@pytest.mark.parametrize("directive", ["", "[[sim:future]] ", "[[sim:chunks=30]] ", "[[sim:usage=missing]] ", "[[call Read {}]] "])
@pytest.mark.parametrize("stream", [False, True])
async def test_the_answer_comes_back_as_it_came(key, vendor, stream: bool, directive: str):
    body = {**RICH, "messages": [{"role": "user", "content": directive + "Name three rivers"}], "stream": stream}
    async with vendor() as sim:
        answer = await whole(body, key, **BETA)
        theirs = await direct(sim, {**body, "model": VENDOR_MODEL})
    assert answer.body == theirs.replace(f'"model":"{VENDOR_MODEL}"'.encode(), f'"model":"{MODEL}"'.encode())
    assert answer.headers["request-id"] == answer.headers["x-request-id"] != "req_sim"


async def test_what_the_vendor_counted_is_charged_at_its_price(key, vendor, cards):
    for stream in (False, True):
        async with vendor():
            answer = await whole({**RICH, "stream": stream}, key, **BETA)
    counts = answer.body.decode()
    found = {name: int(re.findall(rf'"{name}":(\d+)', counts)[-1]) for name in ("input_tokens", "output_tokens", "cache_read_input_tokens")}
    usage = Usage(
        input_tokens=found["input_tokens"] + found["cache_read_input_tokens"],
        output_tokens=found["output_tokens"],
        cached_input_tokens=found["cache_read_input_tokens"],
    )
    written = await rows()
    assert [(row.input_tokens, row.output_tokens, row.estimated) for row in written] == [
        (usage.input_tokens, usage.output_tokens, False)
    ] * 2
    assert {row.cost_usd for row in written} == {pricing.cost(cards[MODEL].rates, usage)}


def test_a_compaction_which_the_totals_leave_out_is_paid():
    one = {"input_tokens": 5, "output_tokens": 2, "cache_creation_input_tokens": 3, "cache_read_input_tokens": 4}
    counts = {**one, "iterations": [{"type": "message", **one}, {"type": "compaction", **one, "output_tokens": 9}]}
    assert usage_of(counts) == Usage(input_tokens=24, output_tokens=11, cached_input_tokens=8, cache_write_tokens=6)
    assert usage_of({**one, "iterations": "odd"}) == usage_of({**one, "iterations": [None, {"type": "compaction"}]}) == usage_of(one)


def test_writes_into_the_one_hour_cache_are_counted_apart():
    counts = {"input_tokens": 10, "output_tokens": 1, "cache_creation_input_tokens": 700, "cache_read_input_tokens": 90}
    for split, long in (((500, 200), 200), ((0, 700), 700), ((0, 600), 700), ((600, 0), 0)):
        parts = {"ephemeral_5m_input_tokens": split[0], "ephemeral_1h_input_tokens": split[1]}
        assert usage_of(counts | {"cache_creation": parts}) == Usage(800, 90, 700, 1, cache_write_1h_tokens=long)
    odd = usage_of(counts | {"cache_creation": {"ephemeral_1h_input_tokens": "many"}})
    assert odd is not None and odd.missing == {"input_tokens"}


# Where a mark may stand: at the top, in the system prompt, on a tool, on a block, inside a tool's result.
HOUR_MARKS: list[dict[str, Any]] = [
    {"cache_control": {"type": "ephemeral", "ttl": "1h"}},
    {"system": [{"type": "text", "text": "x", **HOUR}]},
    {"tools": [{"name": "Read", "input_schema": {"type": "object", "properties": {}}, **HOUR}]},
    {"messages": [{"role": "user", "content": [{"type": "text", "text": "x", **HOUR}]}]},
    {
        "messages": [
            HELLO["messages"][0],
            RICH["messages"][1],
            {"role": "user", "content": [{**RESULT, "content": [{"type": "text", "text": "x", **HOUR}]}]},
        ]
    },
]


@pytest.mark.parametrize("marked", HOUR_MARKS, ids=range(len(HOUR_MARKS)))
async def test_a_mark_for_one_hour_passes_and_its_writes_are_held_and_charged_at_their_own_price(key, vendor, cards, marked):
    request = anthropic_request.read({**HELLO, **marked}).request
    assert request.priced.long_writes
    rates = cards[MODEL].rates
    held = pricing.highest_cost(rates, 1000, 10, long_writes=True)
    assert held == (1000 * Decimal("0.5") + 10 * Decimal("1.25")) / 10**6  # the published rates of this model
    async with vendor() as sim:
        answer = await whole({**HELLO, **marked}, key)
        assert answer.status == 200, answer.body
        assert '"1h"' in json.dumps(sim.requests[-1].body)


@pytest.mark.parametrize("stream", [False, True])
async def test_the_sdk_reads_it(key, vendor, stream: bool, client_of_product):
    async with vendor():
        client = client_of_product(key)
        if stream:
            async with client.beta.messages.stream(**{**RICH, "betas": ["context-management-2025-06-27"]}) as events:
                message = await events.get_final_message()
        else:
            message = await client.beta.messages.create(**{**RICH, "betas": ["context-management-2025-06-27"]})
    assert message.model == MODEL and message.content[0].type == "thinking" and message.content[0].signature
    assert stream or message._request_id


@pytest.fixture
def client_of_product():
    """The unchanged SDK on the product inside of this process."""
    import httpx2

    class Transport(httpx2.AsyncBaseTransport):
        async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
            headers = [(name.lower(), value) for name, value in request.headers.raw]
            answer = await ask(product, request.method, request.url.raw_path, await request.aread(), headers)
            return httpx2.Response(answer.status, headers=answer.headers, content=answer.body)

    def make(key: str) -> anthropic.AsyncAnthropic:
        http = httpx2.AsyncClient(transport=Transport())
        return anthropic.AsyncAnthropic(api_key=key, base_url="http://localhost", http_client=http, max_retries=0)

    return make


# --- what must not pass ----------------------------------------------------------------------------

FILE = {"type": "image", "source": {"type": "file", "file_id": "file_1"}}
REFUSED = [
    ({"mcp_servers": [{"type": "url", "url": "https://a.example", "name": "a"}]}, "mcp_servers"),
    ({"container": "container_1"}, "container"),
    ({"fallbacks": [{"model": "claude-opus-5"}]}, "fallbacks"),
    ({"speed": "fast"}, "speed"),
    ({"inference_geo": "us"}, "inference_geo"),
    ({"speed": ["fast"]}, "speed"),
    ({"tools": [{"type": "code_execution_20260521", "name": "c"}], "tool_choice": {"type": "tool", "name": "c"}}, "tool_choice"),
    ({"tools": [{"type": "mcp_toolset", "mcp_server_name": "a"}]}, "tools[0].type"),
    ({"messages": [{"role": "user", "content": [{"type": "container_upload", "file_id": "file_1"}]}]}, "file_id"),
    ({"messages": [{"role": "user", "content": [{"type": "document", "source": {"type": "file", "file_id": "file_1"}}]}]}, "file_id"),
    ({"cache_control": {"type": "ephemeral", "ttl": "1d"}}, "cache_control.ttl"),
    ({"messages": [{"role": "user", "content": [{**RESULT, "content": [{"type": "text", "text": "x", **DAY}]}]}]}, "cache_control.ttl"),
    ({"messages": [{"role": "user", "content": [{**DOCUMENT, "source": {"type": "content", "content": [FILE]}}]}]}, "file_id"),
    ({"messages": [{"role": "user", "content": [{**RESULT, "content": [{**DOCUMENT, "source": FILE["source"]}]}]}]}, "file_id"),
    ({"system": [{"type": "text", "text": "x", **DAY}]}, "cache_control.ttl"),
    ({"cache_control": {"type": "ephemeral", "ttl": ["1h"]}}, "cache_control.ttl"),
]


@pytest.mark.parametrize(("change", "param"), REFUSED, ids=[f"{param}-{number}" for number, (_, param) in enumerate(REFUSED)])
async def test_what_is_another_users_or_has_no_price_reaches_no_vendor(key, vendor, change: dict[str, Any], param: str):
    async with vendor() as sim:
        answer = await whole(HELLO | change, key)
        assert answer.status == 400 and answer.error["param"] == param, answer.body
        assert not sim.requests


async def test_a_tool_runner_is_told_to_go_on_without_a_thread(key, vendor):
    async with vendor():
        answer = await whole(HELLO | {"thread": {"type": "new"}}, key)
    assert answer.status == 400
    assert answer.error["details"] == {"error_code": "thread_unsupported_request", "unsupported": ["thread"]}


def _result_of(block: dict[str, Any]) -> dict[str, Any]:
    return {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "toolu_1", "content": [block]}]}


ONLY_CLAUDE = [
    ({"a_field_of_next_week": 1}, "a_field_of_next_week"),
    ({"tools": [{"type": "bash_20250124", "name": "bash"}]}, "tools[0].type"),
    ({"messages": [*RICH["messages"][:2], _result_of(SEARCH_RESULT)]}, "messages[2].content[0].content[0].type"),
    ({"messages": [{"role": "user", "content": [SEARCH_RESULT]}]}, "messages[0].content[0].type"),
]  # fmt: skip


@pytest.mark.parametrize(("change", "param"), ONLY_CLAUDE, ids=[param for _, param in ONLY_CLAUDE])
async def test_what_other_vendors_cannot_take_is_refused_by_name_or_routed_to_anthropic(key, vendor, change: dict[str, Any], param: str):
    async with vendor(future=True) as sim:
        for model in ("gpt-4o-mini", "gemini-2.5-flash"):
            answer = await whole(HELLO | change | {"model": model}, key)
            assert answer.status == 400 and answer.error["param"] == param, answer.body
        assert not sim.requests
        chosen = await whole(HELLO | change | {"model": "auto"}, key)
        assert chosen.status == 200, chosen.body
        assert sim.requests[-1].path == "/v1/messages"


async def test_a_system_message_in_place_reaches_every_vendor(key, vendor):
    body = {**HELLO, "messages": [*HELLO["messages"], {"role": "system", "content": "Answer in French."}]}
    async with vendor() as sim:
        for model in ("gpt-4o-mini", "gemini-2.5-flash"):
            answer = await whole({**body, "model": model}, key)
            assert answer.status == 200, answer.body
            assert "Answer in French." in json.dumps(sim.requests[-1].body)


# --- failures --------------------------------------------------------------------------------------


async def test_another_model_answers_where_anthropic_fails_before_its_first_token(key, vendor, cards):
    claudes = [slug for slug, card in cards.items() if card.provider == "anthropic"]
    for stream in (False, True):
        async with vendor() as sim:
            for slug in claudes:
                sim.always(cards[slug].vendor_model, "529")
            answer = await whole({**HELLO, "model": "auto:best", "stream": stream}, key)
        assert answer.status == 200 and b"message" in answer.body


async def test_an_error_after_the_first_token_is_ours_and_what_came_is_charged(key, vendor):
    body = {**HELLO, "messages": [{"role": "user", "content": "[[sim:error,at=8,chunks=20]] Hello"}], "stream": True}
    async with vendor():
        answer = await whole(body, key)
        theirs = [line for line in answer.body.decode().splitlines() if line.startswith("data:")]
    assert "text_delta" in answer.body.decode()
    assert sum('"type":"error"' in line for line in theirs) == 1 and answer.headers["x-request-id"] in theirs[-1]
    [row] = await rows()
    assert row.status != "ok" and row.cost_usd > 0


async def test_a_client_that_leaves_pays_for_what_it_saw(key, vendor):
    body = {**HELLO, "messages": [{"role": "user", "content": "[[sim:chunks=200,pace=20]] Hello"}], "stream": True}
    async with vendor():
        client, task = start(product, "POST", "/v1/messages", body, {}, key)
        await client.wait_for(b"text_delta")
        client.leave()
        await task
    [row] = await rows()
    assert row.status == "cancelled" and row.estimated and row.output_tokens > 0
