"""Every maximum of what one user may have: raced by many at once over real connections, exactly so many are admitted."""

from __future__ import annotations

import ast
import asyncio
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from asgiref.sync import async_to_sync
from django.conf import settings as configured

from accounts import keys
from accounts.models import ApiKey, User
from accounts.principals import Principal, of_account
from agents.api import run_endpoint
from agents.calls import running as running_calls
from agents.definitions import authoring
from agents.definitions import definition as definitions
from agents.models import Agent, AgentRun, AgentStep
from agents.runs import live as live_runs
from agents.runs import store as run_store
from agents.simulator import SimulatorThread
from aiagents.core.errors import AppError, Conflict, RateLimited
from chat.api import socket_sign_in
from chat.models import Message
from chat.tests.socket import Socket
from chat.turn_request import TurnRequest
from chat.turns import running as running_turns
from chat.turns import store as turn_store
from tasks import service as task_service
from tasks.models import Status, Task, TaskRun
from tasks.runs import store as task_runs
from tasks.schedule import Kind, Plan
from tests.kit import catalogue as installed_catalogue
from tests.kit.racing import at_once
from tests.kit.source.tree import parse
from tests.kit.waiting import until

pytestmark = pytest.mark.django_db(transaction=True)
ROOT = Path(__file__).resolve().parents[1]
APPS = ("accounts", "agents", "aiagents", "billing", "chat", "tasks")
MOST, ASKED = 3, 10
MODEL = "gpt-4o-mini"


@pytest.fixture
def ann(settings: Any) -> Iterator[Principal]:
    settings.CHAT_TITLES = False
    installed_catalogue.load()
    yield of_account(User.objects.create_user("ann@example.com", "correct horse battery staple"))


# --- the maxima -----------------------------------------------------------------------------------


def _keys(ann: Principal) -> Callable[[int], object]:
    return lambda number: keys.create(ann.user, name=str(number), scopes=["chat"])


def _agents(ann: Principal) -> Callable[[int], object]:
    return lambda number: authoring.create(ann.user, {"name": "Same name", "model": MODEL})


def _tasks(ann: Principal) -> Callable[[int], object]:
    return lambda number: task_service.create(ann, {"name": "t", "input": "x"}, Plan(Kind.MANUAL), paused=False, request_id="r" * 8)


def _claims(ann: Principal) -> Callable[[int], object]:
    made = [
        task_service.create(ann, {"name": "t", "input": "x"}, Plan(Kind.MANUAL), paused=False, request_id="r" * 8)[0] for _ in range(ASKED)
    ]
    queued = [task_service.run(ann, task, {}, request_id="r" * 8) for task in made]

    def claim(number: int) -> object:
        if (claimed := task_runs.claim(queued[number].pk, "w")) is None:
            raise RateLimited
        return claimed

    return claim


def _turns(ann: Principal) -> Callable[[int], object]:
    return lambda number: turn_store.open_turn(ann.user, TurnRequest(content="Hello", model=MODEL))


def _not_kept(run_id: UUID) -> None:
    """No Idempotency-Key leads to the run."""


def _agent_runs(ann: Principal) -> Callable[[int], object]:
    agent = authoring.create(ann.user, {"name": "Writer", "model": MODEL})
    definition = definitions.visible(ann.user, agent_id=agent.pk)

    async def begin() -> None:
        started = await run_endpoint.start(ann, definition, "[[sim:chunks=400,pace=20]] x", None, "rest", "r" * 8, _not_kept)
        hold_open.append(started)
        # Long enough for all the others to have asked.
        await until(lambda: len(answered) >= ASKED - MOST)
        await live_runs.drain(0.1)
        await running_calls.finish_settlements()

    hold_open: list[Any] = []
    answered: list[int] = []

    def run(number: int) -> None:
        try:
            async_to_sync(begin)()
        except AppError:
            answered.append(number)
            raise

    return run


# The name of each maximum, who asks for one more, and how many there are then.
RACES: dict[str, tuple[Callable[[Principal], Callable[[int], object]], Callable[[], int]]] = {
    "accounts.keys.MAX_PER_USER": (_keys, lambda: ApiKey.objects.count()),
    "MAX_AGENTS_PER_USER": (_agents, lambda: Agent.objects.count()),
    "TASKS_PER_USER": (_tasks, lambda: Task.objects.count()),
    "TASK_RUNS_PER_USER": (_claims, lambda: TaskRun.objects.filter(status=Status.RUNNING).count()),
    "MAX_CONCURRENT_TURNS_PER_USER": (_turns, lambda: Message.objects.filter(role="assistant").count()),
    "MAX_CONCURRENT_RUNS_PER_USER": (_agent_runs, lambda: AgentRun.objects.count()),
}
# Raced on an event loop, below.
SOCKETS = "chat.api.socket_sign_in.MOST_SOCKETS_PER_USER"
NO_MAXIMUM = {"FEEDBACK_VOTES_PER_USER": "how many of a person's votes count; more may be given"}


@contextmanager
def _limited(settings: Any, name: str) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        if "." in name:
            patch.setattr(name, MOST)
        else:
            setattr(settings, name, MOST)
        yield


