"""Rows of the usage log, and a clock, for the tests of the rollups."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal as D

from aiagents.core.ids import uuid7
from billing.models import Hold, UsageLog

NOON = datetime(2026, 3, 5, 12, 20, tzinfo=UTC)


USERS = [uuid7() for _ in range(3)]


class Clock:
    """The database's clock, to be set."""

    def __init__(self, now: datetime) -> None:
        self.now = now

    def __call__(self) -> datetime:
        return self.now


def log(admitted: datetime, ended: datetime | None = None, **values) -> UsageLog:
    """A settled call as the ledger leaves it: its row, and its hold, closed when the row was written."""
    row = {
        "call_id": uuid7(), "group_id": uuid7(), "user_id": USERS[0], "purpose": "chat", "surface": "rest", "requested_model": "m",
        "model": "m", "provider": "openai", "status": "ok", "cost_usd": D("0.000001234567"), "input_tokens": 10, "output_tokens": 3,
        "latency_ms": 700, "ttft_ms": 120, "created_at": admitted,
    } | values  # fmt: skip
    made = UsageLog.objects.create(**row)
    Hold.objects.create(pk=made.call_id, status="settled", amount_usd=made.cost_usd, created_at=admitted, closed_at=ended or admitted)
    return made
