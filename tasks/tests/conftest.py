"""What the tests of tasks share: an owner with money, vendors that are the simulator, and tasks with their runs."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractContextManager, asynccontextmanager, contextmanager
from typing import Any

import pytest
from asgiref.sync import async_to_sync

from accounts.authentication import Principal
from accounts.models import User
from agents.calls import running as running_calls
from agents.routing import connections, health
from agents.simulator import Simulator
from agents.simulator.thread import SimulatorThread
from aiagents.core.db.calls import in_db
from billing import invariants as books
from tasks import invariants
from tasks import service as task_service
from tasks.models import Task, TaskRun
from tasks.runs import store as task_runs
from tasks.runs.execute import Crew
from tasks.schedule import Kind, Plan
from tests.kit import catalogue as installed_catalogue
from tests.kit.waiting import until

MODEL = "gpt-4o-mini"


@pytest.fixture
def models(db, settings):
    """The shipped catalogue, every vendor simulated."""
    settings.SIMULATOR = True
    settings.VENDORS = {kind: {"api_key": "", "base_url": ""} for kind in ("openai", "anthropic", "google")}
    installed_catalogue.load()
    connections.invalidate()
    health.reset()
    yield
    health.reset()


@pytest.fixture
def owner(models) -> Principal:
    user = User.objects.create_user("ann@example.com", "correct horse battery staple")
    return Principal(user, user.auth_epoch)


@pytest.fixture
def make(owner) -> Callable[..., Task]:
    """A saved task of `owner`; columns by name, `plan` for its schedule."""

    def made(plan: Plan | None = None, paused: bool = False, **values: Any) -> Task:
        given = {"name": "task", "input": "Name three rivers", "model": MODEL, "retry_seconds": 1} | values
        return task_service.create(owner, given, plan or Plan(Kind.MANUAL), paused=paused, request_id="tests-" + "0" * 8)[0]

    return made


@pytest.fixture
def vendors(settings):
    """`with vendors() as sim`: every vendor is a simulator in a thread of its own; at the end all books must be right."""

    @contextmanager
    def running(pace: float = 0.0) -> Iterator[Simulator]:
        with SimulatorThread(pace=pace) as sim:
            settings.SIMULATOR_URL = sim.url
            yield sim
        assert [str(one) for one in invariants.check()] == []
        assert [str(one) for one in books.balances_are_sums()] == []

    return running


def begin(owner: Principal, task: Task, **variables: Any) -> TaskRun:
    """A queued run of the task."""
    return task_service.run(owner, task, variables, request_id="tests-" + "1" * 8)


def done(task: Task, owner: Principal, **variables: Any) -> TaskRun:
    """One attempt of a new run, as its row stands then."""
    run = begin(owner, task, **variables)
    again(run)
    return fresh(run)


def again(run: TaskRun) -> None:
    """An attempt of a queued run, in a crew of its own."""
    together(run)


def together(*some: TaskRun) -> None:
    """The same with several runs on one loop."""
    async_to_sync(again_here)(*some)


async def again_here(*some: TaskRun) -> None:
    crew = Crew()
    await asyncio.gather(*(crew.run(run.id) for run in some))
    await crew.events.settled(10.0)
    await running_calls.finish_settlements()


@asynccontextmanager
async def aboard(vendors: Callable[[], AbstractContextManager[Simulator]]) -> AsyncIterator[Simulator]:
    """`vendors()` for async tests."""
    block = vendors()
    sim = await in_db(block.__enter__)
    try:
        yield sim
    except BaseException:
        await in_db(block.__exit__, *sys.exc_info())
        raise
    await in_db(block.__exit__, None, None, None)


@asynccontextmanager
async def at_work(run: TaskRun, events: int = 8) -> AsyncIterator[Crew]:
    """A crew whose run has had so many events; at the end of the block it must have let go of it."""
    crew = Crew()
    working = asyncio.create_task(crew.run(run.id))
    await until(lambda: run.id in crew.events.work and crew.events.work[run.id].broadcast.last >= events)
    yield crew
    async with asyncio.timeout(5):
        await working
        await crew.events.settled(10.0)
        await running_calls.finish_settlements()


def fresh(run: TaskRun) -> TaskRun:
    return TaskRun.objects.select_related("task").get(pk=run.pk)


def due_now(run: TaskRun) -> bool:
    """Let its pause be over."""
    return task_runs.requeue(run.pk, was="scheduled")
