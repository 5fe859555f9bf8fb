"""Beat's scheduler, which reads its schedule from the database and survives an outage of it."""

from __future__ import annotations

import datetime
import logging
import time
from typing import Any

from django.db import DatabaseError, InterfaceError
from django_celery_beat.schedulers import SCHEDULE_SYNC_MAX_INTERVAL, DatabaseScheduler

log = logging.getLogger(__name__)
AGAIN_SECONDS = 1.0


class Scheduler(DatabaseScheduler):
    """django_celery_beat's scheduler ends the process if the database is unreachable while it reloads the schedule."""

    def all_as_schedule(self) -> dict[str, Any]:
        """The schedule. While the database is unreachable it is the last known one, and it is tried again after AGAIN_SECONDS."""
        while True:
            try:
                return super().all_as_schedule()
            except (DatabaseError, InterfaceError) as exc:
                log.warning("schedule_not_read", extra={"reason": type(exc).__name__})
                if self._schedule:
                    # Not at every look at the schedule: each reading empties the heap, and beat would never rest.
                    waited = datetime.timedelta(seconds=SCHEDULE_SYNC_MAX_INTERVAL - AGAIN_SECONDS)
                    self._last_full_sync = datetime.datetime.now() - waited  # naive, as django_celery_beat compares it
                    return self._schedule
                time.sleep(AGAIN_SECONDS)
