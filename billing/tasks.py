"""What beat asks of billing."""

from __future__ import annotations

import logging
from datetime import timedelta
from uuid import UUID

from celery import shared_task
from django.conf import settings

from billing.budgets import alerts, budgets
from billing.catalogue import price_list, update
from billing.ledger import service as ledger
from billing.models import Hold
from billing.reports import rollups

logger = logging.getLogger(__name__)
_PAGE = 5000


@shared_task
def sweep_holds() -> int:
    """Charge and close the holds of processes that died."""
    return ledger.sweep()


@shared_task
def update_catalogue() -> int:
    """Bring models and prices up to the installed price list. A list that looks wrong changes nothing and is said loudly."""
    try:
        diff = update.update(price_list.installed())
    except update.Refused as exc:
        logger.error("catalogue_update_refused", extra={"reasons": exc.diff.refused})
        return 0
    if diff:
        logger.info("catalogue_updated", extra={"changes": diff.lines})
    return len(diff.lines)


@shared_task
def prune_holds() -> int:
    """Delete closed holds that nobody can come back to; what they cost stands in the usage log."""
    before = budgets.database_now() - timedelta(seconds=settings.HOLD_KEEP_SECONDS)
    if (checked_at := rollups.state_now().checked_at) is not None:
        before = min(before, checked_at - rollups.MARGIN)  # closed holds tell the rollups where late rows belong
    old = Hold.objects.exclude(status=Hold.Status.OPEN).filter(closed_at__lt=before).order_by("closed_at")
    pruned = 0
    # In small transactions: a settlement must never wait for a million deletions.
    while page := list(old.values_list("pk", flat=True)[:_PAGE]):
        pruned += Hold.objects.filter(pk__in=page).delete()[0]
    return pruned


@shared_task
def sweep_rollups() -> int:
    """Add up the hours that ended, and those that got late rows."""
    return rollups.catch_up()


@shared_task
def verify_rollups() -> int:
    """Compare all rollups with the usage log; what differs is said loudly and made anew. How many buckets did."""
    found = list(rollups.differences())
    for at in sorted({rollups.floor_day(one.starts_at) for one in found}):
        logger.error(
            "rollups_differ",
            extra={"day": at.date().isoformat(), "what": next(str(one) for one in found if rollups.floor_day(one.starts_at) == at)},
        )
        rollups.rebuild(at, at + rollups.DAY)
    rollups.prune()
    return len(found)


@shared_task
def sweep_alerts() -> int:
    """Raise the alerts of budgets that came near their limits, and send the e-mails that are due, earlier failures included."""
    raised = alerts.raise_due()
    for alert_id in alerts.due_mails():
        send_alert.delay(str(alert_id))
    return len(raised)


@shared_task(expires=240)
def send_alert(alert_id: str) -> bool:
    """Send one alert's e-mail. A failure is tried again by a later sweep, with growing pauses; a repeated message finds nothing due."""
    return alerts.send(UUID(alert_id))
