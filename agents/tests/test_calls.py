"""A model call: one path for every token, one settlement for every vendor call."""

from __future__ import annotations

import asyncio
import random
from contextlib import aclosing
from datetime import timedelta
from decimal import Decimal

import pytest
from django.utils import timezone

from accounts.models import User
from agents.calls import running as running_calls
from agents.calls import service as calls
from agents.calls import whole
from agents.events import RouteFallback, Settled, Started, TextDelta
from agents.providers.errors import ContextTooLong, ProviderBadRequest, ProviderError
from agents.tests.books import exact
from agents.tests.conftest import ask
from aiagents.core.db.calls import in_db
from aiagents.core.errors import BudgetExceeded, NoModelAvailable, NotAuthenticated, Unavailable
from aiagents.core.live import outage_heartbeat
from billing.budgets import budgets
from billing.ledger import service as ledger
from billing.models import Hold, UsageLog
from tests.kit.waiting import until


async def drain(request, context, receipts=None):
    async with aclosing(calls.stream(request, context, receipts)) as events:
        return [event async for event in events]


def text_of(events) -> str:
    return "".join(event.text for event in events if isinstance(event, TextDelta))


async def test_a_call_is_routed_streamed_paid_and_logged_once(context, vendor):
    async with vendor() as sim:
        events = await drain(ask("Tell me about rivers"), context())
    settled = events[-1]
    assert isinstance(events[0], Started) and isinstance(settled, Settled)
    assert text_of(events) and settled.cost_usd > 0 and not settled.estimated and settled.simulated
    row = await UsageLog.objects.aget()
    assert (row.call_id, row.cost_usd, row.output_tokens, row.status) == (
        settled.call_id,
        settled.cost_usd,
        settled.usage.output_tokens,
        "ok",
    )
    assert row.ttft_ms is not None and row.request_id == "test-request" and row.price["input"]
    assert len(sim.requests) == 1
    await in_db(exact)


async def test_whole_and_streamed_answers_are_the_same_text_at_the_same_price(context, vendor):
    async with vendor():
        events = await drain(ask("Tell me about rivers"), context())
        answer = await whole.complete(ask("Tell me about rivers"), context())
    assert answer.text == text_of(events)
    assert answer.settled.cost_usd == events[-1].cost_usd
    await in_db(exact)


@pytest.mark.parametrize("fault", ["500", "503", "529", "429", "401", "refuse", "html", "empty", "badjson,at=0", "redirect", "429,quota"])
async def test_what_fails_before_the_first_token_is_answered_by_the_next_candidate(context, vendor, fault):
    async with vendor() as sim:
        sim.always("gpt-4o-mini", fault)
        events = await drain(ask("Hello"), context(fallbacks=("claude-3-haiku",)))
    fallback = next(event for event in events if isinstance(event, RouteFallback))
    assert (fallback.source, fallback.target) == ("gpt-4o-mini", "claude-3-haiku") and fallback.reason
    started = next(event for event in events if isinstance(event, Started))
    assert started.model == "claude-3-haiku" and started.route["tried"][0]["model"] == "gpt-4o-mini"
    assert text_of(events)
    rows = [row async for row in UsageLog.objects.order_by("attempt")]
    assert [(row.status, row.model, row.cost_usd > 0) for row in rows] == [("failed", "gpt-4o-mini", False), ("ok", "claude-3-haiku", True)]
    assert rows[0].group_id == rows[1].group_id and rows[0].error_code
    await in_db(exact)


async def test_a_vendor_that_hangs_is_left_in_time_and_its_connection_closed(context, vendor, settings):
    settings.LLM_FIRST_TOKEN_TIMEOUT = 0.3
    async with vendor() as sim:
        sim.always("gpt-4o-mini", "hang")
        events = await drain(ask("Hello"), context(fallbacks=("claude-3-haiku",)))
        await until(lambda: sim.requests[0].client_gone)
    assert events[-1].model == "claude-3-haiku"
    await in_db(exact)


