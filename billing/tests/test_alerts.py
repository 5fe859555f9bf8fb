"""Budget alerts: created once, for the right users, by any number of workers."""

from __future__ import annotations

import smtplib
from datetime import timedelta
from decimal import Decimal as D
from threading import Barrier, Thread

import pytest
from django.core import mail
from django.core.mail.backends.locmem import EmailBackend
from django.db import connections
from django.utils import timezone

from accounts import keys
from accounts.models import User
from agents.definitions import authoring
from billing import tasks
from billing.budgets import alerts, budgets, near_limit
from billing.models import AlertSettings, Budget, BudgetAlert, BudgetWindow
from billing.tests.making import make_user, spent
from tasks.models import Task

pytestmark = pytest.mark.django_db


def raised_for(user) -> list[int]:
    return sorted(BudgetAlert.objects.filter(user=user).values_list("threshold", flat=True))


@pytest.fixture
def now(settings):
    settings.CELERY_TASK_ALWAYS_EAGER = True
    from aiagents.celery import app

    app.conf.task_always_eager = True
    yield
    app.conf.task_always_eager = False


def test_each_threshold_raises_one_alert_a_month():
    user = make_user(D(10))
    for amount, expected in (("4.9", []), ("5", [50]), ("5.1", [50]), ("8.1", [50, 80]), ("9.96", [50, 80, 100]), ("12", [50, 80, 100])):
        spent("user", user.pk, amount)
        alerts.raise_due()
        alerts.raise_due()
        assert raised_for(user) == expected
    one = BudgetAlert.objects.get(user=user, threshold=80)
    assert (one.spent_usd, one.limit_usd, one.subject) == (D("8.1"), D(10), user.email)


def test_the_next_month_tells_anew(monkeypatch):
    user = make_user(D(10))
    spent("user", user.pk, "6")
    alerts.raise_due()
    later = timezone.now() + timedelta(days=32)
    monkeypatch.setattr(budgets, "database_now", lambda: later)
    spent("user", user.pk, "7")
    alerts.raise_due()
    assert raised_for(user) == [50, 50]


def test_several_thresholds_at_once_are_one_mail():
    user = make_user(D(10))
    spent("user", user.pk, "9")
    alerts.raise_due()
    assert raised_for(user) == [50, 80]
    assert list(BudgetAlert.objects.filter(mail="due").values_list("threshold", flat=True)) == [80]


def test_no_alert_without_a_limit_or_below_the_threshold():
    user = make_user(None)
    spent("user", user.pk, "900", limit=None)
    spent("user", make_user().pk, "4", limit="0")
    assert alerts.raise_due() == []


def test_alerts_go_to_the_owner_or_to_admins():
    admin, other_admin, owner = make_user(role="admin"), make_user(role="admin"), make_user()
    User.objects.filter(pk=other_admin.pk).update(is_active=False)
    spent("system", None, "8.5")
    key, _ = keys.create(owner, name="robot", scopes=["chat"])
    agent = authoring.create(owner, {"name": "helper"})
    task = Task.objects.create(user=owner, name="nightly", input="x")
    for scope, subject in (("key", key), ("agent", agent), ("task", task)):
        spent(scope, subject.pk, "5.5")
    alerts.raise_due()
    assert raised_for(admin) == [50, 80]
    assert raised_for(other_admin) == []
    assert sorted(BudgetAlert.objects.filter(user=owner).values_list("subject", flat=True)) == ["helper", "nightly", "robot"]


def test_each_user_chooses_thresholds():
    low, off, mute = make_user(D(10)), make_user(D(10)), make_user(D(10))
    AlertSettings.objects.create(user=low, thresholds=[5, 90])
    AlertSettings.objects.create(user=off, enabled=False)
    AlertSettings.objects.create(user=mute, by_email=False)
    spent("user", low.pk, "0.6")
    spent("user", off.pk, "9")
    spent("user", mute.pk, "9")
    alerts.raise_due()
    assert (raised_for(low), raised_for(off), raised_for(mute)) == ([5], [], [50, 80])
    assert list(BudgetAlert.objects.filter(mail="due").values_list("user", flat=True)) == [low.pk]


