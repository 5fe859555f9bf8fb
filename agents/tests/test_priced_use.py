"""What has a price of its own: it is held, charged by what the answer reports, and at the ceiling where no price is known."""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal as D
from typing import Any

import pytest

from accounts import keys
from accounts.models import User
from agents.calls import running as running_calls
from agents.tests.scripted import Scripted, chat_stream, chat_whole, sse
from billing.models import AIModel, Hold, ModelPrice, UnpricedUsage, UsageLog
from tests.kit.wire import Answer, ask, product

pytestmark = pytest.mark.django_db(transaction=True)
both = pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
CHAT, MESSAGES, RESPONSES = "/v1/chat/completions", "/v1/messages", "/v1/responses"
OPUS, SOL, MINI = "claude-opus-5-5", "gpt-6.1-sol", "gpt-4o-mini"


@pytest.fixture
def key(ada: User) -> str:
    return keys.create(ada, name="t", scopes=["chat"])[1]


def message(usage: dict[str, Any], stream: bool) -> Any:
    """An answer of Anthropic with this usage."""
    body = {"type": "message", "id": "msg_1", "role": "assistant", "model": OPUS, "content": [{"type": "text", "text": "Hi"}]}
    if not stream:
        return {**body, "stop_reason": "end_turn", "usage": usage}
    late = {name: usage[name] for name in ("input_tokens", "output_tokens", "server_tool_use") if name in usage}
    return sse(
        {"type": "message_start", "message": {**body, "content": [], "usage": {**usage, "output_tokens": 1}}},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "Hi"}},
        {"type": "content_block_stop", "index": 0},
        {"type": "message_delta", "delta": {"stop_reason": "end_turn", "stop_sequence": None}, "usage": late},
        {"type": "message_stop"},
    )