async def test_after_the_first_token_no_other_model_speaks_and_what_came_is_paid(context, vendor):
    received, receipts = [], []
    async with vendor() as sim:
        with pytest.raises(ProviderError) as failed:
            async with aclosing(calls.stream(ask("[[sim:die:5]] go on"), context(fallbacks=("claude-3-haiku",)), receipts)) as events:
                async for event in events:
                    received.append(event)
        assert len(sim.requests) == 1
    assert text_of(received) and failed.value.code in ("provider_truncated", "provider_unavailable")
    row = await UsageLog.objects.aget()
    assert row.estimated and row.cost_usd > 0 and row.output_tokens > 0 and row.status in ("interrupted", "failed")
    assert [receipt.call_id for receipt in receipts] == [row.call_id]
    await in_db(exact)


@pytest.mark.parametrize("model", ["gpt-4o-mini", "claude-3-haiku", "gemini-1.5-flash"])
async def test_a_stream_that_breaks_off_is_charged_for_what_was_seen_with_every_vendor(context, vendor, model):
    received: list = []
    async with vendor():
        with pytest.raises(ProviderError):
            async with aclosing(calls.stream(ask("[[sim:chunks=40,size=20,pace=5,die=12]] go on"), context(model))) as events:
                async for event in events:
                    received.append(event)
    row = await UsageLog.objects.aget()
    assert row.output_tokens >= len(text_of(received)) // 4 > 20
    assert row.estimated and row.input_tokens > 0
    await in_db(exact)


@pytest.mark.parametrize(("fault", "error"), [("400", ProviderBadRequest), ("400,context", ContextTooLong)])
async def test_a_refused_prompt_is_the_callers_and_costs_one_request(context, vendor, fault, error):
    async with vendor() as sim:
        sim.always("gpt-4o-mini", fault)
        with pytest.raises(error):
            await drain(ask("Hello"), context(fallbacks=("claude-3-haiku",)))
        assert len(sim.requests) == 1
    assert (await UsageLog.objects.aget()).cost_usd == 0
    await in_db(exact)


async def test_when_all_fail_the_error_lists_the_attempts_up_to_the_limit(context, vendor, settings):
    async with vendor() as sim:
        sim.always("*", "500")
        with pytest.raises(NoModelAvailable) as failed:
            await drain(ask("Hello"), context("auto"))
        assert len(sim.requests) == settings.LLM_MAX_ATTEMPTS
    assert failed.value.status == 503
    tried = failed.value.details["tried"]
    assert len(tried) == settings.LLM_MAX_ATTEMPTS and all(one["code"] == "provider_unavailable" for one in tried)
    await in_db(exact)


async def test_retry_after_is_honoured_up_to_the_cap(context, vendor, settings):
    settings.LLM_RETRY_AFTER_CAP = 20
    async with vendor() as sim:
        sim.plan("gpt-4o-mini", ["429,retry-after=1"])
        loop = asyncio.get_running_loop()
        began = loop.time()
        events = await drain(ask("Hello"), context())
        assert 0.9 < loop.time() - began < 15 and events[-1].model == "gpt-4o-mini"
        sim.plan("gpt-4o-mini", ["429,retry-after=1e9"])
        began = loop.time()
        with pytest.raises(NoModelAvailable) as failed:
            await drain(ask("Hello"), context())
        assert loop.time() - began < 15 and failed.value.retry_after
    await in_db(exact)


async def test_a_call_that_goes_on_while_the_database_is_away_is_not_taken_for_dead(context, vendor, settings, monkeypatch):
    settings.PROGRESS_INTERVAL_SECONDS = 0.02

    async def away(seen):
        raise Unavailable

    monkeypatch.setattr(ledger, "progress", away)
    async with vendor():
        async with aclosing(calls.stream(ask("[[sim:chunks=2000,pace=10]] on"), context(), [])) as events:
            async for _ in events:
                held = await in_db(Hold.objects.get)
                if await in_db(outage_heartbeat.among, ledger.ALIVE, [held.pk]):
                    break
        await in_db(Hold.objects.filter(pk=held.pk, status="open").update, heartbeat_at=timezone.now() - timedelta(minutes=1))
        assert await in_db(ledger.sweep) == 0
        await running_calls.finish_settlements()
    assert (await UsageLog.objects.aget()).status == "cancelled"
    await in_db(exact)


