"""What the tests of tasks share: an owner with money, vendors that are the simulator, and tasks with their runs."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from django.core.management import call_command

from accounts.authentication import Principal
from accounts.models import User
from agents import connections, health, inflight
from agents.simulator import Simulator
from aiagents.lib.db import in_db
from billing import catalogue
from billing import invariants as books
from tasks import invariants, planning, runs
from tasks.execution import Crew
from tasks.models import Task, TaskRun
from tasks.schedule import Kind, Plan

MODEL = "gpt-4o-mini"


@pytest.fixture
def models(db, settings):
    """The shipped catalogue, every vendor simulated."""
    settings.SIMULATOR = True
    settings.VENDORS = {kind: {"api_key": "", "base_url": ""} for kind in ("openai", "anthropic", "google")}
    call_command("catalogue", "load", verbosity=0)
    catalogue.invalidate()
    connections.invalidate()
    health.reset()
    yield
    health.reset()


@pytest.fixture
def owner(models) -> Principal:
    user = User.objects.create_user("ann@example.com", "correct horse battery")
    return Principal(user, user.auth_epoch)


@pytest.fixture
def make(owner) -> Callable[..., Task]:
    """A saved task of `owner`; columns by name, `plan` for its schedule."""

    def made(plan: Plan | None = None, paused: bool = False, **values: Any) -> Task:
        given = {"name": "task", "input": "Name three rivers", "model": MODEL, "retry_seconds": 1} | values
        return planning.create(owner, given, plan or Plan(Kind.MANUAL), paused=paused, request_id="tests-" + "0" * 8)[0]

    return made


@pytest.fixture
def vendors(settings):
    """`async with vendors() as sim`: every vendor is a simulator on this loop; at the end all books must be right."""

    @asynccontextmanager
    async def running(pace: float = 0.0) -> AsyncIterator[Simulator]:
        async with Simulator(pace=pace) as sim:
            settings.SIMULATOR_URL = sim.url
            yield sim
            await inflight.finish_settlements()
        assert [str(one) for one in await in_db(lambda: list(invariants.check()))] == []
        assert [str(one) for one in await in_db(lambda: list(books.balances_are_sums()))] == []

    return running


def begin(owner: Principal, task: Task, **variables: Any) -> TaskRun:
    """A queued run of the task."""
    return planning.run(owner, task, variables, request_id="tests-" + "1" * 8)


async def done(task: Task, owner: Principal, **variables: Any) -> TaskRun:
    """One attempt of a new run, as its row stands then."""
    run = await in_db(begin, owner, task, **variables)
    await again(run)
    return await in_db(fresh, run)


async def again(run: TaskRun, crew: Crew | None = None) -> None:
    crew = crew or Crew()
    await crew.run(run.id)
    await crew.feeds.flushed()


def fresh(run: TaskRun) -> TaskRun:
    return TaskRun.objects.select_related("task").get(pk=run.pk)


def due_now(run: TaskRun) -> bool:
    """Let its pause be over."""
    return runs.requeue(run.pk, was="scheduled")
