"""Rules for new passwords, checked before hashing."""

from __future__ import annotations

from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import ValidationError

from accounts.models import User

# Bytes. A longer password is refused before any work; a shorter one is never truncated (SHA-256 precedes bcrypt).
MAX_BYTES = 4096


def too_long(password: str) -> bool:
    return len(password) > MAX_BYTES or len(password.encode("utf-8", "surrogatepass")) > MAX_BYTES


def problems(password: str, user: User) -> list[str]:
    """Return error messages on a password for a (perhaps unsaved) user; empty if it is acceptable."""
    if too_long(password):
        return [f"This password is longer than {MAX_BYTES} bytes."]
    try:
        validate_password(password, user)
    except ValidationError as exc:
        return list(exc.messages)
    return []


class NoEmailInsideValidator:
    """Refuses a password that contains the e-mail address or the part before its @.

    Django's similarity check accepts such a password if it is padded.
    """

    def validate(self, password: str, user: User | None = None) -> None:
        email = (getattr(user, "email", "") or "").casefold()
        local = email.partition("@")[0]
        given = password.casefold()
        if email and (email in given or (len(local) >= 5 and local in given)):
            raise ValidationError("The password contains your e-mail address.", code="password_contains_email")

    def get_help_text(self) -> str:
        return "Your password can't contain your e-mail address."
