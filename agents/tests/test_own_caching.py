"""Chat and agents have the vendor cache what their requests share, and routing counts what was reported as cached."""

from __future__ import annotations

import json
from decimal import Decimal as D
from typing import Any
from uuid import uuid4

import pytest
from anthropic.types import message_create_params
from pydantic import TypeAdapter

from agents.calls import whole
from agents.messages import ToolSpec
from agents.routing import candidates
from agents.routing import rank as router
from agents.tests.cards import card, facts
from agents.tests.conftest import ask
from agents.tests.vendors import sent
from billing import pricing
from billing.pricing import Rates, Usage

MARK = {"type": "ephemeral"}
TOOLS = (ToolSpec("one"), ToolSpec("two"))


async def bodies(vendor: Any, context: Any, model: str, **changes: Any) -> list[dict[str, Any]]:
    """What the vendor is sent for two requests of one context."""
    request = ask("Hi", system="Be brief.", tools=TOOLS)
    where = context(model, **changes)
    async with vendor() as sim:
        for _ in range(2):
            await whole.complete(request, where)
        return [seen.body for seen in sim.requests if seen.raw]


@pytest.mark.django_db
@pytest.mark.parametrize("purpose", ["chat", "agent", "task"])
async def test_claude_is_asked_to_cache_tools_system_prompt_and_conversation(vendor, context, purpose: str):
    for body in await bodies(vendor, context, "claude-sonnet-5", purpose=purpose, conversation_id=uuid4()):
        assert body["cache_control"] == MARK
        assert body["system"] == [{"type": "text", "text": "Be brief.", "cache_control": MARK}]
        assert [tool.get("cache_control") for tool in body["tools"]] == [None, MARK]
        TypeAdapter(message_create_params.MessageCreateParamsNonStreaming).validate_python(body)


@pytest.mark.django_db
@pytest.mark.parametrize("model", ["gpt-4o-mini", "gpt-6.1-sol"])
async def test_openai_gets_one_cache_key_for_a_conversation(vendor, context, model: str):
    one, two = uuid4(), uuid4()
    keys = [body["prompt_cache_key"] for id in (one, two) for body in await bodies(vendor, context, model, conversation_id=id)]
    assert keys == [str(one)] * 2 + [str(two)] * 2


@pytest.mark.django_db
async def test_gemini_caches_without_a_field(vendor, context):
    for body in await bodies(vendor, context, "gemini-2.5-flash", conversation_id=uuid4()):
        assert "cache" not in json.dumps(body).lower()


@pytest.mark.django_db
@pytest.mark.parametrize("model", ["claude-sonnet-5", "gpt-4o-mini"])
async def test_a_request_that_no_other_follows_is_not_written_into_a_cache(vendor, context, model: str):
    async with vendor() as sim:
        for purpose in ("title", "test", "api", "chat"):
            await whole.complete(ask("Hi", system="Be brief."), context(model, purpose=purpose))
        await whole.complete(ask("Hi", tools=TOOLS), context(model, purpose="api", conversation_id=uuid4()))
        assert "cache" not in json.dumps([seen.body for seen in sim.requests])


async def test_a_compatible_server_is_sent_no_cache_key():
    assert "prompt_cache_key" not in await sent("openai_compatible", ask("Hi", cache_key="k"))


async def test_a_mark_stands_behind_the_system_prompt_that_a_forced_tool_adds_to():
    body = await sent("anthropic", ask("Hi", tools=TOOLS, tool_choice="one", cache_key="k"), model="claude-opus-5-5")
    assert body["system"][0]["text"] == "You must call the tool one." and body["system"][0]["cache_control"] == MARK


RATES = Rates(D(2), D(10), D("0.2"))


@pytest.mark.parametrize(("reported", "read"), [(0, 0), (700, 700), (5000, 1000)])
def test_routing_counts_what_the_last_answer_reported_as_cached(reported: int, read: int):
    one, other = card("one", rates=RATES), card("other", rates=RATES)
    route = router.rank(facts(sticky="one", cached_tokens=reported, input_tokens=2000), [one, other], {}, {"one", "other"})
    costs = {row["model"]: float(row["estimated_cost_usd"]) for row in route.explanation["candidates"]}
    expected = pricing.cost(RATES, Usage(1000, read, 0, candidates.USUAL_OUTPUT))
    assert costs["one"] == pytest.approx(float(expected)) and costs["other"] == pytest.approx(0.006)
    assert route.explanation["cached_tokens"] == reported
    assert ("from its cache" in route.explanation["reason"]) is bool(reported)


def test_an_answer_that_cached_nothing_makes_a_model_no_cheaper():
    """It decides between equals only."""
    dear, cheap = card("dear", price=(3, 12)), card("cheap", price=(1, 4))
    stay = facts("auto:cheapest", sticky="dear", input_tokens=100_000)
    assert router.rank(stay, [dear, cheap], {}, {"dear", "cheap"}).candidates[0].card.slug == "cheap"
