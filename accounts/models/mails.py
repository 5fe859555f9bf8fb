"""The outbox of e-mails about accounts."""

from __future__ import annotations

from functools import partial

from django.conf import settings
from django.contrib.auth.models import AbstractBaseUser
from django.db import models, transaction
from django.db.models import Q
from django.utils import timezone

from accounts.mail import queue as mail_queue
from aiagents.core.ids import uuid7


class AccountMailQuerySet(models.QuerySet["AccountMail"]):
    def enqueue(self, user: AbstractBaseUser, kind: str, *, to: str = "") -> AccountMail:
        """Queue an e-mail, due now and sent after the caller's commit. Reuses a waiting one of the same kind."""
        mail, _ = self.get_or_create(user=user, kind=kind, to=to, state=AccountMail.State.DUE)
        transaction.on_commit(partial(mail_queue.wake, mail.pk))
        return mail


class AccountMail(models.Model):
    """The outbox of e-mails about accounts. It stores no link: `accounts.mail.send` creates the link while it sends."""

    class Kind(models.TextChoices):
        PASSWORD_LINK = "password_link"
        WELCOME = "welcome"
        EMAIL_CHANGED = "email_changed"

    class State(models.TextChoices):
        DUE = "due"
        SENT = "sent"
        FAILED = "failed"
        # The account was disabled before the mail could be sent.
        DROPPED = "dropped"

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    user = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE, related_name="+")
    kind = models.CharField(max_length=16, choices=Kind)
    # Empty: the user's address at the time of sending.
    to = models.EmailField(blank=True)
    state = models.CharField(max_length=8, choices=State, default=State.DUE)
    attempts = models.PositiveSmallIntegerField(default=0)
    due_at = models.DateTimeField(default=timezone.now)
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    objects = AccountMailQuerySet.as_manager()

    class Meta:
        indexes = [models.Index(fields=["due_at"], name="account_mail_due", condition=Q(state="due"))]
        constraints = [
            models.UniqueConstraint(fields=["user", "kind", "to"], condition=Q(state="due"), name="one_account_mail_due"),
        ]

    def __str__(self) -> str:
        return f"{self.kind} for {self.user_id}"
