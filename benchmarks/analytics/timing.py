"""The time of each report, in a process with an installation's settings: `python -m benchmarks.analytics.timing` prints JSON."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from typing import Any

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "aiagents.settings")

import django

django.setup()

from django.db.models import Count  # noqa: E402 - after django.setup()
from django.utils import timezone  # noqa: E402 - after django.setup()

from accounts.models import User  # noqa: E402 - after django.setup()
from benchmarks.client.load import percentile  # noqa: E402 - after django.setup()
from billing.models import UsageLog  # noqa: E402 - after django.setup()
from billing.reports import own_usage as reports_of_user  # noqa: E402 - after django.setup()
from billing.reports import staff as analytics  # noqa: E402 - after django.setup()


def reports() -> dict[str, Any]:
    """Milliseconds of each report over the last year: of the first run in this process, and the median of five more."""
    to = timezone.now()
    year, month = (to - timedelta(days=365), to), (to - timedelta(days=30), to)
    busiest = UsageLog.objects.values("user_id").annotate(calls=Count("pk")).order_by("-calls").first()
    assert busiest is not None
    mine = UsageLog.objects.filter(user_id=busiest["user_id"])
    user = User.objects.get(pk=busiest["user_id"])
    work: dict[str, Callable[[], Any]] = {
        "overview": analytics.overview,
        "usage of a year by model": partial(analytics.usage, *year, "model"),
        "usage of a year by user": partial(analytics.usage, *year, "user"),
        "usage of a month by purpose": partial(analytics.usage, *month, "purpose"),
        "cost optimisation, a year": partial(analytics.cost_optimization, *year),
        "model performance, a year": partial(analytics.model_performance, *year),
        "user activity, a year": partial(analytics.user_activity, *year),
        f"a user's month (of {busiest['calls']:,} calls)": partial(reports_of_user.month_of, user),
        "that user's usage, first page": lambda: list(mine.order_by("-created_at")[:26]),
    }
    found = {}
    for name, report in work.items():
        times = []
        for _ in range(6):
            began = time.perf_counter()
            report()
            times.append((time.perf_counter() - began) * 1000)
        found[name] = {"cold_ms": times[0], "warm_ms": percentile(times[1:], 50)}
    return found


if __name__ == "__main__":
    print(json.dumps(reports()))
