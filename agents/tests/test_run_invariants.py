"""The checks of agent runs see what they are for."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal

import pytest
from django.db.models import QuerySet
from django.utils import timezone

from agents.invariants import check
from agents.models import AgentRun, AgentStep
from agents.runs import sweep as run_sweep
from agents.tests.conftest import ask
from agents.tests.runs import agent, drain
from aiagents.core.db.calls import in_db
from billing.models import UsageLog


def rules() -> list[str]:
    return sorted(one.rule for one in check())


async def test_a_clean_run_breaks_nothing_and_each_lie_is_seen(context, vendor):
    async with vendor():
        await drain(ask('[[call calculator {"expression": "1"}]]'), context(), agent("calculator"))
    assert await in_db(rules) == []
    run = await AgentRun.objects.aget()
    await AgentRun.objects.aupdate(cost_usd=run.cost_usd + Decimal("0.000001"))
    assert await in_db(rules) == ["I3"]
    await AgentRun.objects.aupdate(cost_usd=run.cost_usd)
    await AgentStep.objects.filter(kind="tool").aupdate(status="running")
    assert await in_db(rules) == ["I5"]
    await AgentStep.objects.filter(kind="tool").aupdate(status="ok")
    await AgentRun.objects.aupdate(status="running", heartbeat_at=timezone.now() - timedelta(hours=1))
    assert await in_db(rules) == ["I5"]
    await AgentRun.objects.aupdate(status="waiting_approval", state={"parked": True})
    assert await in_db(rules) == []


@pytest.mark.parametrize("age", [0, 90 * 86400], ids=["now", "an earlier version's"])
async def test_a_run_that_was_broken_off_costs_what_its_calls_cost_in_the_end(context, vendor, age, monkeypatch):
    monkeypatch.setattr(run_sweep, "older_runs", run_sweep.Rotation())
    async with vendor():
        await drain(ask('[[call calculator {"expression": "1"}]]'), context(), agent("calculator"))
    run = await AgentRun.objects.aget()
    ended, paid = timezone.now() - timedelta(seconds=age), run.cost_usd
    step = await AgentStep.objects.filter(kind="model").order_by("-number").afirst()
    await AgentStep.objects.filter(id=step.id).aupdate(cost_usd=0)
    await AgentRun.objects.aupdate(status="interrupted", cost_usd=paid - step.cost_usd)
    if age:
        created = run.created_at - timedelta(seconds=age)
        await AgentRun.objects.aupdate(created_at=created, ended_at=ended)
        await in_db(lambda: QuerySet(UsageLog).update(created_at=created))
    assert "I3" in await in_db(rules)
    await in_db(run_sweep.sweep)
    assert await in_db(rules) == []
    assert (await AgentRun.objects.aget()).cost_usd == paid
