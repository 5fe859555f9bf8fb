"""What the tests of tasks make."""

from __future__ import annotations

from datetime import timedelta

from django.utils import timezone

from accounts.models import User
from agents.models import Agent, AgentVersion
from tasks.models import TaskRun
from tasks.tests.conftest import MODEL

SLOW = "[[sim:chunks=300,pace=50]] story"


def agent_of(user: User, *tools: str, ask: tuple[str, ...] = (), **values) -> Agent:
    agent = Agent.objects.create(user=user, slug=values.pop("slug", "helper"), name="helper", **values)
    granted = [{"name": name, "approval": "always" if name in ask else "never"} for name in tools]
    agent.version = AgentVersion.objects.create(agent=agent, number=1, model=MODEL, tools=granted)
    agent.save()
    return agent


def silence(run: TaskRun) -> None:
    TaskRun.objects.filter(pk=run.pk).update(heartbeat_at=timezone.now() - timedelta(minutes=1))
