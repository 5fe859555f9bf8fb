"""Queue the task that sends an e-mail. If the message is lost, the next sweep finds the row within a minute."""

from __future__ import annotations

import logging
from uuid import UUID

from celery import current_app

logger = logging.getLogger(__name__)
# The task's name, because the task imports the models, which import this module.
SEND = "accounts.tasks.send_mail"


def wake(mail_id: UUID) -> None:
    """Queue the task that sends the e-mail now. An unreachable broker is only logged."""
    try:
        current_app.send_task(SEND, [str(mail_id)], retry=False, expires=240)
    except Exception:  # Celery's transports raise various errors while the broker is unreachable; the sweep sends the mail
        logger.warning("account_mail_not_announced", extra={"mail_id": str(mail_id)}, exc_info=True)
