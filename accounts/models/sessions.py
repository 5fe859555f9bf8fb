"""Sign-ins: families of tokens."""

from __future__ import annotations

from django.db import models
from django.db.models.functions import Now
from django.utils import timezone

from accounts.models.users import User
from aiagents.core.ids import uuid7


class TokenFamilyQuerySet(models.QuerySet["TokenFamily"]):
    def live(self) -> TokenFamilyQuerySet:
        """Return the families with valid tokens, by the database's clock. Does not check the user's state."""
        return self.filter(revoked_at=None, expires_at__gt=Now())

    def revoke(self, reason: str) -> int:
        """End the valid ones; return how many. The caller must announce it (`principals.announce`)."""
        return self.filter(revoked_at=None).update(revoked_at=Now(), revoked_reason=reason)


class TokenFamily(models.Model):
    """One sign-in. Its refresh tokens contain (id, generation); only the current generation is valid.

    The row contains no credential: tokens are signed, and a generation's `jti` is derived, not stored.
    """

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    user = models.ForeignKey(User, models.CASCADE, related_name="token_families")
    # The user's epoch when the password was checked: a sign-in during a password change is invalid from the start.
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
