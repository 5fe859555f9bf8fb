"""Beat's schedule from the database, by a process that outlives an outage of the database."""

from __future__ import annotations

import datetime
import logging
import time
from typing import Any

from django.db import DatabaseError, InterfaceError
from django_celery_beat.schedulers import DatabaseScheduler

log = logging.getLogger(__name__)
AGAIN_SECONDS = 1.0


class Scheduler(DatabaseScheduler):
    """django_celery_beat's ends the whole process when the database is away in the moment in which it reads the schedule anew."""

    def all_as_schedule(self) -> dict[str, Any]:
        """The schedule; while the database is away the one that is known, and it is read again at the next tick."""
        while True:
            try:
                return super().all_as_schedule()
            except (DatabaseError, InterfaceError) as exc:
                log.warning("schedule_not_read", extra={"reason": type(exc).__name__})
                if self._schedule:
                    self._last_full_sync = datetime.datetime.min
                    return self._schedule
                time.sleep(AGAIN_SECONDS)
