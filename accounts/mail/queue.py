"""Tell a worker that an e-mail waits. The row is the truth: a message that is lost costs a minute, until the next sweep."""

from __future__ import annotations

import logging
from uuid import UUID

from celery import current_app

logger = logging.getLogger(__name__)
# By its name: the task imports the models, which import this module.
SEND = "accounts.tasks.send_mail"


def wake(mail_id: UUID) -> None:
    """Ask for the mail to be sent now. A broker that is away is only logged."""
    try:
        current_app.send_task(SEND, [str(mail_id)], retry=False, expires=240)
    except Exception:  # whatever Celery's transport raises while the broker is away: the sweep sends the mail
        logger.warning("account_mail_not_announced", extra={"mail_id": str(mail_id)}, exc_info=True)
