"""A catalogue, a caller and a simulated vendor for tests of model calls."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import pytest
from rest_framework.test import APIClient

from accounts import keys
from accounts.authentication import Principal
from accounts.models import User
from agents.calls.service import CallContext
from agents.messages import CompletionRequest, Message, Text
from agents.routing import connections, health
from agents.simulator import Simulator
from aiagents.core.ids import uuid7
from tests.kit import catalogue as installed_catalogue


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


def client_of(user: User, scopes: tuple[str, ...] = ("agents",)) -> APIClient:
    client = APIClient()
    client.credentials(HTTP_AUTHORIZATION=f"Bearer {keys.create(user, name='t', scopes=scopes)[1]}")
    return client


@pytest.fixture
def ada(models) -> User:
    return User.objects.create_user("ada@example.com", "correct horse battery staple", name="Ada")


@pytest.fixture
def eve(models) -> User:
    return User.objects.create_user("eve@example.com", "correct horse battery staple", name="Eve")


@pytest.fixture
def mine(ada) -> APIClient:
    return client_of(ada)


@pytest.fixture
def hers(eve) -> APIClient:
    return client_of(eve)


@pytest.fixture
def caller(models) -> Principal:
    user = User.objects.create_user("ada@example.com", "correct horse battery staple")
    return Principal(user=user, auth_epoch=user.auth_epoch)


@pytest.fixture
def context(caller: Principal) -> Callable[..., CallContext]:
    def make(model: str = "gpt-4o-mini", **changes: Any) -> CallContext:
        fields = {
            "principal": caller,
            "purpose": "chat",
            "surface": "rest",
            "request_id": "test-request",
            "group_id": uuid7(),
            "requested_model": model,
        }
        return CallContext(**(fields | changes))

    return make


@pytest.fixture
def vendor(settings) -> Callable[..., AbstractAsyncContextManager[Simulator]]:
    @asynccontextmanager
    async def start(**options: Any) -> AsyncIterator[Simulator]:
        async with Simulator(**options) as sim:
            settings.SIMULATOR_URL = sim.url
            yield sim

    return start


def ask(text: str, **changes: Any) -> CompletionRequest:
    return CompletionRequest((Message("user", (Text(text),)),), **changes)
