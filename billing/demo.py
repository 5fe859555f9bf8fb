"""Demo usage for trials, demonstrations and measurements. Every row is marked as `simulated`. Not for production.

The rows are the same as the ledger would write: with exact prices of the catalogue, counted in the budgets' windows in
the same transaction, and with closed holds for those of the last day. All invariants therefore hold.
"""

from __future__ import annotations

import json
import random
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import ROUND_UP, Decimal
from itertools import islice
from typing import Any
from uuid import UUID

from django.conf import settings
from django.db import connection, transaction
from django.db.models import F

from accounts import keys
from accounts.models import ApiKey, User
from aiagents.core.jsonio import dumps
from billing.budgets import alerts, budgets
from billing.catalogue import snapshot as catalogue
from billing.catalogue.snapshot import ModelCard
from billing.models import Budget, BudgetWindow, Hold, UsageLog
from billing.pricing import Rates
from billing.reports import rollups

# The request id of all demo rows.
REQUEST_ID = "demo"
CHUNK = 50_000
_HOUR = timedelta(hours=1)
# The relative load of the hours of a day (UTC), and of the days of a week from Monday on.
_HOURS = (2, 1, 1, 1, 1, 2, 4, 8, 14, 18, 20, 18, 14, 17, 19, 18, 16, 12, 9, 8, 7, 6, 4, 3)
_WEEK = (20, 21, 21, 20, 17, 6, 5)
# The models that demo users choose, if the catalogue has them.
_LIKED = (
    "gpt-4o-mini",
    "gpt-4o",
    "claude-sonnet-4-5",
    "claude-haiku-4-5",
    "gemini-2.5-flash",
    "gemini-2.5-pro",
    "gpt-5-mini",
    "claude-opus-4-1",
)
_PURPOSES = (("chat", 62), ("api", 20), ("agent", 9), ("title", 6), ("task", 3))
_SURFACES = {
    "chat": ("sse", "ws", "rest"),
    "api": ("openai", "openai", "anthropic"),
    "agent": ("sse", "worker"),
    "title": ("sse",),
    "task": ("worker",),
}
_ENDS = (("ok", 957), ("failed", 25), ("cancelled", 15), ("interrupted", 3))
_ERRORS = ("provider_rate_limited", "provider_timeout", "provider_overloaded", "provider_unavailable")
# Median input and output tokens.
_SIZES = {"chat": (900, 350), "api": (1_800, 260), "agent": (3_200, 300), "title": (220, 9), "task": (2_400, 700)}
COLUMNS = (
    "id", "call_id", "group_id", "user_id", "api_key_id", "agent_id", "task_id", "conversation_id", "message_id", "purpose", "surface",
    "request_id", "attempt", "requested_model", "model", "provider", "goal", "status", "finish_reason", "error_code", "input_tokens",
    "cached_input_tokens", "cache_write_tokens", "output_tokens", "reasoning_tokens", "cost_usd", "baseline_cost_usd", "price", "estimated",
    "flagged", "overrun_usd", "latency_ms", "ttft_ms", "simulated", "created_at",
)  # fmt: skip
_AT = {name: index for index, name in enumerate(COLUMNS)}
Row = tuple[Any, ...]


@dataclass(slots=True)
class Person:
    """A demo user: the share of the usage, the keys and agents, and the current conversation."""

    user_id: UUID
    weight: float = 1.0
    key_ids: Sequence[UUID] = ()
    agent_ids: Sequence[UUID] = ()
    conversation_id: UUID | None = None
    turns: int = 0


@dataclass(frozen=True, slots=True)
class _Model:
    card: ModelCard
    rates: tuple[int, int, int, int]
    price: str
    long: int = field(default=10**9)


