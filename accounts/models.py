"""Who is calling: users, their sessions (token families), API keys, and the audit log."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import Any
from uuid import UUID

from django.contrib.auth.models import AbstractBaseUser, BaseUserManager, PermissionsMixin
from django.db import connection, models, transaction
from django.db.models import F, Q
from django.db.models.functions import Lower, Now
from django.utils import timezone
from django.utils.crypto import salted_hmac

from accounts import hooks, principal_cache
from accounts.mail import queue as mail_queue
from aiagents.core import idempotency
from aiagents.core.ids import uuid7


class UserQuerySet(models.QuerySet["User"]):
    def delete(self) -> tuple[int, dict[str, int]]:
        """Delete them with what is kept under their names, as `User.delete` does for one."""
        gone = list(self.values_list("pk", flat=True))
        with transaction.atomic():
            deleted = super().delete()
            _forget(gone)
        return deleted

    delete.alters_data = True  # type: ignore[attr-defined]
    delete.queryset_only = True  # type: ignore[attr-defined]


def _forget(gone: Iterable[UUID]) -> None:
    """What no foreign key leads to."""
    for user_id in gone:
        idempotency.forget(str(user_id))
        principal_cache.announce(user_id)


class UserManager(BaseUserManager["User"]):
    def get_queryset(self) -> UserQuerySet:
        return UserQuerySet(self.model, using=self._db)

    def create_user(self, email: str, password: str | None = None, **extra: Any) -> User:
        """A saved user; the e-mail is normalised to lower case."""
        user = self.model(email=email, **extra)
        user.set_password(password)
        user.save(using=self._db)
        return user

    def create_superuser(self, email: str, password: str | None = None, **extra: Any) -> User:
        return self.create_user(email, password, **{"role": User.Role.ADMIN, "is_staff": True, "is_superuser": True} | extra)

    def hold(self, user_id: UUID) -> None:
        """Hold the user's row until the transaction ends, so that what is counted for them next stays true until it is written.

        Inserts that refer to the user do not wait for it. On SQLite a transaction that writes is alone anyway.
        """
        if connection.vendor == "postgresql":
            # Written as SQL: the ORM needs longer to build this statement than PostgreSQL to run it, and every turn begins with it.
            with connection.cursor() as cursor:
                cursor.execute("SELECT 1 FROM accounts_user WHERE id = %s FOR NO KEY UPDATE", [user_id])

    def get_by_natural_key(self, username: str | None) -> User:
        return self.get(email=normal_email(username or ""))


def normal_email(email: str) -> str:
    """The one spelling of an e-mail address that is stored and looked up."""
    return email.strip().lower()


class User(AbstractBaseUser, PermissionsMixin):
    """A person, signed in by e-mail. `auth_epoch` is part of every access token: raising it ends them all."""

    class Role(models.TextChoices):
        USER = "user"
        ADMIN = "admin"

    class Goal(models.TextChoices):
        BALANCED = "balanced"
        CHEAPEST = "cheapest"
        FASTEST = "fastest"
        BEST = "best"

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    email = models.EmailField(unique=True)
    name = models.CharField(max_length=150, blank=True)
    role = models.CharField(max_length=8, choices=Role, default=Role.USER)
    is_active = models.BooleanField(default=True)
    is_staff = models.BooleanField(default=False)
    auth_epoch = models.PositiveIntegerField(default=0, editable=False)
    default_model = models.CharField(max_length=100, default="auto", help_text="a model id, or auto")
    goal = models.CharField(max_length=8, choices=Goal, default=Goal.BALANCED)
    time_zone = models.CharField(max_length=64, default="UTC", help_text="for display; budgets keep their own")
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    objects = UserManager()
    # Django's: the new password between set_password() and save().
    _password: str | None
    USERNAME_FIELD = "email"
    REQUIRED_FIELDS = []
    # A change of any of these ends the user's sessions.
    RIGHTS = ("password", "email", "role", "is_active", "is_staff", "is_superuser")

    class Meta:
        ordering = ["-created_at"]
        constraints = [models.UniqueConstraint(Lower("email"), name="user_email_ci")]

    def __str__(self) -> str:
        return self.email

    @property
    def display_name(self) -> str:
        """What other users see of this one; never empty, and never the whole e-mail address."""
        return self.name.strip() or self.email.partition("@")[0]

    @property
    def is_admin(self) -> bool:
        return self.is_active and self.role == self.Role.ADMIN

    def clean(self) -> None:
        super().clean()
        self.email = normal_email(self.email)

    def save(self, *args: Any, keep_family: UUID | None = None, **kwargs: Any) -> None:
        """Save; a new password, e-mail, role or right ends the user's sessions in the same transaction, from whatever code it came.

        A new e-mail also queues a notice to the old one: its owner must learn of a change they did not ask for.
        `auth_epoch` is never written here: a copy loaded earlier would bring dead tokens back to life.
        """
        self.email = normal_email(self.email)
        if self._state.adding:
            with transaction.atomic():
                super().save(*args, **kwargs)
                hooks.user_created(self)
            return
        if kwargs.get("update_fields") is None:
            skipped = self.get_deferred_fields() | {"auth_epoch", "id"}
            kwargs["update_fields"] = [field.name for field in self._meta.concrete_fields if field.attname not in skipped]
        saved = [name for name in self.RIGHTS if name in kwargs["update_fields"]]
        # Django hashes an old password anew when its cost was raised: that saves this field alone and knows no new password.
        rehash = list(kwargs["update_fields"]) == ["password"] and self._password is None and self.has_usable_password()
        with transaction.atomic():
            before = User.objects.select_for_update().filter(pk=self.pk).values(*saved).first() if saved else None
            super().save(*args, **kwargs)
            changed = [name for name in saved if before and before[name] != getattr(self, name)]
            if changed and not rehash:
                self.end_sessions(reason=changed[0], keep_family=keep_family)
            if before and "email" in changed:
                AccountMail.objects.enqueue(self, AccountMail.Kind.EMAIL_CHANGED, to=before["email"])
        principal_cache.announce(self.pk)

    def delete(self, *args: Any, **kwargs: Any) -> tuple[int, dict[str, int]]:
        user_id = self.pk
        with transaction.atomic():
            deleted = super().delete(*args, **kwargs)
            _forget([user_id])
        return deleted

    def end_sessions(self, *, reason: str, keep_family: UUID | None = None) -> int:
        """End every access token, refresh token, browser session and open socket; one session may be kept. How many families ended.

        The kept one's access tokens end too: it refreshes. API keys live on (docs/adr/0010).
        """
        with transaction.atomic():
            User.objects.filter(pk=self.pk).update(auth_epoch=F("auth_epoch") + 1)
            self.auth_epoch = User.objects.values_list("auth_epoch", flat=True).get(pk=self.pk)
            kept = self.token_families.filter(pk__in=[keep_family] if keep_family else [])
            kept.update(auth_epoch=self.auth_epoch)
            ended = self.token_families.exclude(pk__in=kept.values("pk")).revoke(reason)
        principal_cache.announce(self.pk)
        return ended

    def _get_session_auth_hash(self, secret: str | None = None) -> str:
        # Django's own hash covers the password only; browser sessions must end with the epoch too.
        return salted_hmac("accounts.User.session", f"{self.password}:{self.auth_epoch}", secret=secret, algorithm="sha256").hexdigest()


class TokenFamilyQuerySet(models.QuerySet["TokenFamily"]):
    def live(self) -> TokenFamilyQuerySet:
        """Families whose tokens work, by the database's clock; their user's state not considered."""
        return self.filter(revoked_at=None, expires_at__gt=Now())

    def revoke(self, reason: str) -> int:
        """End those that still live. The caller announces it (`cache.announce`)."""
        return self.filter(revoked_at=None).update(revoked_at=Now(), revoked_reason=reason)


class TokenFamily(models.Model):
    """One sign-in. Its refresh tokens carry (id, generation); only the current generation may be used.

    Nothing here is a credential: the tokens are signed, and a generation's `jti` is derived, not stored.
    """

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    user = models.ForeignKey(User, models.CASCADE, related_name="token_families")
    # The user's epoch when the password was checked: a sign-in that raced a password change is dead at birth.
    auth_epoch = models.PositiveIntegerField(default=0)
    generation = models.PositiveIntegerField(default=0)
    rotated_at = models.DateTimeField(default=timezone.now)
    expires_at = models.DateTimeField()
    revoked_at = models.DateTimeField(null=True, blank=True)
    revoked_reason = models.CharField(max_length=32, blank=True)
    user_agent = models.CharField(max_length=200, blank=True)
    ip = models.GenericIPAddressField(null=True, blank=True)
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    objects = TokenFamilyQuerySet.as_manager()

    class Meta:
        verbose_name_plural = "token families"
        indexes = [models.Index(fields=["user", "revoked_at"]), models.Index(fields=["expires_at"])]

    def __str__(self) -> str:
        return f"{self.user_id} since {self.created_at:%Y-%m-%d %H:%M}"


class ApiKeyQuerySet(models.QuerySet["ApiKey"]):
    def live(self) -> ApiKeyQuerySet:
        """Keys that work, by the database's clock: not revoked, not expired, their user active."""
        return self.filter(Q(expires_at=None) | Q(expires_at__gt=Now()), revoked_at=None, user__is_active=True)


