"""Old sessions go, living and recent ones stay; audit events carry the request."""

from __future__ import annotations

from datetime import timedelta

from django.conf import settings
from django.utils import timezone

from accounts import audit, tasks
from accounts.models import AuditEvent, TokenFamily, User
from accounts.sign_in import tokens
from aiagents.core.logs.context import request_id


def test_sessions_go_30_days_after_their_end(user: User, monkeypatch):
    monkeypatch.setattr(tasks, "BATCH", 2)
    now, day = timezone.now(), timedelta(days=1)
    ends = {"living": (now + day, None), "just expired": (now - day, None), "just revoked": (now + day, now - day)}
    gone = {"expired": (now - 31 * day, None), "revoked": (now + day, now - 31 * day), "both": (now - 40 * day, now - 50 * day)}
    for name, (expires_at, revoked_at) in (ends | gone).items():
        TokenFamily.objects.create(user=user, expires_at=expires_at, revoked_at=revoked_at, user_agent=name)
    assert tasks.sweep_sessions() == 3
    assert set(TokenFamily.objects.values_list("user_agent", flat=True)) == set(ends)
    assert tasks.sweep_sessions() == 0


def test_beat_knows_the_sweep():
    assert tasks.sweep_sessions.name in {entry["task"] for entry in settings.CELERY_BEAT_SCHEDULE.values()}


def test_an_event_names_actor_target_address_and_request(user: User, other: User):
    mark = request_id.set("request-0001")
    try:
        audit.record("user.disable", actor=user, target=other, ip="2001:db8::1", details={"why": "test"})
    finally:
        request_id.reset(mark)
    event = AuditEvent.objects.get()
    assert (event.actor, event.target_type, event.target_id) == (user, "accounts.user", str(other.pk))
    assert (event.ip, event.request_id, event.details) == ("2001:db8::1", "request-0001", {"why": "test"})


def test_an_address_that_is_none_is_no_error(user: User):
    for ip in ("", "unix", "999.1.1.1", "x" * 100, "fe80::1%eth0"):
        audit.record("x", ip=ip)
        tokens.sign_in(user, ip=ip)
    for model in (AuditEvent, TokenFamily):
        assert set(model.objects.values_list("ip", flat=True)) == {None, "fe80::1"}


def test_an_event_outlives_its_actor(user: User):
    audit.record("x", actor=user, target=user)
    user.delete()
    event = AuditEvent.objects.get()
    assert event.actor is None and event.target_id
