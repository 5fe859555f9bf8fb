"""An endpoint beside Django and a DRF view that do the same, for the tests that compare them."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any
from uuid import UUID, uuid4

import pytest

from aiagents.core.errors import NotAuthenticated, PermissionDenied
from aiagents.core.http.consumer import EndpointApplication
from aiagents.core.live import credential_watch
from aiagents.core.ratelimit import sliding_window as ratelimit


@dataclass(frozen=True)
class CredentialRef:
    user_id: UUID = field(default_factory=uuid4)
    expires_at: float | None = None


# Standings that the check below finds revoked.
revoked: set[Any] = set()


@pytest.fixture(autouse=True)
def _check_of_credentials(monkeypatch: pytest.MonkeyPatch):
    async def check(credential_refs: list[Any]) -> set[Any]:
        return {one for one in credential_refs if one not in revoked}

    revoked.clear()
    monkeypatch.setattr(credential_watch, "registered_check", check)
    yield


@pytest.fixture
def principal() -> Any:
    return SimpleNamespace(
        user_id=uuid4(), user=SimpleNamespace(role="user"), key_id=None, rate_limit=None, scopes=None, credential_ref=CredentialRef()
    )


@pytest.fixture
def app(principal: Any) -> EndpointApplication:
    """Takes `Bearer good`; the scope `forbidden` is nobody's."""

    async def authenticate(headers: Any) -> Any:
        if headers.get("authorization") != "Bearer good":
            raise NotAuthenticated
        return principal

    def authorize(principal: Any, scope: str, *, safe: bool = False) -> None:
        if scope == "forbidden":
            raise PermissionDenied

    return EndpointApplication(authenticate=authenticate, authorize=authorize)


@pytest.fixture(autouse=True)
def _fresh_limits():
    ratelimit.local_windows = ratelimit.LocalWindows()
    ratelimit.valkey_breaker = ratelimit.ValkeyBreaker()
    ratelimit.breaker_client.cache_clear()
    yield
    ratelimit.breaker_client.cache_clear()