async def test_a_consumer_that_leaves_closes_the_vendor_and_pays_for_what_came(context, vendor):
    receipts: list[Settled] = []
    async with vendor() as sim:
        async with aclosing(calls.stream(ask("[[sim:chunks=200,pace=10]] on"), context(), receipts)) as events:
            async for event in events:
                if isinstance(event, TextDelta):
                    break
        await until(lambda: sim.requests[0].client_gone)
    row = await UsageLog.objects.aget()
    assert (row.status, row.finish_reason, row.estimated) == ("cancelled", "cancelled", True) and row.cost_usd > 0
    assert [receipt.finish_reason for receipt in receipts] == ["cancelled"]
    await in_db(exact)


async def test_cancelled_at_any_moment_no_money_stays_held(context, vendor):
    async def one(number: int) -> None:
        with pytest.raises((asyncio.CancelledError, TimeoutError)):
            async with asyncio.timeout(random.Random(number).uniform(0, 0.06)):
                await drain(ask("[[sim:chunks=50,pace=20]] on"), context())

    async with vendor():
        for number in range(40):
            await one(number)
        await running_calls.finish_settlements()
        assert running_calls.count() == 0
    await in_db(exact)


async def test_a_budget_too_small_for_the_dearest_still_pays_for_the_cheaper_one(context, vendor, caller):
    async with vendor():
        both = context("gpt-4", fallbacks=("gpt-4o-mini",))
        await in_db(budgets.set_limit, "user", caller.user_id, Decimal("0.01"))
        events = await drain(ask("Hello", max_output_tokens=2000), both)
        assert events[-1].model == "gpt-4o-mini"
        await in_db(budgets.set_limit, "user", caller.user_id, Decimal("0.0000001"))
        with pytest.raises(BudgetExceeded) as refused:
            await drain(ask("Hello"), both)
    assert refused.value.status == 402 and refused.value.details["budget"] == "user"
    await in_db(exact)


async def test_a_disabled_user_is_stopped_by_the_hold_itself(context, vendor, caller):
    async with vendor() as sim:
        await User.objects.filter(pk=caller.user_id).aupdate(is_active=False)
        with pytest.raises(NotAuthenticated):
            await drain(ask("Hello"), context())
        assert not sim.requests
    assert not await Hold.objects.aexists()


async def test_a_vendor_without_usage_is_charged_by_a_marked_estimate(context, vendor):
    async with vendor():
        events = await drain(ask("[[sim:usage=missing]] Hello"), context())
        zero = await drain(ask("[[sim:usage=zero]] Hello"), context())
    assert events[-1].estimated and events[-1].cost_usd > 0
    assert not zero[-1].estimated and zero[-1].cost_usd == 0
    await in_db(exact)


async def test_an_absurd_count_is_capped_at_the_hold_and_flagged(context, vendor):
    async with vendor():
        await drain(ask("[[sim:usage=absurd]] Hello"), context())
    row = await UsageLog.objects.aget()
    hold = await Hold.objects.aget()
    assert "usage_absurd" in row.flagged and row.cost_usd == hold.amount_usd
    await in_db(exact)


async def test_a_model_that_ignores_its_limit_is_cut_and_the_surplus_blocks_the_next_hold(context, vendor):
    async with vendor():
        events = await drain(ask("[[sim:chunks=400,size=40]] on", max_output_tokens=100), context())
    assert events[-1].finish_reason == "length"
    assert len(text_of(events)) < 16_000
    await in_db(exact)


async def test_a_preview_explains_and_makes_no_call(context, vendor):
    async with vendor() as sim:
        route = await calls.preview(ask("Hello"), context("auto"))
        assert not sim.requests
    assert route["chosen"] and len(route["candidates"]) >= 9 and route["input_tokens"] > 0
    assert not await Hold.objects.aexists()


async def test_an_empty_answer_is_an_answer(context, vendor):
    async with vendor():
        events = await drain(ask("[[sim:blank]] Hello"), context())
    assert isinstance(events[0], Started) and text_of(events) == "" and events[-1].finish_reason == "stop"
    await in_db(exact)


async def test_output_beyond_the_limit_is_paid_truly_and_stored_as_overrun(context, vendor):
    async with vendor():
        events = await drain(ask("[[sim:overrun]] on", max_output_tokens=1000), context())
    row = await UsageLog.objects.aget()
    hold = await Hold.objects.aget()
    assert events[-1].usage.output_tokens == row.output_tokens == 1500
    assert row.overrun_usd == row.cost_usd - hold.amount_usd > 0
    await in_db(exact)
