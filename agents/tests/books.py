"""What must be true of the books after any call."""

from __future__ import annotations

from decimal import Decimal

from django.db.models import Sum

from billing.models import BudgetWindow, Hold, UsageLog


def exact() -> None:
    """Enforced = reported = the sum of the log, and nothing is held."""
    logged = UsageLog.objects.aggregate(total=Sum("cost_usd"))["total"] or Decimal(0)
    assert not Hold.objects.filter(status="open").exists()
    assert UsageLog.objects.count() == Hold.objects.count()
    for window in BudgetWindow.objects.filter(budget__scope__in=("system", "user")):
        assert (window.spent_usd, window.held_usd) == (logged, 0)
