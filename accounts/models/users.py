"""Users, whose changes end their sessions."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import Any
from uuid import UUID

from django.contrib.auth.models import AbstractBaseUser, BaseUserManager, PermissionsMixin
from django.db import connection, models, transaction
from django.db.models import F
from django.db.models.functions import Lower
from django.utils import timezone
from django.utils.crypto import salted_hmac

from accounts import hooks, principals
from accounts.models.mails import AccountMail
from aiagents.core import idempotency
from aiagents.core.ids import uuid7
from aiagents.core.live import news


class UserQuerySet(models.QuerySet["User"]):
    def delete(self) -> tuple[int, dict[str, int]]:
        """Delete the users with the data that only refers to them by id, as `User.delete` does for one."""
        gone = list(self.values_list("pk", flat=True))
        with transaction.atomic():
            deleted = super().delete()
            _forget(gone)
        return deleted

    delete.alters_data = True  # type: ignore[attr-defined]  # Django reads this attribute of the method
    delete.queryset_only = True  # type: ignore[attr-defined]  # Django reads this attribute of the method


def _forget(gone: Iterable[UUID]) -> None:
    """Delete data of deleted users that no foreign key refers to."""
    for user_id in gone:
        idempotency.forget(str(user_id))
        transaction.on_commit(partial(hooks.user_deleted, user_id), robust=True)
        principals.announce(user_id)


class UserManager(BaseUserManager["User"]):
    def get_queryset(self) -> UserQuerySet:
        return UserQuerySet(self.model, using=self._db)

    def create_user(self, email: str, password: str | None = None, **extra: Any) -> User:
        """Create, save and return a user; the e-mail is normalised to lower case."""
        user = self.model(email=email, **extra)
        user.set_password(password)
        user.save(using=self._db)
        return user

    def create_superuser(self, email: str, password: str | None = None, **extra: Any) -> User:
        return self.create_user(email, password, **{"role": User.Role.ADMIN, "is_staff": True, "is_superuser": True} | extra)

    def hold(self, user_id: UUID) -> None:
        """Lock the user's row until the transaction ends, so that a count of the user's rows stays true until a write.

        Inserts that refer to the user do not wait for the lock. SQLite has one writer at a time and needs none.
        """
        if connection.vendor == "postgresql":
            # SQL, because the ORM takes longer to build this statement than PostgreSQL to run it, and every turn runs
            # it.
            with connection.cursor() as cursor:
                cursor.execute("SELECT 1 FROM accounts_user WHERE id = %s FOR NO KEY UPDATE", [user_id])

    def get_by_natural_key(self, username: str | None) -> User:
        return self.get(email=normal_email(username or ""))


def normal_email(email: str) -> str:
    """Return the normalised form of an e-mail address, which is stored and looked up."""
    return email.strip().lower()


class User(AbstractBaseUser, PermissionsMixin):
    """A user, who signs in by e-mail. Every access token contains `auth_epoch`: raising it ends all of them."""

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
    # Django sets it to the new password between set_password() and save().
    _password: str | None
    USERNAME_FIELD = "email"
    REQUIRED_FIELDS = []
    # A change of any of these ends the user's sessions.
    SESSION_FIELDS = ("password", "email", "role", "is_active", "is_staff", "is_superuser")

    class Meta:
        ordering = ["-created_at"]
        constraints = [models.UniqueConstraint(Lower("email"), name="user_email_ci")]

    def __str__(self) -> str:
        return self.email

    @property
    def display_name(self) -> str:
        """Return the name that other users see: never empty, and never the whole e-mail address."""
        return self.name.strip() or self.email.partition("@")[0]

    @property
    def is_admin(self) -> bool:
        return self.is_active and self.role == self.Role.ADMIN

    def clean(self) -> None:
        super().clean()
        self.email = normal_email(self.email)

    def save(self, *args: Any, keep_family: UUID | None = None, **kwargs: Any) -> None:
        """Save. A changed field of SESSION_FIELDS ends the user's sessions in the same transaction.

        A new e-mail also queues a notice to the old address, whose owner may not have requested the change.
        This method never writes `auth_epoch`: an instance loaded earlier would make ended tokens valid again.
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
        saved = [name for name in self.SESSION_FIELDS if name in kwargs["update_fields"]]
        # Django rehashes a password when the cost was raised: it saves this field only, without a new password.
        rehash = list(kwargs["update_fields"]) == ["password"] and self._password is None and self.has_usable_password()
        with transaction.atomic():
            before = User.objects.select_for_update().filter(pk=self.pk).values(*saved).first() if saved else None
            super().save(*args, **kwargs)
            changed = [name for name in saved if before and before[name] != getattr(self, name)]
            if changed and not rehash:
                self.end_sessions(reason=changed[0], keep_family=keep_family)
            if before and "email" in changed:
                AccountMail.objects.enqueue(self, AccountMail.Kind.EMAIL_CHANGED, to=before["email"])
        principals.announce(self.pk)

    def delete(self, *args: Any, **kwargs: Any) -> tuple[int, dict[str, int]]:
        user_id = self.pk
        with transaction.atomic():
            deleted = super().delete(*args, **kwargs)
            _forget([user_id])
        return deleted

    def end_sessions(self, *, reason: str, keep_family: UUID | None = None) -> int:
        """End all tokens, browser sessions and open sockets, except of `keep_family`; return how many families ended.

        The access tokens of the kept session end, too; its refresh token works. API keys stay valid (docs/adr/0010).
        """
        with transaction.atomic():
            User.objects.filter(pk=self.pk).update(auth_epoch=F("auth_epoch") + 1)
            self.auth_epoch = User.objects.values_list("auth_epoch", flat=True).get(pk=self.pk)
            kept = self.token_families.filter(pk__in=[keep_family] if keep_family else [])
            kept.update(auth_epoch=self.auth_epoch)
            ended = self.token_families.exclude(pk__in=kept.values("pk")).revoke(reason)
        principals.announce(self.pk)
        news.send(self.pk, news.Kind.CREDENTIAL_ENDED, self.pk)
        return ended

    def _get_session_auth_hash(self, secret: str | None = None) -> str:
        # Django's hash covers only the password; browser sessions must also end with the epoch.
        return salted_hmac("accounts.User.session", f"{self.password}:{self.auth_epoch}", secret=secret, algorithm="sha256").hexdigest()