class ApiKey(models.Model):
    """A program's credential. The key itself is shown once; here stand its SHA-256 and its first characters."""

    class Scope(models.TextChoices):
        CHAT = "chat", "chat and /v1"
        AGENTS = "agents"
        TASKS = "tasks"
        BILLING = "billing", "read usage and costs"
        READ = "read", "read only, everywhere the user may read"
        # A person's word, given to a program: in no default, and implied by no other scope.
        APPROVE = "approve", "approve or reject tool calls that wait for a person"

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    user = models.ForeignKey(User, models.CASCADE, related_name="api_keys")
    name = models.CharField(max_length=100)
    prefix = models.CharField(max_length=16, editable=False)
    digest = models.CharField(max_length=64, unique=True, editable=False)
    scopes = models.JSONField(default=list)
    rate_limit = models.PositiveIntegerField(null=True, blank=True, help_text="requests per window; empty: the user's")
    expires_at = models.DateTimeField(null=True, blank=True)
    revoked_at = models.DateTimeField(null=True, blank=True)
    last_used_at = models.DateTimeField(null=True, blank=True)
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    objects = ApiKeyQuerySet.as_manager()

    class Meta:
        ordering = ["-created_at"]
        verbose_name, verbose_name_plural = "API key", "API keys"
        indexes = [models.Index(fields=["user", "-created_at"])]

    def __str__(self) -> str:
        return f"{self.name} ({self.prefix}…)"


