"""What the billing tests make."""

from __future__ import annotations

from decimal import Decimal
from decimal import Decimal as D
from typing import Any

from asgiref.sync import async_to_sync
from rest_framework.test import APIClient

from accounts import keys
from accounts.models import User
from aiagents.core.ids import uuid7
from billing.budgets import budgets
from billing.ledger import service as ledger
from billing.ledger.charging import Call, Outcome
from billing.models import Budget, BudgetWindow, UsageLog
from billing.pricing import Rates, Usage
from tests.kit.people import PASSWORD

RATES = Rates(input=Decimal("2.5"), output=Decimal("10"), cached_input=Decimal("1.25"), source="test")
# One call of 1,000 input and 100 output tokens at RATES.
CENT = Decimal("0.01")


def make_user(limit: Decimal | None = Decimal("50"), **extra: Any) -> User:
    user = User.objects.create_user(f"{uuid7().hex}@example.com", PASSWORD, **extra)
    budgets.set_limit(Budget.Scope.USER, user.pk, limit)
    return user


def call_of(user: User, **changes: Any) -> Call:
    values = {
        "call_id": uuid7(), "group_id": uuid7(), "user_id": user.pk, "auth_epoch": user.auth_epoch, "api_key_id": None,
        "agent_id": None, "task_id": None, "conversation_id": None, "message_id": None, "purpose": "chat", "surface": "rest",
        "request_id": "request-1", "attempt": 1, "requested_model": "auto", "model": "gpt-4o", "provider": "openai",
        "goal": "balanced", "simulated": False,
    }  # fmt: skip
    return Call(**{**values, **changes})


def used(cost: Decimal, status: str = "ok", **extra: Any) -> Outcome:
    """An outcome that costs exactly `cost` at RATES (a multiple of one output token's price)."""
    tokens = int(cost / RATES.output * 1_000_000)
    return Outcome(status=status, usage=Usage(output_tokens=tokens), finish_reason="stop", latency_ms=12, ttft_ms=3, **extra)


def window(scope: str, scope_id: Any = None) -> BudgetWindow:
    """The scope's running window."""
    return BudgetWindow.objects.filter(budget__scope=scope, budget__scope_id=scope_id).latest("starts_at")


def balances(scope: str, scope_id: Any = None) -> tuple[Decimal, Decimal]:
    found = window(scope, scope_id)
    return found.spent_usd, found.held_usd


class Ledger:
    """The ledger for sync tests: its coroutines run to their end on the test's thread."""

    hold = staticmethod(async_to_sync(ledger.hold))
    settle = staticmethod(async_to_sync(ledger.settle))
    reattempt = staticmethod(async_to_sync(ledger.reattempt))
    progress = staticmethod(async_to_sync(ledger.progress))
    sweep = staticmethod(ledger.sweep)


def spent(scope: str, scope_id, amount: str, limit: str | None = "10") -> BudgetWindow:
    """A budget of which so much is spent in the running month."""
    budget = budgets.set_limit(scope, scope_id, None if limit is None else D(limit))
    window = budgets.open_window(budget, budgets.database_now())
    BudgetWindow.objects.filter(pk=window.pk).update(spent_usd=D(amount))
    return window


def client_of(user) -> APIClient:
    client = APIClient()
    answer = client.post("/api/v1/auth/login", {"email": user.email, "password": PASSWORD}, format="json")
    client.credentials(HTTP_AUTHORIZATION=f"Bearer {answer.json()['access']}")
    return client


def key_client(user, *scopes) -> APIClient:
    client = APIClient()
    client.credentials(HTTP_AUTHORIZATION=f"Bearer {make_key(user, scopes)}")
    return client


def spend(user, cost="0.001", outcome=None, *, at=None, **call):
    held = Ledger.hold(call_of(user, **call), CENT, RATES, 1000)
    Ledger.settle(held, outcome or used(D(cost)))
    if at is not None:
        UsageLog._base_manager.filter(call_id=held.call.call_id).update(created_at=at)
    return held.call


def make_key(user, scopes):
    return keys.create(user, name="k", scopes=scopes)[1]
