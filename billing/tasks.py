"""Celery tasks of billing. Beat starts them."""

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
    """Charge and close the holds of processes that died; return how many."""
    return ledger.sweep()


@shared_task
def update_catalogue() -> int:
    """Update models and prices from the installed price list; return how many lines changed.

    A list that looks wrong changes nothing and is logged as an error.
    """
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
    """Delete closed holds past their retention; return how many. The usage log contains their costs."""
    before = budgets.database_now() - timedelta(seconds=settings.HOLD_KEEP_SECONDS)
    if (checked_at := rollups.state_now().checked_at) is not None:
        before = min(before, checked_at - rollups.MARGIN)  # the rollups find late rows by their closed holds
    old = Hold.objects.exclude(status=Hold.Status.OPEN).filter(closed_at__lt=before).order_by("closed_at")
    pruned = 0
    # Small transactions: a settlement must not wait for a million deletions.
    while page := list(old.values_list("pk", flat=True)[:_PAGE]):
        pruned += Hold.objects.filter(pk__in=page).delete()[0]
    return pruned


@shared_task
def sweep_rollups() -> int:
    """Roll up the hours that ended and those with late rows; return how many."""
    return rollups.catch_up()


@shared_task
def verify_rollups() -> int:
    """Compare all rollups with the usage log; return how many buckets differ.

    A day that differs is logged as an error and computed again.
    """
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
    """Create the alerts of budgets near their limits, and send the e-mails that are due; return how many alerts."""
    raised = alerts.raise_due()
    for alert_id in alerts.due_mails():
        send_alert.delay(str(alert_id))
    return len(raised)


@shared_task(expires=240)
def send_alert(alert_id: str) -> bool:
    """Send one alert's e-mail; return whether it was sent.

    A later sweep retries a failure, with growing waits. A redelivered task finds nothing due.
    """
    return alerts.send(UUID(alert_id))
