"""A door and a DRF view that do the same, for the tests that compare them."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any
from uuid import uuid4

import pytest

from aiagents.lib import ratelimit
from aiagents.lib.asgi import Door
from aiagents.lib.errors import NotAuthenticated, PermissionDenied


@pytest.fixture
def principal() -> Any:
    return SimpleNamespace(user_id=uuid4(), user=SimpleNamespace(role="user"), key_id=None, rate_limit=None, scopes=None)


@pytest.fixture
def door(principal: Any) -> Door:
    """Takes `Bearer good`; the scope `forbidden` is nobody's."""

    async def authenticate(headers: Any) -> Any:
        if headers.get("authorization") != "Bearer good":
            raise NotAuthenticated
        return principal

    def authorize(principal: Any, scope: str, *, safe: bool = False) -> None:
        if scope == "forbidden":
            raise PermissionDenied

    return Door(authenticate=authenticate, authorize=authorize, register=False)


@pytest.fixture(autouse=True)
def _fresh_limits():
    ratelimit._local = ratelimit.LocalWindows()
    ratelimit._breaker = ratelimit._Breaker()
    ratelimit._sync_client.cache_clear()
    yield
    ratelimit._sync_client.cache_clear()
