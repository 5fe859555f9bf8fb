"""Messages to the workers. They only wake a worker: the row is the truth, and beat sends lost messages again."""

from __future__ import annotations

import logging
import time
from uuid import UUID

from celery import current_app
from django.db import transaction

logger = logging.getLogger(__name__)
# Seconds. A broker that hangs (one that is gone fails at once) delays one caller; the others leave it out for a while.
SLOW, AWAY = 1.0, 5.0
_ask_again_at = 0.0
RUN, DELIVER = "tasks.tasks.run_task", "tasks.tasks.deliver_webhook"


def send(run_id: UUID) -> None:
    """Send the run to a worker after the commit of the present transaction."""
    transaction.on_commit(lambda: _publish(RUN, run_id))


def send_delivery(delivery_id: UUID) -> None:
    transaction.on_commit(lambda: _publish(DELIVER, delivery_id))


def _publish(name: str, id: UUID) -> None:
    global _ask_again_at
    begun = time.monotonic()
    if begun < _ask_again_at:
        return
    try:
        current_app.send_task(name, args=[str(id)])
    except Exception:  # whatever Celery's transport raises while the broker is away
        logger.warning("message_not_sent", extra={"task_name": name, "row_id": str(id)}, exc_info=True)
        if time.monotonic() - begun > SLOW:
            _ask_again_at = time.monotonic() + AWAY
