"""Demo usage for trials, demonstrations and measurements. Every row is marked as `simulated`. Not for production.

The rows are the same as the ledger would write: with exact prices of the catalogue, counted in the budgets' windows in
the same transaction, and with closed holds for those of the last day. All invariants therefore hold.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from decimal import ROUND_UP, Decimal
from itertools import islice

from django.conf import settings
from django.db import connection

from accounts import keys
from accounts.models import ApiKey, User
from billing.budgets import alerts, budgets
from billing.demo import rows as demo_rows
from billing.demo import writing
from billing.demo.rows import REQUEST_ID, Person
from billing.models import Budget, UsageLog
from billing.reports import rollups

CHUNK = 50_000


def make(people: Sequence[Person], rows: int, days: int, *, now: datetime | None = None, seed: int = 1) -> Decimal:
    """Write `rows` rows over the last `days`, roll them up, and return their cost (USD).

    Uses the catalogue's models.
    """
    now = now or budgets.database_now()
    start = rollups.floor_hour(now - timedelta(days=days))
    made = demo_rows.make(people, rows, start, now, random.Random(seed))
    total = Decimal(0)
    while chunk := list(islice(made, CHUNK)):
        total += writing.write(chunk, start, now)
    if rollups.state_now().rolled_until is None:
        rollups.catch_up()
    else:
        rollups.rebuild(start, now)
    if connection.vendor == "postgresql" and not connection.in_atomic_block:
        with connection.cursor() as cursor:
            cursor.execute("ANALYZE billing_usagelog, billing_usagerollup, billing_hold")
    return total


def month(users: Sequence[User], rows: int = 5_000) -> int:
    """Write a month of usage of these users and a few demo colleagues; return how many rows.

    Safe to repeat: it writes nothing if there is demo usage already. The last user gets a key whose budget is nearly
    used up and raises an alert.
    """
    if UsageLog.objects.filter(user__in=users, request_id=REQUEST_ID).exists():
        return 0
    key = (
        ApiKey.objects.filter(user=users[-1], name="nightly report").first()
        or keys.create(users[-1], name="nightly report", scopes=["chat"])[0]
    )
    people = [Person(user.pk, 4.0 / (number + 1), [key.pk] if user == users[-1] else ()) for number, user in enumerate(users)]
    people += [Person(user.pk, 1.0 / (number + 1)) for number, user in enumerate(colleagues(6))]
    make(people, rows, 30)
    if spent := _spent_by(key):
        budgets.set_limit(Budget.Scope.KEY, key.pk, (spent / Decimal("0.84")).quantize(Decimal("0.01"), ROUND_UP))
    alerts.raise_due()
    return rows


def colleagues(count: int) -> list[User]:
    """Return `count` users who cannot sign in, the same ones each time. Their budgets have no limit."""
    emails = [f"demo-{number:03}@example.com" for number in range(1, count + 1)]
    known = User.objects.in_bulk(emails, field_name="email")
    for number, email in enumerate(emails, 1):
        if email not in known:
            known[email] = User.objects.create_user(email, None, name=f"Demo colleague {number}")
            budgets.set_limit(Budget.Scope.USER, known[email].pk, None)
    return [known[email] for email in emails]


def _spent_by(key: ApiKey) -> Decimal:
    """Return the key's spending (USD) this month, before it has a budget."""
    first = budgets.month(settings.BUDGET_TIME_ZONE, datetime.now(UTC))[0]
    return sum(UsageLog.objects.filter(api_key_id=key.pk, created_at__gte=first).values_list("cost_usd", flat=True), Decimal(0))
