"""What the tests of chat share: users with money, the catalogue, and vendors that are the simulator."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from accounts import keys
from accounts.authentication import Principal
from accounts.models import User
from accounts.sign_in import tokens
from agents.calls import running as running_calls
from agents.definitions.authoring import create
from agents.models import Agent
from agents.runs import approvals
from agents.runs import live as live_runs
from agents.simulator import Simulator
from aiagents.core.db.calls import in_db
from chat import invariants
from chat.turn_request import TurnRequest
from chat.turns import running as running_turns
from chat.turns import service as turns
from chat.turns.turn import Turn
from tests.kit import catalogue as installed_catalogue
from tests.kit.waiting import until

MODEL = "gpt-4o-mini"


@pytest.fixture(autouse=True)
def _no_titles(settings):
    """A title is one call more; its own tests switch it on."""
    settings.CHAT_TITLES = False


@pytest.fixture
def models(db):
    """Every model of the catalogue, with prices."""
    installed_catalogue.load()


@pytest.fixture
def stranger(db) -> User:
    return User.objects.create_user("bob@example.com", "correct horse battery staple")


@pytest.fixture
def key(user, models) -> str:
    """A key that may use the chat."""
    return keys.create(user, name="t", scopes=["chat"])[1]


@pytest.fixture
def sums(user, models) -> Agent:
    """An agent that calculates by itself and asks before it tells the time."""
    tools = [{"name": "calculator", "approval": "never"}, {"name": "current_time", "approval": "always"}]
    return create(user, {"name": "Sums", "system_prompt": "Add.", "model": "gpt-4o-mini", "tools": tools})


@pytest.fixture
def principal(user, models) -> Principal:
    return Principal(user, user.auth_epoch)


@pytest.fixture
def person(user) -> str:
    """The same user in person."""
    return tokens.sign_in(user).access


@pytest.fixture
def sent(monkeypatch) -> list[str]:
    """The ids of parked runs that a worker was asked to resume."""
    found: list[str] = []
    monkeypatch.setattr(approvals.current_app, "send_task", lambda name, args, **_: found.append(args[0]))
    return found


@pytest.fixture
def vendors(settings):
    """`async with vendors() as sim`: every vendor is a simulator on this loop, and nothing of a turn is left behind."""

    @asynccontextmanager
    async def running(pace: float = 0.0) -> AsyncIterator[Simulator]:
        async with Simulator(pace=pace) as sim:
            settings.SIMULATOR, settings.SIMULATOR_URL = True, sim.url
            try:
                yield sim
            finally:
                await quiet()
            assert [str(one) for one in await in_db(lambda: list(invariants.check()))] == []

    return running


async def quiet(seconds: float = 30.0) -> None:
    """Wait until no turn of this loop runs, is stored, logged or settled."""
    here = running_turns.here()
    await until(lambda: not here.turns and not here.background, seconds)
    async with asyncio.timeout(seconds):
        await running_calls.finish_settlements()


async def runs_quiet(seconds: float = 30.0) -> None:
    """Wait until no agent run of this loop is under way."""
    await until(lambda: not live_runs.count(), seconds)


async def begin(principal: Principal, content: str = "Name three rivers", *, surface: str = "sse", **ask) -> Turn:
    ask.setdefault("model", MODEL)
    return await turns.start(principal, TurnRequest(content=content, **ask), surface=surface, request_id="tests-" + "0" * 8)


async def collect(lines) -> list[tuple[int, str, bytes]]:
    return [line async for line in lines]
