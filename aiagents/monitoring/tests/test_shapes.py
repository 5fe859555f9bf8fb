"""What monitoring answers has the keys and types that its TypedDicts say."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.utils import timezone

from aiagents.core.metrics import counters, counting
from aiagents.monitoring import live, shapes, sharing, sources, system
from aiagents.monitoring.models import SystemMetric
from tests.kit import catalogue as installed_catalogue
from tests.kit.shapes import wrong

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize("span", SystemMetric.Span.values)
def test_the_metrics_over_time(span: str):
    now = timezone.now()
    SystemMetric.objects.create(at=now - timedelta(hours=2), span=span)
    SystemMetric.objects.create(at=now - timedelta(hours=1), span=span, requests=3, latency=[3], **measured())
    found = system.history(now - timedelta(days=1), now)
    assert len(found["points"]) == 2 and not list(wrong(found, shapes.Metrics))


def measured() -> dict[str, Any]:
    return {name: value for name, value in system.measured().items() if name in system.MEANS}


def test_the_figures_of_a_process_and_of_all():
    publisher = sharing.Publisher("web")
    figures = publisher._figures(counting.totals(), counters.gauge_values())
    assert not list(wrong(figures, shapes.ProcessFigures))
    assert not list(wrong(sharing.added([figures, figures]), shapes.Figures))
    assert not list(wrong(sharing.added([]), shapes.Figures))
    assert not list(wrong(async_to_sync(live.shared_figures)(), shapes.SharedFigures))


def test_the_figures_of_the_apps():
    installed_catalogue.load()
    vendors = async_to_sync(sources.vendors)()
    assert vendors and not list(wrong(list(vendors.values()), list[shapes.Vendor]))
    assert not list(wrong(async_to_sync(sources.holds)(), shapes.OpenHolds))
    assert not list(wrong(async_to_sync(sources.today)(), shapes.Today))