def test_beat_mails_what_is_due_and_only_once(now):
    user = make_user(D(10))
    spent("user", user.pk, "8.5")
    assert tasks.sweep_alerts() == 2
    assert tasks.sweep_alerts() == 0
    [sent] = mail.outbox
    assert (sent.to, sent.subject) == ([user.email], "80 % of your monthly budget used")
    assert "$8.50 of $10.00" in sent.body
    alert = BudgetAlert.objects.get(threshold=80)
    assert (alert.mail, alert.mail_attempts, alert.mailed_at is not None) == ("sent", 1, True)


def test_a_mail_server_that_is_away_is_tried_again_later_and_not_for_ever(now, monkeypatch):
    def away(self, messages):
        raise smtplib.SMTPServerDisconnected("gone")

    user = make_user(D(10))
    spent("user", user.pk, "8.5")
    with monkeypatch.context() as patched:
        patched.setattr(EmailBackend, "send_messages", away)
        tasks.sweep_alerts()
        alert = BudgetAlert.objects.get(threshold=80)
        assert (alert.mail, alert.mail_attempts) == ("due", 1)
        assert alert.mail_due_at > timezone.now()
        assert alerts.due_mails() == []
        for attempt in range(2, alerts.MOST_ATTEMPTS + 1):
            BudgetAlert.objects.update(mail_due_at=timezone.now())
            tasks.sweep_alerts()
            alert.refresh_from_db()
            assert (alert.mail_attempts, alert.mail) == (attempt, "failed" if attempt == alerts.MOST_ATTEMPTS else "due")
    assert mail.outbox == []


def test_a_mail_that_failed_once_arrives_with_the_next_try(now, monkeypatch):
    user = make_user(D(10))
    spent("user", user.pk, "8.5")
    with monkeypatch.context() as patched:
        patched.setattr(EmailBackend, "send_messages", lambda self, messages: (_ for _ in ()).throw(ConnectionRefusedError()))
        tasks.sweep_alerts()
    BudgetAlert.objects.update(mail_due_at=timezone.now())
    tasks.sweep_alerts()
    assert len(mail.outbox) == 1


def test_who_was_disabled_meanwhile_gets_no_mail(now):
    user = make_user(D(10))
    spent("user", user.pk, "8.5")
    alerts.raise_due()
    User.objects.filter(pk=user.pk).update(is_active=False)
    tasks.sweep_alerts()
    assert mail.outbox == []
    assert BudgetAlert.objects.get(threshold=80).mail == "none"


def test_names_can_neither_break_a_header_nor_become_markup(now):
    user = make_user(D(10))
    key, _ = keys.create(user, name="<img src=x onerror=alert(1)>\r\nBcc: everybody@example.com", scopes=["chat"])
    spent("key", key.pk, "6")
    tasks.sweep_alerts()
    [sent] = mail.outbox
    assert "\n" not in sent.subject and "\r" not in sent.subject
    assert sent.recipients() == [user.email]
    [(html, kind)] = [(one.content, one.mimetype) for one in sent.alternatives]
    assert kind == "text/html"
    assert "<img" not in html and "&lt;img" in html
    assert not [name for name, _ in sent.message().items() if name == "Bcc"]


def test_what_is_left_of_the_last_half_percent_counts_as_used():
    user = make_user(D(10))
    spent("user", user.pk, "9.95")
    assert near_limit.used_percent(BudgetWindow.objects.select_related("budget").get(budget__scope_id=user.pk)) == 100


@pytest.mark.django_db(transaction=True)
def test_two_workers_tell_and_mail_everything_once():
    people = [make_user(D(10)) for _ in range(12)]
    for person in people:
        spent("user", person.pk, "8.5")
    together, raised, sent, errors = Barrier(4), [], [], []

    def work() -> None:
        try:
            together.wait(10)
            raised.extend(alerts.raise_due())
            together.wait(10)
            sent.extend([one for one in alerts.due_mails() if alerts.send(one)])
        except Exception as exc:
            errors.append(exc)
        finally:
            connections.close_all()

    threads = [Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert len(raised) == BudgetAlert.objects.count() == 24
    assert len(sent) == len(set(sent)) == len(mail.outbox) == 12
    assert sorted(message.to[0] for message in mail.outbox) == sorted(person.email for person in people)
    assert Budget.objects.filter(scope="user").count() == 12