def make(people: Sequence[Person], rows: int, days: int, *, now: datetime | None = None, seed: int = 1) -> Decimal:
    """Write `rows` rows over the last `days`, roll them up, and return their cost (USD).

    Uses the catalogue's models.
    """
    now = now or budgets.database_now()
    start = rollups.floor_hour(now - timedelta(days=days))
    made = _rows(people, rows, start, now, random.Random(seed))
    total = Decimal(0)
    while chunk := list(islice(made, CHUNK)):
        total += _write(chunk, start, now)
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


def pico(rates: tuple[int, int, int, int], usage: Sequence[int]) -> int:
    """Return the cost in 1e-12 USD, for inputs below any tier. Integers are much faster than billing.pricing.cost."""
    into, cached, write, out = rates
    return into * (usage[0] - usage[1] - usage[2]) + cached * usage[1] + write * usage[2] + out * usage[3]


def whole_rates(rates: Rates) -> tuple[int, int, int, int]:
    """Return the rates for input, cached, written and output tokens, in 1e-6 USD per million tokens."""
    into = int(rates.input * 10**6)
    return (
        into,
        into if rates.cached_input is None else int(rates.cached_input * 10**6),
        into if rates.cache_write is None else int(rates.cache_write * 10**6),
        int(rates.output * 10**6),
    )


def _models() -> tuple[list[_Model], tuple[int, int, int, int] | None]:
    known = catalogue.current_sync()
    priced = [card for card in known.usable() if card.rates is not None and not card.embeds]
    liked = sorted((card for card in priced if card.slug in _LIKED), key=lambda card: _LIKED.index(card.slug))
    cards = [*liked, *[card for card in priced if card not in liked]][: max(8, len(liked))]
    if not cards:
        raise ValueError("The catalogue has no model with a price; run `manage.py catalogue load` first.")
    baseline = catalogue.baseline(known)
    found = [_Model(card, whole_rates(card.rates), dumps(card.rates.as_json()).decode(), _long(card.rates)) for card in cards if card.rates]
    return found, whole_rates(baseline) if baseline and baseline.tier_threshold is None else None


def _long(rates: Rates) -> int:
    return rates.tier_threshold or 10**9


