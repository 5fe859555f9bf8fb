"""Alerts that a budget is nearly used up: in the product, and by e-mail.

Beat checks the budgets near their limits once a minute, so no call waits for it. A unique constraint allows one alert
per month, threshold and user. The row is also the outbox of its e-mail, so two workers create and send one of each.
"""

from __future__ import annotations

import logging
import smtplib
from collections.abc import Iterable
from datetime import timedelta
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

from django.conf import settings
from django.core.mail import EmailMultiAlternatives
from django.db.models import F
from django.utils import timezone

from accounts.models import User
from aiagents.core import mailing
from aiagents.core.live import news
from billing.budgets import near_limit, subjects
from billing.models import AlertSettings, Budget, BudgetAlert, BudgetWindow

logger = logging.getLogger(__name__)
Mail = BudgetAlert.Mail
# The most attempts to send an e-mail. The waits between them are 1, 2, 4, … minutes.
MOST_ATTEMPTS = 8
# How long an attempt may take. After that another worker may try again.
LEASE = timedelta(minutes=5)


def raise_due() -> list[BudgetAlert]:
    """Create the alerts that are due and return them.

    When a budget passes several thresholds at once, only the highest one is mailed.
    """
    windows = near_limit.windows(_lowest())
    raised_before = set(BudgetAlert.objects.filter(window__in=windows).values_list("window_id", "threshold", "user_id"))
    recipients = _recipients(windows)
    preferences = AlertSettings.objects.in_bulk([user_id for ids in recipients.values() for user_id in ids])
    names = near_limit.names_of([window.budget for window in windows])
    raised = []
    for window in windows:
        for user_id in recipients[window.pk]:
            preference = preferences.get(user_id) or AlertSettings(user_id=user_id)
            # Lowest first, so that the newest alert has the highest threshold.
            for threshold in reversed(_passed(window, preference)):
                if (window.pk, threshold, user_id) not in raised_before and (
                    alert := _create(window, threshold, preference, names[window.budget.pk])
                ):
                    raised.append(alert)
    if raised:
        logger.info("budget_alerts", extra={"count": len(raised)})
    return raised


def due_mails(most: int = 500) -> list[UUID]:
    """Return the ids of alerts whose e-mail is due now, for a first or a later attempt."""
    due = BudgetAlert.objects.filter(mail=Mail.DUE, mail_due_at__lte=timezone.now()).order_by("mail_due_at")
    return list(due.values_list("pk", flat=True)[:most])


def send(alert_id: UUID) -> bool:
    """Send an alert's e-mail if it is due and no other worker is sending it; return whether the attempt succeeded.

    A failed e-mail is due again later, up to MOST_ATTEMPTS times. If the process dies after the mail server accepted
    the e-mail and before the row records it, the e-mail is sent twice.
    """
    now = timezone.now()
    mine = BudgetAlert.objects.filter(pk=alert_id, mail=Mail.DUE, mail_due_at__lte=now)
    if not mine.update(mail_due_at=now + LEASE, mail_attempts=F("mail_attempts") + 1):
        return False
    alert = BudgetAlert.objects.select_related("user", "window__budget").get(pk=alert_id)
    try:
        if alert.user.is_active:
            message(alert).send()
    except (smtplib.SMTPException, OSError) as exc:
        last = alert.mail_attempts >= MOST_ATTEMPTS
        later = timezone.now() + timedelta(minutes=2 ** (alert.mail_attempts - 1))
        BudgetAlert.objects.filter(pk=alert_id).update(mail=Mail.FAILED if last else Mail.DUE, mail_due_at=later)
        logger.warning("alert_mail_failed", extra={"alert_id": str(alert_id), "reason": type(exc).__name__, "last": last})
        return False
    sent = {"mail": Mail.SENT, "mailed_at": timezone.now()} if alert.user.is_active else {"mail": Mail.NONE}
    BudgetAlert.objects.filter(pk=alert_id).update(**sent)
    return True


