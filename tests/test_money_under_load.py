"""Two hundred calls at once against a budget that has room for exactly ten."""

from __future__ import annotations

import asyncio
from decimal import Decimal

import pytest

from benchmarks.client.connections import Connection
from benchmarks.client.load import Target
from tests.kit.servers.live import Live

pytestmark = pytest.mark.long
MODEL = "gpt-4o-mini"
ROOM = 10


def body(text: str) -> dict:
    return {"model": MODEL, "max_tokens": 500, "messages": [{"role": "user", "content": text}]}


def test_a_budget_with_room_for_ten_admits_exactly_ten_and_ends_exact(live: Live):
    # Every call lasts long enough that all are in flight together.
    text = "[[sim:chunks=4,pace=700]] Hello"
    _, scout = live.new_user("scout@example.com")
    answer = live.call("POST", "/v1/chat/completions", body(text), key=scout)
    assert answer.status == 200, answer.body
    held = live.query("SELECT amount_usd FROM billing_hold ORDER BY created_at DESC LIMIT 1")[0][0]
    limit = Decimal(str(held)) * ROOM
    access, key = live.new_user("crowd@example.com", monthly_budget_usd=f"{limit:f}")
    key_id = next(row["id"] for row in live.call("GET", "/api/v1/auth/api-keys", key=access).json["results"])

    statuses = asyncio.run(_all_at_once(live, key, text, 200))

    assert statuses.count(200) == ROOM, statuses
    assert statuses.count(429) == 200 - ROOM
    spent, still_held = _window(live, key_id)
    logged = Decimal(str(live.query("SELECT COALESCE(SUM(cost_usd), 0) FROM billing_usagelog WHERE api_key_id = %s", key_id)[0][0]))
    assert still_held == 0
    assert spent == logged and Decimal(0) < spent <= limit
    rows = live.query("SELECT count(*), count(DISTINCT call_id) FROM billing_usagelog WHERE api_key_id = %s", key_id)[0]
    assert tuple(rows) == (ROOM, ROOM)
    # What the ten did not use is free again: nobody is refused while money is provably left.
    while limit - _window(live, key_id)[0] >= Decimal(str(held)):
        assert live.call("POST", "/v1/chat/completions", body("Hello"), key=key).status == 200
    assert live.call("POST", "/v1/chat/completions", body(text), key=key).status == 429


async def _all_at_once(live: Live, key: str, text: str, count: int) -> list[int]:
    target = Target("live", live.port, (key,), MODEL)
    raw = target.request(text, False, more=body(text))
    return [status for status, _, _ in await asyncio.gather(*(Connection(live.port).ask(raw, target.wire) for _ in range(count)))]


def _window(live: Live, key_id: str) -> tuple[Decimal, Decimal]:
    row = live.query(
        "SELECT w.spent_usd, w.held_usd FROM billing_budgetwindow w JOIN billing_budget b ON b.id = w.budget_id "
        "WHERE b.scope = 'key' AND b.scope_id = %s",
        key_id,
    )[0]
    return Decimal(str(row[0])), Decimal(str(row[1]))
