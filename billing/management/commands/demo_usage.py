"""`manage.py demo_usage --rows 1000000 --days 365`: demo usage for trials and measurements."""

from __future__ import annotations

import time
from argparse import ArgumentParser
from decimal import ROUND_UP, Decimal
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from aiagents.core.ids import uuid7
from billing.budgets import budgets
from billing.demo import service as demo
from billing.models import Budget, BudgetWindow


class Command(BaseCommand):
    help = "Write demo usage, marked as simulated, of demo users who cannot sign in. Updates budgets and rollups. Not for production."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--rows", type=int, default=100_000)
        parser.add_argument("--days", type=int, default=90)
        parser.add_argument("--users", type=int, default=50)
        parser.add_argument("--seed", type=int, default=1)
        parser.add_argument("--force", action="store_true", help="in production, or into a system budget with a limit, too")

    def handle(self, *args: Any, rows: int, days: int, users: int, seed: int, force: bool, **options: Any) -> None:
        if min(rows, days, users) < 1:
            raise CommandError("--rows, --days and --users must be at least 1")
        if settings.ENVIRONMENT == "production" and not force:
            raise CommandError("This writes demo usage into the usage log, which production must not contain (--force overrides this).")
        limit = Budget.objects.filter(scope=Budget.Scope.SYSTEM).values_list("limit_usd", flat=True).first() or settings.MONTHLY_COST_LIMIT
        if limit is not None and not force:
            raise CommandError(f"The system's budget has a limit (${limit}), which demo usage would use up (--force overrides this).")
        begun = time.perf_counter()
        people = [
            # A few users use much, many use little.
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
