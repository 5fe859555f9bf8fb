"""Passwords that earlier versions published in their repository, which must not be used any more.

Only their SHA-256 is stored here. That is enough, because bcrypt_sha256 hashes the digest, not the password.
"""

from __future__ import annotations

import binascii
import hashlib
import logging
from typing import TYPE_CHECKING

import bcrypt
from django.contrib.auth.hashers import identify_hasher
from django.core.exceptions import ValidationError
from django.db import transaction
from django.db.models import Q

if TYPE_CHECKING:
    from accounts.models import User

log = logging.getLogger(__name__)
# The account that was created with the password -> the password's SHA-256.
DIGESTS = {
    "admin@example.com": "a0e959f6c9ca8546180b267f718c26e4025acf1e0399909f045bd69197f67862",
    "user@example.com": "8c518cc51272bfad96b6357b9c024a033fab116e2fd090cc8dea26f36572c110",
}
ACTION = "user.published_password"
REASON = "its password was published in a public repository"


def is_published(password: str) -> bool:
    """Return whether this is one of the passwords."""
    return hashlib.sha256(password.encode("utf-8", "surrogatepass")).hexdigest() in DIGESTS.values()


def matches(encoded: str, email: str = "") -> bool:
    """Return whether this stored hash is of one of the passwords; with the e-mail of such an account, of its own.

    Each comparison computes one bcrypt hash, about 0.2 s.
    """
    wanted = [DIGESTS[email]] if email in DIGESTS else list(DIGESTS.values())
    try:
        if identify_hasher(encoded).algorithm != "bcrypt_sha256":
            return False
        stored = encoded.split("$", 1)[1].encode()
        return any(bcrypt.checkpw(binascii.hexlify(bytes.fromhex(digest)), stored) for digest in wanted)
    except (ValueError, IndexError):  # unusable, or of an unknown format
        return False


def privileged() -> Q:
    """Return the condition for staff and admins, whose passwords are checked for any account."""
    return Q(is_staff=True) | Q(is_superuser=True) | Q(role="admin")


def holders(*, privileged_too: bool = False) -> list[User]:
    """Return active accounts with such a password, of those created with one; `privileged_too`: staff and admins, too.

    Without `privileged_too` it compares each account only with the password that it was created with: a start waits.
    """
    from accounts.models import User  # a migration imports this module before the models have their current state

    if not privileged_too:
        made_with_one = User.objects.filter(email__in=DIGESTS, is_active=True)
        return [user for user in made_with_one.order_by("email") if matches(user.password, user.email)]
    users = User.objects.filter(Q(email__in=DIGESTS) | privileged(), is_active=True)
    return [user for user in users.order_by("email") if matches(user.password)]


def disable_holders() -> list[User]:
    """Disable the accounts, end their sessions, tokens and API keys, remove the password, and return them.

    Logged and audited. An account needs a new password after it is enabled again.
    """
    from accounts import audit, keys
    from accounts.models import ApiKey

    found = holders()
    for user in found:
        with transaction.atomic():
            user.is_active = False
            user.set_unusable_password()
            user.save(update_fields=["is_active", "password"])
            for key in ApiKey.objects.filter(user=user, revoked_at=None):
                keys.revoke(key, actor=None)
            audit.record(ACTION, target=user, details={"email": user.email})
        log.warning("%s was disabled: %s", user.email, REASON)
    return found


def still_disabled() -> list[str]:
    """Return the e-mails of the accounts that were disabled for this reason and have no new password yet."""
    from accounts.models import AuditEvent, User

    ids = AuditEvent.objects.filter(action=ACTION).values_list("target_id", flat=True)
    users = User.objects.filter(pk__in=list(ids), is_active=False)
    return [user.email for user in users if not user.has_usable_password()]


class NotPublishedValidator:
    """Refuses those passwords for every account."""

    def validate(self, password: str, user: User | None = None) -> None:
        if is_published(password):
            raise ValidationError("This password was published: any reader of the repository knows it.", code="password_published")

    def get_help_text(self) -> str:
        return "Your password can't be one that was published."