def _rows(people: Sequence[Person], rows: int, start: datetime, end: datetime, dice: random.Random) -> Iterator[Row]:
    """Yield rows by time: more by day than by night, on weekdays than on Sundays, and more towards the end."""
    models, baseline = _models()
    likes = [2.0 ** -(number / 1.5) for number in range(len(models))]
    hours = [start + number * _HOUR for number in range(max(1, -int(-((end - start) / _HOUR) // 1)))]
    busy = [_HOURS[at.hour] * _WEEK[at.weekday()] * (0.4 + 0.6 * number / len(hours)) for number, at in enumerate(hours)]
    scale, owed = rows / sum(busy), 0.0
    weights = [person.weight for person in people]
    purposes, purpose_weights = [name for name, _ in _PURPOSES], [weight for _, weight in _PURPOSES]
    left = rows
    for number, at in enumerate(hours):
        owed += busy[number] * scale
        count = left if number == len(hours) - 1 else min(left, int(owed))
        owed -= count
        left -= count
        length = min(3_600.0, (end - at).total_seconds())
        for second in sorted(dice.random() * length for _ in range(count)):
            person = dice.choices(people, weights)[0]
            purpose = dice.choices(purposes, purpose_weights)[0]
            model = dice.choices(models, likes)[0]
            yield _row(person, purpose, model, baseline, at + timedelta(seconds=second), dice)


def _row(person: Person, purpose: str, model: _Model, baseline: Any, at: datetime, dice: random.Random) -> Row:
    into, out = _SIZES[purpose]
    status = dice.choices([name for name, _ in _ENDS], [weight for _, weight in _ENDS])[0]
    if person.conversation_id is None or dice.random() < 0.2:
        person.conversation_id, person.turns = _uuid(at, dice), 0
    person.turns += 1
    talk = purpose in ("chat", "title")
    tokens_in = min(int(dice.lognormvariate(0, 0.7) * into) + (person.turns * 400 if purpose == "chat" else 0) + 8, model.long, 60_000)
    tokens_out = min(int(dice.lognormvariate(0, 0.8) * out) + 1, 16_000, model.card.max_output_tokens)
    cached = tokens_in // 2 if model.rates[1] < model.rates[0] and tokens_in > 2_000 and dice.random() < 0.35 else 0
    usage = [tokens_in, cached, 0, tokens_out, tokens_out // 3 if "reasoning" in model.card.capabilities else 0]
    ttft: int | None = int(model.card.ttft_ms * dice.lognormvariate(0, 0.4))
    latency = (ttft or 0) + int(1000 * tokens_out / max(1.0, model.card.tokens_per_second * dice.uniform(0.7, 1.2)))
    error = finish = ""
    if status == "failed":
        usage, ttft, error, latency = [0] * 5, None, dice.choice(_ERRORS), dice.randint(200, 20_000)
    else:
        finish = {"cancelled": "cancelled", "interrupted": "error"}.get(status) or ("length" if dice.random() < 0.02 else "stop")
    key_id = dice.choice(person.key_ids) if purpose == "api" and person.key_ids else None
    pinned = dice.random() < 0.4
    call = _uuid(at, dice)
    return (
        _uuid(at + timedelta(milliseconds=latency), dice), call, call, person.user_id, key_id,
        dice.choice(person.agent_ids) if purpose == "agent" and person.agent_ids else None, None,
        person.conversation_id if talk else None, None, purpose, dice.choice(_SURFACES[purpose]), REQUEST_ID, 1,
        model.card.slug if pinned else "auto", model.card.slug, model.card.provider, "" if pinned else "balanced", status, finish, error,
        *usage, _usd(pico(model.rates, usage)), None if baseline is None else _usd(pico(baseline, usage)), model.price,
        False, "", Decimal(0), latency, ttft, True, at,
    )  # fmt: skip


def _usd(amount: int) -> Decimal:
    return Decimal(amount).scaleb(-12)


def _uuid(at: datetime, dice: random.Random) -> UUID:
    """Return a UUID of version 7 with this time."""
    return UUID(int=(int(at.timestamp() * 1000) << 80) | (7 << 76) | (dice.getrandbits(12) << 64) | (2 << 62) | dice.getrandbits(62))


@transaction.atomic
def _write(rows: list[Row], start: datetime, now: datetime) -> Decimal:
    """Write the rows, their holds and the budgets' windows in one transaction; return the cost (USD)."""
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            # A budget that is created meanwhile either waits for these rows or is counted below.
            cursor.execute("LOCK TABLE billing_budgetwindow IN ROW EXCLUSIVE MODE")
    spent = _months(rows, start, now)
    _insert(rows)
    kept = now - timedelta(seconds=settings.HOLD_KEEP_SECONDS + 600)
    Hold.objects.bulk_create([_hold(row) for row in rows if row[_AT["created_at"]] > kept], batch_size=2_000)
    windows = BudgetWindow.objects.filter(pk__in=spent).select_related("budget")
    # In the ledger's locking order, which prevents deadlocks.
    for window in sorted(windows, key=lambda one: (budgets.RANKS[Budget.Scope(one.budget.scope)], one.pk)):
        if connection.vendor == "postgresql":
            BudgetWindow.objects.filter(pk=window.pk).update(spent_usd=F("spent_usd") + spent[window.pk])
        else:  # SQLite stores money as text, and has one writer at a time
            BudgetWindow.objects.filter(pk=window.pk).update(spent_usd=window.spent_usd + spent[window.pk])
    return sum((row[_AT["cost_usd"]] for row in rows), Decimal(0))


def _months(rows: list[Row], start: datetime, now: datetime) -> dict[int, Decimal]:
    """Return the rows' cost by window; create missing windows."""
    columns = {str(scope): _AT[column] for scope, column in budgets.COLUMNS.items()}
    ids = {row[index] for row in rows for index in columns.values()} - {None}
    if not Budget.objects.filter(scope=Budget.Scope.SYSTEM).exists():
        budgets.create(Budget.Scope.SYSTEM, None, settings.MONTHLY_COST_LIMIT)
    found = Budget.objects.filter(scope_id__in=ids) | Budget.objects.filter(scope=Budget.Scope.SYSTEM)
    months = _windows(found, start, now)
    sums: dict[int, int] = defaultdict(int)
    by_id = {(budget.scope, budget.scope_id): months[budget.pk] for budget in found}
    system = by_id[Budget.Scope.SYSTEM, None]
    for row in rows:
        amount, at = int(row[_AT["cost_usd"]].scaleb(12)), row[_AT["created_at"]]
        for mine in [system, *[by_id.get((scope, row[index])) for scope, index in columns.items() if row[index] is not None]]:
            if mine is not None and (place := bisect_right(mine[0], at) - 1) >= 0 and at < mine[1][place]:
                sums[mine[2][place]] += amount
    return {window: _usd(amount) for window, amount in sums.items() if amount}


def _windows(found: Iterable[Budget], start: datetime, now: datetime) -> dict[Any, tuple[list[datetime], list[datetime], list[int]]]:
    """Return each budget's windows from `start` to `now`: their starts, ends and ids."""
    rows = list(found)
    known: dict[Any, list[BudgetWindow]] = defaultdict(list)
    for window in BudgetWindow.objects.filter(budget__in=rows):
        known[window.budget_id].append(window)
    missing = []
    for budget in rows:
        at = start
        while at <= now:
            starts_at, ends_at = budgets.month(budget.time_zone, at)
            if not any(window.starts_at < ends_at and starts_at < window.ends_at for window in known[budget.pk]):
                missing.append(BudgetWindow(budget=budget, starts_at=starts_at, ends_at=ends_at))
            at = ends_at
    BudgetWindow.objects.bulk_create(missing, ignore_conflicts=True)
    months: dict[Any, tuple[list[datetime], list[datetime], list[int]]] = {budget.pk: ([], [], []) for budget in rows}
    for window in BudgetWindow.objects.filter(budget__in=rows).order_by("starts_at"):
        starts, ends, ids = months[window.budget_id]
        starts.append(window.starts_at)
        ends.append(window.ends_at)
        ids.append(window.pk)
    return months


def _insert(rows: list[Row]) -> None:
    if connection.vendor != "postgresql":
        price = _AT["price"]
        prices: dict[str, Any] = {}
        for row in rows:
            prices.setdefault(row[price], json.loads(row[price]))
        made = [UsageLog(**(dict(zip(COLUMNS, row, strict=True)) | {"price": prices[row[price]]})) for row in rows]
        UsageLog.objects.bulk_create(made, batch_size=500)
        return
    with connection.cursor() as cursor, cursor.copy(f"COPY billing_usagelog ({', '.join(COLUMNS)}) FROM STDIN") as copy:
        for row in rows:
            copy.write("\t".join("\\N" if value is None else str(value) for value in row) + "\n")


def _hold(row: Row) -> Hold:
    at = row[_AT["created_at"]]
    ended = at + timedelta(milliseconds=row[_AT["latency_ms"]])
    return Hold(
        id=row[_AT["call_id"]], status=Hold.Status.SETTLED, amount_usd=row[_AT["cost_usd"]], call={"request_id": REQUEST_ID}, created_at=at,
        heartbeat_at=ended, closed_at=ended,
    )  # fmt: skip


def _spent_by(key: ApiKey) -> Decimal:
    """Return the key's spending (USD) this month, before it has a budget."""
    first = budgets.month(settings.BUDGET_TIME_ZONE, datetime.now(UTC))[0]
    return sum(UsageLog.objects.filter(api_key_id=key.pk, created_at__gte=first).values_list("cost_usd", flat=True), Decimal(0))
