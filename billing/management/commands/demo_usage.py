"""`manage.py demo_usage --rows 1000000 --days 365`: made-up usage, to try and to measure with."""

from __future__ import annotations

import time
from argparse import ArgumentParser
from decimal import ROUND_UP, Decimal
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from aiagents.core.ids import uuid7
from billing import demo
from billing.budgets import budgets
from billing.models import Budget, BudgetWindow


class Command(BaseCommand):
    help = (
        "Write made-up usage, marked as simulated, of made-up users who cannot sign in. Budgets and rollups stay true. Not for production."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--rows", type=int, default=100_000)
        parser.add_argument("--days", type=int, default=90)
        parser.add_argument("--users", type=int, default=50)
        parser.add_argument("--seed", type=int, default=1)
        parser.add_argument("--force", action="store_true", help="in production, or into a system budget with a limit, too")

    def handle(self, *args: Any, rows: int, days: int, users: int, seed: int, force: bool, **options: Any) -> None:
        if min(rows, days, users) < 1:
            raise CommandError("rows, days and users are at least 1")
        if settings.ENVIRONMENT == "production" and not force:
            raise CommandError("This writes made-up usage into the books; not in production (--force does it all the same).")
        limit = Budget.objects.filter(scope=Budget.Scope.SYSTEM).values_list("limit_usd", flat=True).first() or settings.MONTHLY_COST_LIMIT
        if limit is not None and not force:
            raise CommandError(
                f"The system's budget has a limit (${limit}), which made-up usage would use up (--force does it all the same)."
            )
        begun = time.perf_counter()
        people = [
            # A few use much, many little.
            demo.Person(user.pk, 1 / (number + 1) ** 0.7, [uuid7() for _ in range(2)] if number % 3 == 0 else (), [uuid7()])
            for number, user in enumerate(demo.colleagues(users))
        ]
        cost = demo.make(people, rows, days, seed=seed)
        for person in people:
            windows = BudgetWindow.objects.filter(budget__scope=Budget.Scope.USER, budget__scope_id=person.user_id)
            most = max((window.spent_usd for window in windows), default=Decimal(0))
            budgets.set_limit(Budget.Scope.USER, person.user_id, (most * Decimal("1.25") + 1).quantize(Decimal(1), ROUND_UP))
        seconds = time.perf_counter() - begun
        self.stdout.write(f"{rows:,} rows over {days} days, ${cost:,.2f}, in {seconds:.0f} s")
