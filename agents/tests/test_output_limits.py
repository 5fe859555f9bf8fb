"""The limit of an answer's tokens: none of ours while the money is enough, and a named one where it is not."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from decimal import Decimal
from typing import Any

import pytest

from accounts import keys
from accounts.models import User
from agents.calls import service as calls
from agents.events import Started
from agents.messages import estimate_input
from agents.routing import candidates
from agents.tests.books import exact
from agents.tests.conftest import ask
from agents.tests.wires import CHAT, MESSAGES, PATHS, RESPONSES, body_of, exchange
from aiagents.core.db.calls import in_db
from aiagents.core.errors import BudgetExceeded
from billing import pricing
from billing.budgets import budgets
from billing.catalogue import snapshot as catalogue
from billing.models import BudgetWindow, Hold, UsageLog

# A model of each vendor and endpoint, with the vendor's field of the limit, and whether the vendor demands one.
MODELS = {
    "o3": ("max_completion_tokens", False),
    "gpt-6.1-sol": ("max_output_tokens", False),
    "gemini-2.5-pro": ("maxOutputTokens", False),
    "claude-opus-5": ("max_tokens", True),
}
HELLO = [{"role": "user", "content": "Hello"}]
EFFORT: dict[str, dict[str, Any]] = {
    CHAT: {"reasoning_effort": "high"}, RESPONSES: {"reasoning": {"effort": "high"}}, MESSAGES: {"output_config": {"effort": "high"}},
}  # fmt: skip


@pytest.fixture
def key(ada: User) -> str:
    return keys.create(ada, name="t", scopes=["chat"])[1]


def limit_of(sent: dict[str, Any], model: str) -> int | None:
    """The output limit that the vendor was sent."""
    return (sent.get("generationConfig", {}) if model.startswith("gemini") else sent).get(MODELS[model][0])


async def most(model: str) -> int:
    return (await catalogue.current()).cards[model].max_output_tokens


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize(("path", "stream"), [(CHAT, False), (RESPONSES, True)])
async def test_a_request_without_a_limit_gets_none_of_ours(vendor, key: str, path: str, model: str, stream: bool):
    async with vendor() as sim:
        seen = await exchange(sim, key, path, body_of(path, model, HELLO, stream=stream, **EFFORT[path]))
    assert limit_of(seen.body, model) == (await most(model) if MODELS[model][1] else None)
    assert not [name for name in seen.answer.headers if "output" in name]


@pytest.mark.parametrize("model", MODELS)
async def test_a_clients_limit_is_sent_up_to_the_models(vendor, key: str, model: str):
    for path in PATHS:
        for asked in (2000, 5_000_000):
            name = {CHAT: "max_tokens", RESPONSES: "max_output_tokens", MESSAGES: "max_tokens"}[path]
            async with vendor() as sim:
                seen = await exchange(sim, key, path, body_of(path, model, HELLO) | {name: asked})
            assert limit_of(seen.body, model) == min(asked, await most(model))
            assert "x-aiagents-max-output-tokens" not in seen.answer.headers


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize(("path", "stream"), [(CHAT, True), (RESPONSES, False), (MESSAGES, True)])
async def test_where_the_budget_pays_for_less_the_limit_is_sent_and_named(vendor, key: str, ada, path: str, model: str, stream: bool):
    rates = (await catalogue.current()).cards[model].rates
    left = pricing.highest_cost(rates, 20, 3000)  # less than a usual answer, more than the least
    await in_db(budgets.set_limit, "user", ada.pk, left)
    async with vendor() as sim:
        seen = await exchange(
            sim, key, path, body_of(path, model, HELLO, stream=stream) | ({"max_tokens": 60_000} if path == MESSAGES else {})
        )
    sent = limit_of(seen.body, model)
    assert sent is not None and 2900 < sent <= 3000
    assert seen.answer.headers["x-aiagents-max-output-tokens"] == str(sent)
    assert seen.answer.headers["x-aiagents-output-limited-by"] == "budget"
    row = await Hold.objects.aget()
    assert row.amount_usd <= left
    await in_db(exact)


@pytest.mark.parametrize("stream", [False, True])
async def test_max_cost_limits_a_dear_model_instead_of_dropping_it(vendor, key: str, stream: bool):
    body = body_of(CHAT, "o3", HELLO, max_cost_usd="0.02", stream=stream)
    async with vendor() as sim:
        seen = await exchange(sim, key, CHAT, body)
        limit = limit_of(seen.body, "o3")
        assert limit is not None and 2000 < limit <= 2500  # at 8 USD per million tokens
        assert seen.answer.headers["x-aiagents-output-limited-by"] == "max_cost_usd"
        refused = (await exchange(sim, key, CHAT, body | {"max_cost_usd": "0.005"})).answer
    assert refused.status == 429 and refused.error["code"] in ("max_cost_exceeded", "insufficient_quota")
    assert (await UsageLog.objects.aget()).cost_usd <= Decimal("0.02")


async def test_the_route_of_chats_and_agents_names_the_limit(context, vendor, caller):
    await in_db(budgets.set_limit, "user", caller.user_id, Decimal("0.02"))
    async with vendor(), aclosing(calls.stream(ask("Hello"), context("o3"))) as events:
        found = [event async for event in events]
    started = next(event for event in found if isinstance(event, Started))
    assert started.route["output_limit"] == found[-1].route["output_limit"]
    assert started.route["output_limit"]["limited_by"] == "budget" and 1024 <= started.route["output_limit"]["tokens"] < 2500
    await in_db(budgets.set_limit, "user", caller.user_id, Decimal("2"))
    async with vendor(), aclosing(calls.stream(ask("Hello"), context("o3"))) as events:
        found = [event async for event in events]
    assert found[-1].route["output_limit"] is None


async def test_an_operators_own_limit_is_sent_and_named(vendor, key: str, settings):
    settings.LLM_DEFAULT_MAX_OUTPUT_TOKENS = 700
    async with vendor() as sim:
        seen = await exchange(sim, key, CHAT, body_of(CHAT, "o3", HELLO))
        asked = await exchange(sim, key, CHAT, body_of(CHAT, "o3", HELLO, max_tokens=900))
    assert (limit_of(seen.body, "o3"), limit_of(asked.body, "o3")) == (700, 900)
    assert seen.answer.headers["x-aiagents-output-limited-by"] == "setting" and "x-aiagents-output-limited-by" not in asked.answer.headers


async def test_less_than_the_least_answer_is_refused_as_before(context, vendor, caller):
    rates = (await catalogue.current()).cards["o3"].rates
    enough = pricing.highest_cost(rates, estimate_input(ask("Hello")), candidates.LEAST_OUTPUT)
    for left, fits in ((enough, True), (enough - Decimal("1e-9"), False)):
        await in_db(budgets.set_limit, "user", caller.user_id, left + await _spent(caller.user_id))
        async with vendor() as sim:
            call = calls.stream(ask("Hello"), context("o3"))
            if fits:
                assert [event async for event in call]
            else:
                with pytest.raises(BudgetExceeded) as refused:
                    await anext(call)
                assert refused.value.details["budget"] == "user" and not sim.requests
    await in_db(exact)


async def _spent(user_id: Any) -> Decimal:
    window = await BudgetWindow.objects.filter(budget__scope="user", budget__scope_id=user_id).alast()
    return window.spent_usd if window else Decimal(0)


async def test_a_crowd_shares_what_is_left_instead_of_one_call_taking_it(context, vendor, caller):
    """Three whole answers of o3 would take all of it; thirty calls at once are admitted, and no cent above the limit is held."""
    limit = Decimal("2.40")
    await in_db(budgets.set_limit, "user", caller.user_id, limit)

    async def one() -> None:
        async with aclosing(calls.stream(ask("[[sim:chunks=3,pace=300]] Hello"), context("o3"))) as events:
            [event async for event in events]

    async with vendor():
        await asyncio.gather(*(one() for _ in range(30)))
    amounts = [row.amount_usd async for row in Hold.objects.order_by("created_at")]
    assert len(amounts) == 30 and max(amounts) > 10 * min(amounts)
    usual = pricing.highest_cost((await catalogue.current()).cards["o3"].rates, 0, candidates.HELD_OUTPUT)
    assert min(amounts) >= usual
    await in_db(exact)


async def test_a_model_that_gets_a_usual_answer_comes_first(context, vendor, caller):
    await in_db(budgets.set_limit, "user", caller.user_id, Decimal("0.022"))
    async with vendor(), aclosing(calls.stream(ask("Hello"), context("o3", fallbacks=("gpt-4o-mini",)))) as events:
        found = [event async for event in events]
    assert found[-1].model == "gpt-4o-mini" and found[-1].route["output_limit"] is None


async def test_a_fallback_is_limited_to_what_the_hold_pays_for(context, vendor, caller):
    """The dear model fits with a usual answer, beside half of the budget."""
    await in_db(budgets.set_limit, "user", caller.user_id, Decimal("0.08"))
    both = context("gpt-4o-mini", fallbacks=("o3",))
    async with vendor() as sim:
        async with aclosing(calls.stream(ask("[[sim@gpt-4o-mini:500]] Hello"), both)) as events:
            found = [event async for event in events]
        first, second = (seen.body for seen in sim.requests)
    assert limit_of(first, "o3") is None and found[-1].model == "o3"
    limit = limit_of(second, "o3")
    assert limit is not None and found[-1].route["output_limit"] == {"tokens": limit, "limited_by": "budget"}
    held = (await Hold.objects.filter(status="settled").alast()).amount_usd
    assert candidates.HELD_OUTPUT <= limit <= held * 10**6 / 8
    await in_db(exact)
