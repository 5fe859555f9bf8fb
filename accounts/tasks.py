"""Celery tasks of accounts: housekeeping and e-mails. Beat starts the sweeps."""

from __future__ import annotations

from datetime import timedelta
from uuid import UUID

from celery import shared_task
from django.db.models import Q
from django.db.models.functions import Now

from accounts.mail import send
from accounts.models import TokenFamily

# How long ended sessions stay: the sign-in limit and staff need the addresses that an account signed in from.
KEEP = timedelta(days=30)
BATCH = 5_000


@shared_task
def sweep_sessions() -> int:
    """Delete sessions that ended more than 30 days ago, in short transactions; return how many."""
    old, total = Now() - KEEP, 0
    while True:
        ids = TokenFamily.objects.filter(Q(expires_at__lt=old) | Q(revoked_at__lt=old)).values_list("pk", flat=True)[:BATCH]
        deleted, _ = TokenFamily.objects.filter(pk__in=list(ids)).delete()
        total += deleted
        if not deleted:
            return total


@shared_task
def sweep_mails() -> int:
    """Queue the e-mails that are due, also those that failed before; return how many."""
    found = send.due()
    for mail_id in found:
        send_mail.delay(str(mail_id))
    send.prune()
    return len(found)


@shared_task(expires=240)
def send_mail(mail_id: str) -> bool:
    """Send one e-mail about an account; return whether it was sent. A redelivered task finds nothing due."""
    return send.send(UUID(mail_id))