class AccountMailQuerySet(models.QuerySet["AccountMail"]):
    def enqueue(self, user: User, kind: str, *, to: str = "") -> AccountMail:
        """The mail, due now and sent after the caller's commit. One of the same kind that still waits is used again."""
        mail, _ = self.get_or_create(user=user, kind=kind, to=to, state=AccountMail.State.DUE)
        transaction.on_commit(partial(mail_queue.wake, mail.pk))
        return mail


class AccountMail(models.Model):
    """Outbox of the e-mails about one account. It holds no link: `accounts.mail.send` makes that while it sends."""

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
    user = models.ForeignKey(User, models.CASCADE, related_name="+")
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


class AuditEvent(models.Model):
    """Who did what to what, append-only. `details` holds no secret and no content; it is emptied when its target is erased."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    at = models.DateTimeField(default=timezone.now, editable=False)
    actor = models.ForeignKey(User, models.SET_NULL, null=True, blank=True, related_name="+")
    action = models.CharField(max_length=64)
    target_type = models.CharField(max_length=64, blank=True)
    target_id = models.CharField(max_length=64, blank=True)
    ip = models.GenericIPAddressField(null=True, blank=True)
    request_id = models.CharField(max_length=64, blank=True)
    details = models.JSONField(default=dict)

    class Meta:
        ordering = ["-at", "-id"]
        indexes = [
            models.Index(fields=["-at"]),
            models.Index(fields=["actor", "-at"]),
            models.Index(fields=["action", "-at"]),
            models.Index(fields=["request_id"], name="audit_request", condition=~Q(request_id="")),
            models.Index(fields=["target_id"], name="audit_target", condition=~Q(target_id="")),
        ]

    def __str__(self) -> str:
        return f"{self.at:%Y-%m-%d %H:%M:%S} {self.action}"
