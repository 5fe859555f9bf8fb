"""The demo accounts of `make run`: an admin, a user, the user's API key, and what they find. Never in production (aiagents/checks.py)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.core.management import call_command

from accounts import keys
from accounts.models import ApiKey, User
from aiagents import demo_work
from billing.models import AIModel

ADMIN = ("admin@example.com", "demo-keys-to-the-house")
USER = ("user@example.com", "demo-welcome-aboard")
PASSWORDS = (ADMIN[1], USER[1])


@dataclass(frozen=True, slots=True)
class Login:
    """`password` is None when somebody changed it since."""

    email: str
    password: str | None
    role: str


def seed() -> tuple[list[Login], str]:
    """Make what is missing; the logins and the API key to show. Safe to repeat: what people changed stays changed."""
    if settings.ENVIRONMENT == "production":
        raise ImproperlyConfigured("Demo accounts are not for production; make an admin with `manage.py createsuperuser`.")
    if not AIModel.objects.exists():
        call_command("catalogue", "load", verbosity=0)
    logins = [_account(*ADMIN, admin=True), _account(*USER, admin=False)]
    admin, user = User.objects.get(email=ADMIN[0]), User.objects.get(email=USER[0])
    demo_work.seed(admin, user)
    return logins, _key(user)


def _account(email: str, password: str, *, admin: bool) -> Login:
    user = User.objects.filter(email=email).first()
    if user is None:
        make = User.objects.create_superuser if admin else User.objects.create_user
        user = make(email, password, name="Demo admin" if admin else "Demo user")
        known = True
    else:
        known = user.is_active and user.check_password(password)
    return Login(email, password if known else None, "admin" if admin else "user")


def _key(user: User) -> str:
    """The user's demo key. Keys are stored hashed, so the raw one lies in a file of DATA_DIR that only we may read."""
    path = Path(settings.DATA_DIR) / "demo-api-key"
    if path.exists() and keys.find(raw := path.read_text().strip()):
        return raw
    _, raw = keys.create(user, name="demo", scopes=ApiKey.Scope.values)
    path.touch(0o600)
    path.write_text(raw)
    return raw