def message(alert: BudgetAlert) -> EmailMultiAlternatives:
    """Return the e-mail, as text and as HTML with every name escaped."""
    budget = alert.window.budget
    zone = ZoneInfo(budget.time_zone)
    facts: dict[str, Any] = {
        "what": what(budget, alert),
        "threshold": alert.threshold,
        "spent": f"${alert.spent_usd:,.2f}",
        "limit": f"${alert.limit_usd:,.2f}",
        "month": f"{alert.window.starts_at.astimezone(zone):%B %Y}",
        "ends": f"{alert.window.ends_at.astimezone(zone):%d %B %Y}",
        "used_up": alert.threshold >= 100,
        "site": settings.SITE_URL,
    }
    title = f"{alert.threshold} % of {facts['what']} used"
    return mailing.compose(title, "billing/alert", facts, to=alert.user.email)


def what(budget: Budget, alert: BudgetAlert) -> str:
    """Return a description of the budget, on one line."""
    if budget.scope == Budget.Scope.USER:
        return "your monthly budget" if budget.scope_id == alert.user_id else _line(f"the monthly budget of {alert.subject}")
    if budget.scope == Budget.Scope.SYSTEM:
        return "the system's monthly budget"
    thing = "API key" if budget.scope == Budget.Scope.KEY else budget.scope
    return _line(f"the monthly budget of the {thing} “{alert.subject}”")


def _create(window: BudgetWindow, threshold: int, preference: AlertSettings, name: str) -> BudgetAlert | None:
    """Create the alert and return it; None when it exists. The unique constraint decides between workers."""
    mailed = preference.by_email and threshold == _passed(window, preference)[0]
    values = {
        "spent_usd": window.spent_usd,
        "limit_usd": window.budget.limit_usd,
        "subject": name[:200],
        "mail": Mail.DUE if mailed else Mail.NONE,
        "mail_due_at": timezone.now() if mailed else None,
    }
    alert, new = BudgetAlert.objects.get_or_create(window=window, threshold=threshold, user_id=preference.user_id, defaults=values)
    if new:
        news.send(preference.user_id, news.Kind.ALERT_CHANGED, alert.pk)
    return alert if new else None


def _passed(window: BudgetWindow, preference: AlertSettings) -> list[int]:
    """Return the thresholds that the window has reached, highest first."""
    if not preference.enabled:
        return []
    percent = near_limit.used_percent(window)
    return sorted((threshold for threshold in set(preference.thresholds) if percent >= threshold), reverse=True)


def _lowest() -> int:
    chosen = AlertSettings.objects.filter(enabled=True).order_by().values_list("thresholds", flat=True).distinct()
    return min((threshold for each in (settings.BUDGET_ALERT_THRESHOLDS, *chosen) for threshold in each), default=100)


def _recipients(windows: Iterable[BudgetWindow]) -> dict[int, list[UUID]]:
    """Return the recipients by window id: the user or owner of the budget, and every admin for the system's budget."""
    found: dict[int, list[UUID]] = {}
    by_scope: dict[str, list[BudgetWindow]] = {}
    for window in windows:
        by_scope.setdefault(window.budget.scope, []).append(window)
    for scope, rows in by_scope.items():
        if scope == Budget.Scope.SYSTEM:
            admins = list(User.objects.filter(role=User.Role.ADMIN, is_active=True).values_list("pk", flat=True))
            found |= {window.pk: admins for window in rows}
            continue
        owners = subjects.named(scope, [window.budget.scope_id for window in rows if window.budget.scope_id])
        for window in rows:
            owner = owners.get(window.budget.scope_id) if window.budget.scope_id else None
            found[window.pk] = [owner.user_id] if owner else []
    return found


def _line(text: str) -> str:
    """Return the text without line breaks, which a header must not contain."""
    return " ".join(text.split())
