"""Send the e-mails of `AccountMail`: links to set a password, and notices of a changed e-mail address."""

from __future__ import annotations

import smtplib
from datetime import timedelta
from logging import getLogger
from uuid import UUID

from django.conf import settings
from django.core.mail import EmailMultiAlternatives
from django.db.models import F
from django.utils import timezone

from accounts.models import AccountMail
from accounts.sign_in import password_links
from aiagents.core import mailing

logger = getLogger(__name__)
Kind, State = AccountMail.Kind, AccountMail.State
# The most attempts to send a mail. The waits between them are 1, 2, 4, … minutes.
MOST_ATTEMPTS = 8
# How long an attempt may take. After that another worker may try again.
LEASE = timedelta(minutes=5)
# The rows contain former e-mail addresses, so they are deleted after this time.
KEEP = timedelta(days=30)
SUBJECTS = {
    Kind.PASSWORD_LINK: "Set a new password",
    Kind.WELCOME: "Your account is ready: choose a password",
    Kind.EMAIL_CHANGED: "The e-mail address of your account was changed",
}


def due(most: int = 500) -> list[UUID]:
    """Return the ids of the mails that are due now, for a first or a later attempt."""
    rows = AccountMail.objects.filter(state=State.DUE, due_at__lte=timezone.now()).order_by("due_at")
    return list(rows.values_list("pk", flat=True)[:most])


def send(mail_id: UUID) -> bool:
    """Send the mail if it is due and no other process is sending it; return whether it was sent.

    A failed mail is due again later, up to MOST_ATTEMPTS times. Neither the row nor the queue contains the link.
    """
    now = timezone.now()
    mine = AccountMail.objects.filter(pk=mail_id, state=State.DUE, due_at__lte=now)
    if not mine.update(due_at=now + LEASE, attempts=F("attempts") + 1):
        return False
    mail = AccountMail.objects.select_related("user").get(pk=mail_id)
    if mail.kind != Kind.EMAIL_CHANGED and not mail.user.is_active:
        AccountMail.objects.filter(pk=mail_id).update(state=State.DROPPED)
        return False
    try:
        message(mail).send()
    except (smtplib.SMTPException, OSError) as exc:
        last = mail.attempts >= MOST_ATTEMPTS
        later = timezone.now() + timedelta(minutes=2 ** (mail.attempts - 1))
        AccountMail.objects.filter(pk=mail_id).update(state=State.FAILED if last else State.DUE, due_at=later)
        logger.warning("account_mail_failed", extra={"mail_id": str(mail_id), "reason": type(exc).__name__, "last": last})
        return False
    AccountMail.objects.filter(pk=mail_id).update(state=State.SENT)
    return True


def message(mail: AccountMail) -> EmailMultiAlternatives:
    """Return the e-mail as text and as HTML. Each call creates a new link, if the mail contains one."""
    facts: dict[str, str | int] = {
        "kind": mail.kind,
        "email": mail.user.email,
        "site": settings.SITE_URL,
        "link": "" if mail.kind == Kind.EMAIL_CHANGED else password_links.link(mail.user),
        "minutes": settings.PASSWORD_RESET_TIMEOUT // 60,
    }
    return mailing.compose(SUBJECTS[Kind(mail.kind)], "accounts/mail", facts, to=mail.to or mail.user.email)


def prune() -> int:
    """Delete the rows that are no longer needed; return how many."""
    old = AccountMail.objects.exclude(state=State.DUE).filter(created_at__lt=timezone.now() - KEEP)
    return old.delete()[0]
