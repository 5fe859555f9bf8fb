"""The checks of agent runs see what they are for."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal

from django.utils import timezone

from agents.invariants import check
from agents.models import AgentRun, AgentStep
from agents.tests.conftest import ask
from agents.tests.runs import agent, drain
from aiagents.lib.db import in_db


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
