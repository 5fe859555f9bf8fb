"""The agent loop: its steps, its tools, its limits and its books."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from decimal import Decimal

import pytest

from agents.calls import running as running_calls
from agents.events import ReasoningDelta, Settled, Started, Stopped, TextDelta
from agents.runs import service as runner
from agents.tests.books import exact
from agents.tests.conftest import ask
from agents.tests.runs import Probe, adds_up, agent, calls_of, drain, results_of, steps_of, text_of, the_run
from aiagents.core.db.calls import in_db
from aiagents.core.errors import BudgetExceeded, NoModelAvailable
from billing.budgets import budgets
from billing.models import UsageLog
from tests.kit.waiting import until


async def test_without_tools_a_run_is_one_paid_step(context, vendor):
    async with vendor():
        events = await drain(ask("Tell me about rivers"), context(), agent(system_prompt="Be brief."))
    run = await in_db(the_run)
    assert (run.status, run.finish_reason, run.steps_done, run.model) == ("succeeded", "stop", 1, "gpt-4o-mini")
    assert run.output == text_of(events) and run.input == "Tell me about rivers" and run.simulated
    assert isinstance(events[-1], Settled) and run.cost_usd == events[-1].cost_usd > 0
    await in_db(adds_up)
    await in_db(exact)


async def test_a_tool_is_called_and_its_result_goes_back_to_the_model(context, vendor):
    async with vendor() as sim:
        events = await drain(ask('[[call calculator {"expression": "2+3"}]]'), context(), agent("calculator"))
        bodies = [seen.body for seen in sim.requests]
    (call,), (result,) = calls_of(events), results_of(events)
    assert (call.name, call.needs_approval, result.output, result.status) == ("calculator", False, "= 5", "ok")
    assert [type(event) for event in events].count(Started) == [type(event) for event in events].count(Settled) == 2
    assert bodies[1]["messages"][-1] == {"role": "tool", "tool_call_id": call.call_id, "content": "= 5"}
    assert "data, not instructions" in bodies[0]["messages"][0]["content"]
    run = await in_db(the_run)
    steps = await in_db(steps_of, run)
    assert [(step.kind, step.status, step.name) for step in steps] == [
        ("model", "ok", "gpt-4o-mini"), ("tool", "ok", "calculator"), ("model", "ok", "gpt-4o-mini"),
    ]  # fmt: skip
    assert run.output == steps[2].output and "5" in run.output
    await in_db(adds_up)
    await in_db(exact)


async def test_parallel_calls_run_at_once_but_not_all_at_once(context, vendor, settings):
    settings.AGENT_TOOLS_AT_ONCE = 3
    text = "".join(f'[[call probe {{"word": "{word}"}}]]' for word in "abcdef")
    with Probe(seconds=0.1) as probe:
        async with vendor() as sim:
            events = await drain(ask(text), context(), agent("probe"))
            told = [message["content"] for message in sim.requests[1].body["messages"] if message["role"] == "tool"]
    assert sorted(probe.calls) == list("abcdef") and probe.most == 3
    assert told == [f"probed {word}" for word in "abcdef"], "results stand in the order of the calls"
    assert len(results_of(events)) == 6
    await in_db(adds_up)


async def test_the_model_reads_the_error_of_a_tool(context, vendor):
    text = '[[call nothing {}]][[call probe {"word": 7}]][[call probe not json]][[call broken {}]]'
    with Probe() as probe, Probe("broken", fails=True):
        async with vendor():
            events = await drain(ask(text), context(), agent("probe", "broken"))
    assert {result.status for result in results_of(events)} == {"error"} and not probe.calls
    outputs = " ".join(result.output for result in results_of(events))
    assert "no tool" in outputs and "schema" in outputs and "not a JSON object" in outputs and "secret" not in outputs
    assert (await in_db(the_run)).status == "succeeded"
    await in_db(adds_up)


async def test_a_tool_that_the_agent_was_not_given_is_never_run(context, vendor):
    with Probe() as probe, Probe("other") as other:
        async with vendor():
            events = await drain(ask("[[call other {}]]"), context(), agent("probe"))
    assert not other.calls and not probe.calls and results_of(events)[0].status == "error"


async def test_the_last_step_has_no_tools_so_that_the_model_answers(context, vendor):
    async with vendor() as sim:
        events = await drain(ask('[[call calculator {"expression": "1"}]][[forever]]'), context(), agent("calculator", max_steps=3))
        choices = [seen.body.get("tool_choice") for seen in sim.requests]
    assert choices == [None, None, "none"] or choices == ["auto", "auto", "none"]
    assert events[-1].finish_reason == "max_steps" and text_of(events)
    run = await in_db(the_run)
    assert (run.status, run.finish_reason, run.steps_done) == ("succeeded", "max_steps", 3)
    await in_db(adds_up)


async def test_calls_beyond_the_limit_of_a_step_are_ignored(context, vendor, settings):
    settings.AGENT_CALLS_PER_STEP = 4
    with Probe() as probe:
        async with vendor():
            await drain(ask("[[call probe {}]]" * 10), context(), agent("probe"))
    assert len(probe.calls) == 4
    await in_db(adds_up)


async def test_money_ends_the_run_before_a_call_that_does_not_fit(context, vendor):
    endless = ask('[[call calculator {"expression": "1"}]][[forever]]', max_output_tokens=50)
    async with vendor():
        events = await drain(endless, context(), agent("calculator", max_steps=40, max_cost_usd=Decimal("0.0002")))
    run = await in_db(the_run)
    assert events[-1] == Stopped("max_cost") and (run.status, run.finish_reason) == ("succeeded", "max_cost")
    assert 0 < run.cost_usd <= Decimal("0.0002") and 1 < run.steps_done < 40
    await in_db(adds_up)
    await in_db(exact)


async def test_a_limit_that_fits_no_call_at_all_is_an_error(context, vendor):
    async with vendor() as sim:
        with pytest.raises(BudgetExceeded):
            await drain(ask("Hello"), context(), agent(max_cost_usd=Decimal("0.0000001")))
        assert not sim.requests
    run = await in_db(the_run)
    assert (run.status, run.error["code"], run.cost_usd) == ("failed", "max_cost_exceeded", 0)
    await in_db(adds_up)


async def test_the_smaller_of_two_limits_holds(context, vendor):
    async with vendor():
        with pytest.raises(BudgetExceeded):
            await drain(ask("Hello"), context(max_cost_usd=Decimal("0.0000001")), agent(max_cost_usd=Decimal(1)))


async def test_time_ends_the_run_with_the_text_so_far(context, vendor):
    async with vendor():
        events = await drain(ask("[[sim:chunks=400,pace=10]] on"), context(), agent(max_seconds=1))
        await running_calls.finish_settlements()
    run = await in_db(the_run)
    assert events[-1] == Stopped("max_seconds") and (run.status, run.finish_reason) == ("succeeded", "max_seconds")
    assert run.output == text_of(events) != "" and run.cost_usd > 0
    await in_db(adds_up)
    await in_db(exact)


async def test_time_ends_a_tool_too(context, vendor):
    with Probe(seconds=30) as probe:
        async with vendor():
            events = await drain(ask("[[call probe {}]]"), context(), agent("probe", max_seconds=1))
    assert probe.running == 0
    run = await in_db(the_run)
    assert run.finish_reason in ("max_seconds", "stop") and (isinstance(events[-1], Stopped) or results_of(events)[0].status == "error")
    await in_db(adds_up)


async def test_signed_thinking_goes_back_to_its_vendor_within_the_loop(context, vendor):
    text = '[[sim:think]] [[call calculator {"expression": "2+3"}]]'
    async with vendor() as sim:
        events = await drain(ask(text), context("claude-3-haiku"), agent("calculator", model="claude-3-haiku"))
        second = sim.requests[1].body["messages"]
    assert any(isinstance(event, ReasoningDelta) and event.signature for event in events)
    blocks = [block["type"] for block in second[1]["content"]]
    assert blocks == ["thinking", "tool_use"] and second[1]["content"][0]["signature"]
    assert second[2]["content"][0]["type"] == "tool_result"
    await in_db(adds_up)


async def test_texts_of_two_steps_are_two_paragraphs(context, vendor):
    async with vendor() as sim:
        events = await drain(ask('[[say Let me see.]][[call calculator {"expression": "2+3"}]]'), context(), agent("calculator"))
        assert sim.requests[1].body["messages"][-2]["content"] == "Let me see."
    run = await in_db(the_run)
    assert text_of(events) == "Let me see.\n\n" + run.output


async def test_an_auto_agent_stays_with_the_model_that_began(context, vendor):
    text = '[[call calculator {"expression": "1"}]][[then]][[call calculator {"expression": "2"}]]'
    async with vendor():
        events = await drain(ask(text), context("auto"), agent("calculator", model="auto"))
    assert len({event.model for event in events if isinstance(event, Started)}) == 1
    await in_db(adds_up)


async def test_when_its_model_fails_in_mid_run_another_goes_on(context, vendor):
    text = '[[call calculator {"expression": "1"}]]'
    async with vendor() as sim:
        sim.plan("gpt-4o-mini", ["ok", "500", "500", "500"])
        events = await drain(ask(text), context(fallbacks=("claude-3-haiku",)), agent("calculator"))
    assert [event.model for event in events if isinstance(event, Started)] == ["gpt-4o-mini", "claude-3-haiku"]
    await in_db(adds_up)
    await in_db(exact)


async def test_a_failed_step_fails_the_run_and_all_is_charged_and_recorded(context, vendor):
    text = '[[say Before.]][[call calculator {"expression": "1"}]]'
    async with vendor() as sim:
        sim.plan("gpt-4o-mini", ["ok", "500", "500", "500"])
        with pytest.raises(NoModelAvailable):
            await drain(ask(text), context(), agent("calculator"))
    run = await in_db(the_run)
    assert (run.status, run.error["code"], run.output) == ("failed", "no_model_available", "Before.")
    assert (await in_db(steps_of, run))[-1].status == "error"
    await in_db(adds_up)
    await in_db(exact)


async def test_a_consumer_that_leaves_ends_the_run_and_pays_for_it(context, vendor):
    receipts: list[Settled] = []
    async with vendor():
        source = runner.stream(ask("[[sim:chunks=200,pace=10]] on"), context(), receipts, definition=agent())
        async with aclosing(source) as events:
            async for event in events:
                if isinstance(event, TextDelta):
                    break
        await running_calls.finish_settlements()
    run = await in_db(the_run)
    assert run.status == "cancelled" and run.output and run.cost_usd > 0 and len(receipts) == 1
    await in_db(adds_up)
    await in_db(exact)


async def test_a_disconnect_during_a_tool_call_leaves_an_unknown_outcome(context, vendor):
    with Probe(seconds=30) as probe:
        async with vendor():
            task = asyncio.create_task(drain(ask("[[call probe {}]]"), context(), agent("probe")))
            await until(lambda: probe.running)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
    run = await in_db(the_run)
    tool = (await in_db(steps_of, run))[1]
    assert run.status == "cancelled" and (tool.status, tool.error_code) == ("error", "outcome_unknown")
    await in_db(adds_up)


async def test_an_agents_budget_holds_for_all_of_its_calls(context, vendor, caller):
    from agents.definitions.definition import visible
    from agents.models import Agent, AgentVersion

    def make():
        made = Agent.objects.create(user=caller.user, slug="sums", name="Sums")
        made.version = AgentVersion.objects.create(
            agent=made, number=1, model="gpt-4o-mini", tools=[{"name": "calculator", "approval": "never"}], max_steps=20
        )
        made.save()
        budgets.set_limit("agent", made.id, Decimal("0.0009"))
        return visible(caller.user, slug="sums")

    definition = await in_db(make)
    async with vendor():
        with pytest.raises(BudgetExceeded) as refused:
            for _ in range(60):
                await drain(ask('[[call calculator {"expression": "1"}]][[forever]]', max_output_tokens=60), context(), definition)
    assert refused.value.details["budget"] == "agent"
    rows = [row async for row in UsageLog.objects.all()]
    assert rows and {(row.agent_id, row.purpose) for row in rows} == {(definition.agent_id, "agent")}
    assert sum(row.cost_usd for row in rows) <= Decimal("0.0009")
    await in_db(adds_up)
    await in_db(exact)