@pytest.mark.parametrize("name", RACES)
def test_exactly_so_many_are_admitted(ann: Principal, settings: Any, name: str):
    prepare, count = RACES[name]
    with SimulatorThread() as sim:
        settings.SIMULATOR, settings.SIMULATOR_URL = True, sim.url
        work = prepare(ann)
        before = count() if name != "accounts.keys.MAX_PER_USER" else 0
        with _limited(settings, name):
            answers = at_once(ASKED, work)
    refused = [answer for answer in answers if isinstance(answer, Exception)]
    assert all(isinstance(one, Conflict | RateLimited) for one in refused), refused
    assert (count() - before, len(refused)) == (MOST, ASKED - MOST)


def test_what_is_given_back_may_be_had_again(ann: Principal, settings: Any):
    with _limited(settings, "accounts.keys.MAX_PER_USER"):
        made = [keys.create(ann.user, name="k", scopes=["chat"])[0] for _ in range(MOST)]
        with pytest.raises(Conflict):
            keys.create(ann.user, name="k", scopes=["chat"])
        keys.revoke(made[0], actor=ann.user)
        keys.create(ann.user, name="k", scopes=["chat"])


def test_a_run_that_is_one_too_many_leaves_nothing_behind(ann: Principal, settings: Any):
    settings.MAX_CONCURRENT_RUNS_PER_USER = 0
    agent = authoring.create(ann.user, {"name": "Writer", "model": MODEL})
    definition = definitions.visible(ann.user, agent_id=agent.pk)
    with pytest.raises(RateLimited):
        async_to_sync(run_endpoint.start)(ann, definition, "x", None, "rest", "r" * 8, _not_kept)
    assert not AgentRun.objects.exists() and not AgentStep.objects.exists() and run_store.running(ann.user_id) == 0


async def test_exactly_so_many_sockets_are_admitted(ann: Principal, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(socket_sign_in, "MOST_SOCKETS_PER_USER", MOST)
    key = (await asyncio.to_thread(keys.create, ann.user, name="k", scopes=["chat"]))[1]
    opened = [Socket(key=key) for _ in range(ASKED)]
    await asyncio.gather(*(socket.__aenter__() for socket in opened))
    for socket in opened:
        socket.send({"type": "ping"})
    frames = await asyncio.gather(*(socket.frame() for socket in opened))
    await asyncio.gather(*(socket.__aexit__() for socket in opened))
    assert sorted(socket.code or 0 for socket in opened) == [0] * MOST + [4429] * (ASKED - MOST)
    assert sum(frame.get("type") == "pong" for frame in frames) == MOST
    assert not socket_sign_in.open_sockets and not running_turns.here().turns


# --- none is forgotten ----------------------------------------------------------------------------


def _modules() -> Iterator[tuple[str, ast.Module]]:
    for app in APPS:
        for path in (ROOT / app).rglob("*.py"):
            if "tests" not in path.parts and "migrations" not in path.parts:
                yield ".".join(path.relative_to(ROOT).with_suffix("").parts), parse(path.read_text())


def test_every_maximum_for_a_user_is_raced():
    found = {name for name in dir(configured) if name.endswith("_PER_USER")}
    for module, tree in _modules():
        for node in tree.body:
            names = [target.id for target in getattr(node, "targets", []) if isinstance(target, ast.Name)]
            if not module.startswith("aiagents.settings"):
                found |= {f"{module}.{name}" for name in names if name.endswith("PER_USER")}
    assert found == {*RACES, SOCKETS, *NO_MAXIMUM}, "a maximum without a race: add one to RACES"


# Functions that count rows and admit nothing by the result.
ONLY_READ = {
    "agents.runs.store.running", "aiagents.local.prepare.load_catalogue", "aiagents.core.admin.paging.count",
    "aiagents.management.commands.doctor._tables", "billing.reports.activity.user_activity",
    "billing.reports.overview._users", "billing.reports.rollups._count",
    "billing.api.views_alerts.get", "tasks.runs.store._let_next_in", "tasks.runs.store._next",
}  # fmt: skip

# They lock the user's row and count by one trip to the database.
LOCKED_BY_SQL = {"chat.turns.store._lock_and_count": turn_store.LOCK_AND_COUNT}


def _of_rows(value: ast.expr) -> bool:
    """Whether this is a queryset, as far as its text tells: not `text.count("x")`."""
    return "objects" in ast.unparse(value) or (isinstance(value, ast.Name) and value.id in ("models", "mine", "rows"))


def test_what_is_admitted_by_a_count_is_counted_under_the_users_lock():
    unlocked = set()
    for module, tree in _modules():
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                called = [call.func for call in ast.walk(node) if isinstance(call, ast.Call) and isinstance(call.func, ast.Attribute)]
                counts = any(func.attr == "count" and _of_rows(func.value) for func in called)
                if counts and not any(func.attr == "hold" for func in called):
                    unlocked.add(f"{module}.{node.name}")
    assert all(re.search("FROM accounts_user WHERE id = %s FOR NO KEY UPDATE;.*SELECT COUNT", sql, re.S) for sql in LOCKED_BY_SQL.values())
    assert unlocked <= {*ONLY_READ, *LOCKED_BY_SQL}, (
        "counted, then created: hold the user's row first (User.objects.hold), or say that nothing is admitted"
    )
