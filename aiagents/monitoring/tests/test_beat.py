"""Beat while its database is away."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import OperationalError
from django_celery_beat.schedulers import DatabaseScheduler

from aiagents.beat import Scheduler
from aiagents.celery import app

pytestmark = pytest.mark.django_db


def test_the_schedule_is_not_read_at_every_look_while_the_database_is_away(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each reading empties the heap of what is due; beat then worked without a pause and never slept."""
    scheduler: Any = Scheduler(app, lazy=True)
    monkeypatch.setattr(scheduler, "sync", lambda: None)
    assert scheduler.schedule == {}  # the first reading
    scheduler._schedule = {"one": object()}
    reads = []

    def away(self: Any) -> Any:
        reads.append(1)
        raise OperationalError

    monkeypatch.setattr(DatabaseScheduler, "all_as_schedule", away)
    monkeypatch.setattr(scheduler, "schedule_changed", lambda: False)
    scheduler._last_full_sync = scheduler._last_full_sync.min
    known = scheduler.schedule
    for _ in range(100):
        assert scheduler.schedule is known
    assert len(reads) == 1