def response(usage: dict[str, Any], stream: bool, **more: Any) -> Any:
    """An answer of OpenAI's Responses with this usage."""
    output = [{"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "Hi", "annotations": []}]}]
    body = {"id": "resp_1", "object": "response", "model": SOL, "status": "completed", "output": output, "usage": usage, **more}
    if not stream:
        return body
    return sse({"type": "response.output_text.delta", "delta": "Hi"}, {"type": "response.completed", "response": body})


@dataclass
class Called(Answer):
    """An answer of the product, and what its vendor was sent for it."""

    sent: list[dict[str, Any]] = field(default_factory=list)


async def call(key: str, settings: Any, path: str, body: dict[str, Any], answer: Any) -> Called:
    async with Scripted(answer).serve(settings) as vendor:
        found = await ask(product, "POST", path, body, {}, key)
    await running_calls.finish_settlements()
    return Called(found.status, found.headers, found.parts, found.ended, vendor.requests)


async def charged() -> UsageLog:
    return await UsageLog.objects.alatest("created_at")


def to_anthropic(stream: bool, **more: Any) -> dict[str, Any]:
    return {"model": OPUS, "max_tokens": 100, "messages": [{"role": "user", "content": "Hi"}], "stream": stream, **more}


# gpt-4o-mini: 0.15 and 0.60 US dollars per million tokens, in the priority tier 0.25 and 1.
CHAT_USAGE = {"prompt_tokens": 1000, "completion_tokens": 100, "total_tokens": 1100}


@both
@pytest.mark.parametrize(
    ("reported", "dollars"),
    [("priority", "0.00035"), ("default", "0.00021"), ("auto", "0.00035"), (None, "0.00035")],
    ids=str,
)
async def test_a_service_tier_is_held_and_charged_by_the_tier_of_the_answer(key, settings, stream: bool, reported: Any, dollars: str):
    tier = {"service_tier": reported} if reported else {}
    answer: Any = chat_whole({"content": "Hi"}, usage=CHAT_USAGE, **tier)
    if stream:
        answer = chat_stream({"content": "Hi"}, usage=CHAT_USAGE, **tier)
    body = {
        "model": MINI,
        "messages": [{"role": "user", "content": "Hi"}],
        "service_tier": "priority",
        "stream": stream,
        "max_tokens": 1000,
    }
    found = await call(key, settings, CHAT, body, answer)
    assert found.status == 200, found.body
    assert found.sent[0]["service_tier"] == "priority"
    row, hold = await charged(), await Hold.objects.aget()
    assert row.cost_usd == D(dollars) and not row.flagged
    assert row.price.get("mode") == ("service_tier=priority" if reported != "default" else None)
    assert hold.amount_usd == (1000 + D("0.25") * hold.input_tokens_estimate) / 10**6


@both
async def test_a_tier_that_nobody_asked_for_is_charged_at_its_price(key, settings, stream: bool):
    """OpenAI uses the project's tier for a request that names none."""
    usage = {"input_tokens": 1000, "output_tokens": 100, "total_tokens": 1100}
    body = {"model": SOL, "input": "Hi", "stream": stream}
    await call(key, settings, RESPONSES, body, response(usage, stream, service_tier="flex"))
    row = await charged()
    assert (row.cost_usd, row.price["mode"], row.flagged) == (D("0.0015"), "service_tier=flex", "")  # 1000 x 1 + 100 x 5


@both
async def test_a_tier_without_a_price_is_charged_at_the_ceiling_and_flagged(key, settings, stream: bool):
    usage = {"input_tokens": 1000, "output_tokens": 100, "total_tokens": 1100}
    await call(key, settings, RESPONSES, {"model": SOL, "input": "Hi", "stream": stream}, response(usage, stream, service_tier="scale"))
    row = await charged()
    assert row.cost_usd == D(1100) * settings.UNKNOWN_PRICE_CEILING_PER_MTOK / 10**6 and row.flagged == "usage_unpriced"
    found = await UnpricedUsage.objects.aget()
    assert (found.model, found.name, found.calls, found.fields) == (SOL, "service_tier=scale", 1, [])


# claude-opus-5-5: 4 and 20 US dollars per million tokens; 8 and 40 in fast mode; 1.1 times as much in the US only.
USAGE = {"input_tokens": 1000, "output_tokens": 100, "cache_creation_input_tokens": 0, "cache_read_input_tokens": 0}
MODES = [
    ({"speed": "fast"}, {"speed": "fast"}, "0.012", "speed=fast"),
    ({"speed": "fast"}, {"speed": "standard"}, "0.006", None),
    ({"speed": "fast"}, {}, "0.012", "speed=fast"),
    ({"inference_geo": "us"}, {"inference_geo": "us", "service_tier": "standard"}, "0.0066", "inference_geo=us"),
    ({"inference_geo": "global"}, {"inference_geo": "global"}, "0.006", None),
    ({}, {"inference_geo": "us"}, "0.0066", "inference_geo=us"),  # the workspace's default
    ({"inference_geo": "us", "speed": "fast"}, {"inference_geo": "us", "speed": "fast"}, "0.0132", "inference_geo=us+speed=fast"),
    ({}, {"service_tier": "batch"}, "0.003", "processing=batch"),
    ({}, {"service_tier": "standard", "speed": "standard", "inference_geo": "not_available"}, "0.006", None),
]


@both
@pytest.mark.parametrize(("fields", "reported", "dollars", "mode"), MODES, ids=range(len(MODES)))
async def test_speed_and_place_are_charged_by_what_anthropic_reports(key, settings, stream: bool, fields, reported, dollars, mode):
    found = await call(key, settings, MESSAGES, to_anthropic(stream, **fields), message({**USAGE, **reported}, stream))
    assert found.status == 200, found.body
    assert fields.items() <= found.sent[0].items()
    row = await charged()
    assert (row.cost_usd, row.price.get("mode"), row.flagged) == (D(dollars), mode, "")


@pytest.mark.parametrize(
    ("fields", "param"), [({"speed": "ludicrous"}, "speed"), ({"inference_geo": "moon"}, "inference_geo"), ({"speed": "fast"}, "speed")]
)
async def test_a_speed_or_place_without_a_price_is_refused_by_name(key, settings, fields: dict[str, str], param: str):
    body = {**to_anthropic(False, **fields), "model": "claude-haiku-4-5"}
    found = await call(key, settings, MESSAGES, body, message(USAGE, False))
    assert found.status == 400 and found.error["param"] == param and not found.sent


SEARCH = {"type": "web_search_20250305", "name": "web_search", "max_uses": 3}


@both
@pytest.mark.parametrize("searches", [0, 2])
async def test_web_searches_of_anthropic_are_held_and_charged_by_call(key, settings, stream: bool, searches: int):
    usage = {**USAGE, "server_tool_use": {"web_search_requests": searches, "web_fetch_requests": 7}}
    found = await call(key, settings, MESSAGES, to_anthropic(stream, tools=[SEARCH]), message(usage, stream))
    assert found.status == 200, found.body
    assert found.sent[0]["tools"] == [SEARCH]
    row, hold = await charged(), await Hold.objects.aget()
    assert row.cost_usd == D("0.006") + searches * D("0.01") and not row.flagged  # 10 US dollars per thousand
    assert (row.also_used or {}).get("units", {}) == ({"web_search": 2} if searches else {})
    assert hold.amount_usd >= D("0.03")


@both
@pytest.mark.parametrize("reported", ["usage", "items"])
async def test_web_searches_of_openai_are_charged_by_call(key, settings, stream: bool, reported: str):
    usage = {"input_tokens": 1000, "output_tokens": 100, "total_tokens": 1100}
    answer: dict[str, Any] = {
        "tool_usage": {"web_search": {"num_requests": 2}, "image_gen": {"input_tokens": 0, "output_tokens": 0, "total_tokens": 0}}
    }
    if reported == "items":
        actions = [{"type": "search", "query": "a"}, {"type": "open_page", "url": "b"}, {"type": "search", "query": "c"}]
        answer = {"output": [{"type": "web_search_call", "id": "ws", "status": "completed", "action": action} for action in actions]}
        answer["output"].append({"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "Hi"}]})
    body = {"model": SOL, "input": "Hi", "tools": [{"type": "web_search"}], "stream": stream}
    found = await call(key, settings, RESPONSES, body, response(usage, stream, **answer))
    assert found.status == 200, found.body
    row = await charged()
    assert (row.cost_usd, row.flagged) == (D("0.023"), "")  # 1000 x 2 + 100 x 10, and 2 searches


@both
async def test_unknown_usage_is_charged_at_the_ceiling_and_the_field_that_brought_it_is_blocked_until_it_has_a_price(
    key, settings, stream: bool
):
    usage = {**USAGE, "server_tool_use": {"dream_requests": 3}, "dream_tokens": 50}
    body = to_anthropic(stream, dreams={"deep": True}, tools=[{"type": "dream_20270101", "name": "dream"}])
    found = await call(key, settings, MESSAGES, body, message(usage, stream))
    assert found.status == 200, found.body
    row = await charged()
    ceiling = 3 * D(settings.UNKNOWN_PRICE_CEILING_PER_CALL)
    tokens = 50 * D(settings.UNKNOWN_PRICE_CEILING_PER_MTOK) / 10**6
    assert row.cost_usd == D("0.006") + ceiling + tokens and row.flagged == "usage_unpriced"
    assert row.also_used == {"units": {"server_tool_use.dream_requests": 3, "dream_tokens": 50}}
    names = [one.name async for one in UnpricedUsage.objects.order_by("name")]
    assert names == ["dream_tokens", "server_tool_use.dream_requests"]

    again = await call(key, settings, MESSAGES, body, message(USAGE, stream))
    assert again.status == 400 and again.error["param"] == "dreams" and "no price" in again.error["message"], again.body
    other = {name: value for name, value in body.items() if name != "dreams"}
    assert (await call(key, settings, MESSAGES, other, message(USAGE, stream))).error["param"] == "tools.dream_20270101"
    assert (await call(key, settings, MESSAGES, to_anthropic(stream), message(USAGE, stream))).status == 200

    price = await ModelPrice.objects.filter(model__slug=OPUS).alatest("effective_from")
    model = await AIModel.objects.aget(slug=OPUS)
    priced = ModelPrice(model=model, input=price.input, output=price.output, modes=price.modes, media=price.media)
    priced.units = {**price.units, "server_tool_use.dream_requests": "20", "dream_tokens": "0"}
    await priced.asave()
    allowed = await call(key, settings, MESSAGES, body, message(usage, stream))
    assert allowed.status == 200, allowed.body
    row = await charged()
    assert (row.cost_usd, row.flagged) == (D("0.066"), "")  # 3 x 0.02 for the calls, nothing for the tokens


@pytest.mark.parametrize(
    ("usage", "cost", "unknown"),
    [
        ({**CHAT_USAGE, "num_sources_used": 4, "cost": 12, "queue_time": 3, "prompt_cache_miss_tokens": 9}, None, {"num_sources_used": 4}),
        ({**CHAT_USAGE, "prompt_tokens_details": {"audio_tokens": 400, "text_tokens": 600, "image_tokens": 0}}, "0.00021", {}),
    ],
)
async def test_counts_of_compatible_servers_that_are_no_usage_cost_nothing(key, settings, usage, cost: str | None, unknown):
    body = {"model": MINI, "messages": [{"role": "user", "content": "Hi"}]}
    await call(key, settings, CHAT, body, chat_whole({"content": "Hi"}, usage=usage))
    row = await charged()
    assert ((row.also_used or {}).get("units") or {}) == unknown
    assert row.cost_usd == (D(cost) if cost else D("0.00021") + 4 * D(settings.UNKNOWN_PRICE_CEILING_PER_CALL))


async def test_audio_of_gemini_is_charged_at_its_own_price(key, settings):
    """gemini-2.5-flash: text 0.30, audio 1.00, both from the cache a tenth; 2.50 for the output."""
    usage = {
        "promptTokenCount": 1000, "candidatesTokenCount": 100, "totalTokenCount": 1100, "cachedContentTokenCount": 200,
        "promptTokensDetails": [{"modality": "TEXT", "tokenCount": 400}, {"modality": "AUDIO", "tokenCount": 600}],
        "cacheTokensDetails": [{"modality": "TEXT", "tokenCount": 100}, {"modality": "AUDIO", "tokenCount": 100}],
    }  # fmt: skip
    answer = {"candidates": [{"content": {"parts": [{"text": "Hi"}]}, "finishReason": "STOP"}], "usageMetadata": usage}
    body = {"model": "gemini-2.5-flash", "messages": [{"role": "user", "content": "Hi"}]}
    assert (await call(key, settings, CHAT, body, answer)).status == 200
    row = await charged()
    # 300 x 0.3 + 500 x 1 + 100 x 0.03 + 100 x 0.1 + 100 x 2.5
    assert row.cost_usd == D("0.000853") and row.also_used == {"media": {"input_audio": 500, "cached_audio": 100}}
