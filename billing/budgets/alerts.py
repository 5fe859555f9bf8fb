"""Telling people that a budget runs out: in the product, and by e-mail.

Beat looks once a minute at the budgets that are near their limits, so a call never waits for it. An alert is a row that
can exist once per month, threshold and person, and the row is the outbox of its e-mail: two workers find one of each.
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
from billing.budgets import near_limit, subjects
from billing.models import AlertSettings, Budget, BudgetAlert, BudgetWindow

logger = logging.getLogger(__name__)
Mail = BudgetAlert.Mail
# An e-mail that cannot be handed over is tried again after 1, 2, 4, … minutes, so often in all.
MOST_ATTEMPTS = 8
# Who tries it has so long; then it is taken for lost, and tried again.
LEASE = timedelta(minutes=5)


def raise_due() -> list[BudgetAlert]:
    """Tell whoever has not been told yet; the new alerts. Of several thresholds passed at once only the highest is mailed."""
    windows = near_limit.windows(_lowest())
    told = set(BudgetAlert.objects.filter(window__in=windows).values_list("window_id", "threshold", "user_id"))
    people = _people(windows)
    wishes = AlertSettings.objects.in_bulk([user_id for ids in people.values() for user_id in ids])
    names = near_limit.names_of([window.budget for window in windows])
    raised = []
    for window in windows:
        for user_id in people[window.pk]:
            wish = wishes.get(user_id) or AlertSettings(user_id=user_id)
            for threshold in reversed(_passed(window, wish)):
                if (window.pk, threshold, user_id) not in told and (alert := _tell(window, threshold, wish, names[window.budget.pk])):
                    raised.append(alert)
    if raised:
        logger.info("budget_alerts", extra={"count": len(raised)})
    return raised


def due_mails(most: int = 500) -> list[UUID]:
    """E-mails that want to be sent now, the first try or a later one."""
    due = BudgetAlert.objects.filter(mail=Mail.DUE, mail_due_at__lte=timezone.now()).order_by("mail_due_at")
    return list(due.values_list("pk", flat=True)[:most])


def send(alert_id: UUID) -> bool:
    """Send an alert's e-mail if it is due and nobody else is at it. One that fails is due again later, MOST_ATTEMPTS times.

    Should the process die between the mail server's yes and our note of it, the e-mail is sent twice rather than never.
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
    """The e-mail, as text and as HTML that escapes every name in it."""
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
    """The budget in words, on one line."""
    if budget.scope == Budget.Scope.USER:
        return "your monthly budget" if budget.scope_id == alert.user_id else _line(f"the monthly budget of {alert.subject}")
    if budget.scope == Budget.Scope.SYSTEM:
        return "the system's monthly budget"
    thing = "API key" if budget.scope == Budget.Scope.KEY else budget.scope
    return _line(f"the monthly budget of the {thing} “{alert.subject}”")


def _tell(window: BudgetWindow, threshold: int, wish: AlertSettings, name: str) -> BudgetAlert | None:
    """The alert, if it is new. The unique constraint decides between workers."""
    mailed = wish.by_email and threshold == _passed(window, wish)[0]
    values = {
        "spent_usd": window.spent_usd,
        "limit_usd": window.budget.limit_usd,
        "subject": name[:200],
        "mail": Mail.DUE if mailed else Mail.NONE,
        "mail_due_at": timezone.now() if mailed else None,
    }
    alert, new = BudgetAlert.objects.get_or_create(window=window, threshold=threshold, user_id=wish.user_id, defaults=values)
    return alert if new else None


def _passed(window: BudgetWindow, wish: AlertSettings) -> list[int]:
    """The thresholds that the window has reached, highest first; they are told lowest first, so the newest alert is the highest."""
    if not wish.enabled:
        return []
    percent = near_limit.used_percent(window)
    return sorted((threshold for threshold in set(wish.thresholds) if percent >= threshold), reverse=True)


def _lowest() -> int:
    chosen = AlertSettings.objects.filter(enabled=True).order_by().values_list("thresholds", flat=True).distinct()
    return min((threshold for each in (settings.BUDGET_ALERT_THRESHOLDS, *chosen) for threshold in each), default=100)


def _people(windows: Iterable[BudgetWindow]) -> dict[int, list[UUID]]:
    """Who is told about each window: a user about their own, the owner of a key, agent or task, every admin about the system's."""
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
    """Without line breaks, which have no place in a header."""
    return " ".join(text.split())
