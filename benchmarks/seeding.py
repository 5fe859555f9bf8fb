"""Rows for the benchmarks, written straight into the installation's database: `python -m benchmarks.seeding people 100`.

Runs in the installation's environment (benchmarks/harness/installation.py) and prints one line of JSON. It runs from the
installation's own checkout, so its name and arguments must stay the same for `benchmarks.gateway --against` an older one.
"""

from __future__ import annotations

import json
import os
import secrets
import sys
import time
from typing import Any

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "aiagents.settings")

import django

django.setup()

from django.conf import settings  # noqa: E402 - after django.setup()
from django.contrib.auth.hashers import check_password, make_password  # noqa: E402 - after django.setup()
from django.db import connection  # noqa: E402 - after django.setup()
from django.utils import timezone  # noqa: E402 - after django.setup()

from accounts import keys, principals  # noqa: E402 - after django.setup()
from accounts.models import ApiKey, User  # noqa: E402 - after django.setup()
from aiagents.core.ids import uuid7  # noqa: E402 - after django.setup()
from billing.budgets.budgets import month  # noqa: E402 - after django.setup()
from billing.models import Budget, BudgetWindow  # noqa: E402 - after django.setup()
from chat.models import Conversation, Message  # noqa: E402 - after django.setup()
from tasks import service as task_service  # noqa: E402 - after django.setup()
from tasks.schedule import Kind, Plan  # noqa: E402 - after django.setup()


def people(count: int) -> list[str]:
    """Create users, each with a key, a budget and this month's window. Returns the raw keys."""
    now, zone = timezone.now(), settings.BUDGET_TIME_ZONE
    made = [User(email=f"bench-{secrets.token_hex(8)}@example.com", password="!") for _ in range(count)]
    raws = [keys.PREFIX + secrets.token_urlsafe(32) for _ in made]
    held = [
        ApiKey(user=user, name="bench", prefix=raw[:12], digest=keys.digest(raw), scopes=["billing", "chat", "read"])
        for user, raw in zip(made, raws, strict=True)
    ]
    budgets = [
        Budget(scope=Budget.Scope.USER, scope_id=user.id, limit_usd=settings.NEW_USER_MONTHLY_LIMIT, time_zone=zone) for user in made
    ]
    starts_at, ends_at = month(zone, now)
    windows = [BudgetWindow(budget=budget, starts_at=starts_at, ends_at=ends_at) for budget in budgets]
    for model, rows in ((User, made), (ApiKey, held), (Budget, budgets), (BudgetWindow, windows)):
        model.objects.bulk_create(rows, batch_size=2000)
    _analyze("accounts_user", "accounts_apikey", "billing_budget", "billing_budgetwindow")
    return raws


def _analyze(*tables: str) -> None:
    """Analyze the tables, as autovacuum would within a minute; otherwise plans for almost empty tables remain."""
    with connection.cursor() as cursor:
        for table in tables:
            cursor.execute(f"ANALYZE {table}")


def conversations(raw: str, count: int, messages: int) -> list[str]:
    """Create `count` conversations of the key's user, each with a number of messages."""
    user = ApiKey.objects.get(digest=keys.digest(raw)).user
    made = [Conversation(user=user, title=f"Bench {number}") for number in range(count)]
    Conversation.objects.bulk_create(made, batch_size=1000)
    rows: list[Message] = []
    for one in made:
        above: Message | None = None
        for number in range(messages):
            role = Message.Role.ASSISTANT if number % 2 else Message.Role.USER
            text = f"{number}: rivers carry what bridges cross, and both need somebody who keeps them. " * 3
            above = Message(id=uuid7(), conversation=one, parent=above, role=role, content=text)
            if role == Message.Role.ASSISTANT:
                above.model, above.provider, above.ended_at = "gpt-4o-mini", "openai", timezone.now()
            rows.append(above)
        one.leaf = above
    Message.objects.bulk_create(rows, batch_size=1000)
    Conversation.objects.bulk_update(made, ["leaf"], batch_size=500)
    _analyze("chat_conversation", "chat_message")
    return [str(one.id) for one in made]


def passwords(count: int, password: str) -> dict[str, Any]:
    """Create users with this password (one hash for all); also measure the cost of one hash."""
    hashed, began = make_password(password), time.process_time()
    for _ in range(3):
        check_password(password, hashed)
    cost = (time.process_time() - began) / 3
    made = [User(email=f"bench-{secrets.token_hex(8)}@example.com", password=hashed) for _ in range(count)]
    User.objects.bulk_create(made)
    return {"emails": [user.email for user in made], "hash_ms": cost * 1000}


def tasks(count: int) -> dict[str, Any]:
    """Create tasks that run once, at once, ten for each user, by the function that the API calls."""
    users = [ApiKey.objects.get(digest=keys.digest(raw)).user for raw in people(-(-count // 10))]
    began = time.perf_counter()
    for number in range(count):
        user = users[number % len(users)]
        values = {"name": f"Bench {number}", "input": "Say something short about rivers.", "model": "gpt-4o-mini"}
        task_service.create(principals.of_account(user), values, Plan(Kind.NOW), paused=False, request_id=f"bench-{number:010d}")
    return {"per_second": count / (time.perf_counter() - began)}


def usage(raw: str, count: int) -> int:
    """Copy the first usage row of the key's user `count` times over the last 90 days; every hundredth copy keeps that user."""
    user = ApiKey.objects.get(digest=keys.digest(raw)).user_id
    with connection.cursor() as cursor:
        cursor.execute(_USAGE, {"user": user, "count": count})
    _analyze("billing_usagelog")
    return count


# Ids are UUIDs of version 7, like those of the product: ordered by time.
_USAGE = """
INSERT INTO billing_usagelog
SELECT made.* FROM (SELECT to_jsonb(u) AS row FROM billing_usagelog u WHERE u.user_id = %(user)s ORDER BY u.created_at LIMIT 1) first,
    generate_series(1, %(count)s) AS n,
    LATERAL (SELECT now() - interval '90 days' * (n::float / %(count)s) AS moment) m,
    LATERAL (SELECT (lpad(to_hex((extract(epoch FROM m.moment) * 1000)::bigint), 12, '0')
        || '7' || substr(md5(random()::text || n), 1, 19)) AS id) i,
    LATERAL jsonb_populate_record(NULL::billing_usagelog, first.row || jsonb_build_object(
        'id', i.id, 'call_id', i.id, 'created_at', m.moment,
        'user_id', CASE WHEN n %% 100 = 0 THEN %(user)s::text ELSE md5((n %% 1000)::text) END,
        'model', (ARRAY['gpt-4o-mini', 'gpt-4o', 'claude-sonnet-4-5', 'gemini-2.5-flash'])[1 + n %% 4])) made
"""


def main(arguments: list[str]) -> Any:
    match arguments:
        case ["people", count]:
            return people(int(count))
        case ["conversations", raw, count, messages]:
            return conversations(raw, int(count), int(messages))
        case ["passwords", count, password]:
            return passwords(int(count), password)
        case ["usage", raw, count]:
            return usage(raw, int(count))
        case ["tasks", count]:
            return tasks(int(count))
    raise SystemExit(f"unknown: {arguments}")


if __name__ == "__main__":
    print(json.dumps(main(sys.argv[1:])))
