"""Beat's scheduler, which reads its schedule from the database and survives an outage of it."""

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
    """django_celery_beat's scheduler ends the process if the database is unreachable while it reloads the schedule."""

    def all_as_schedule(self) -> dict[str, Any]:
        """The schedule. While the database is unreachable it is the last known one, and the next tick tries again."""
        while True:
            try:
                return super().all_as_schedule()
            except (DatabaseError, InterfaceError) as exc:
                log.warning("schedule_not_read", extra={"reason": type(exc).__name__})
                if self._schedule:
                    self._last_full_sync = datetime.datetime.min
                    return self._schedule
                time.sleep(AGAIN_SECONDS)
