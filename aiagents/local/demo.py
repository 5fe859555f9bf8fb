"""The demo accounts of `make run`: an admin, a user and the user's API key. Only for a local installation."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from pathlib import Path

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.core.management import call_command
from django.db import transaction

from accounts import audit, keys
from accounts.models import ApiKey, User
from aiagents.core import private_files
from aiagents.local import demo_work
from aiagents.settings import exposure
from billing.models import AIModel

ADMIN, USER = "admin@example.com", "user@example.com"
# Shown instead of an earlier password, of which only the hash is stored.
HOW_TO_RESET = "(password shown when it was made; a new one: manage.py seed --new-passwords)"
# Shown for a disabled account, for example because an earlier version had published its password.
HOW_TO_ENABLE = "(disabled; a new password enables it: manage.py seed --new-passwords)"


@dataclass(frozen=True, slots=True)
class Login:
    """One demo account. `password` is the new one, or None if the account existed. `enabled`: the account may sign in."""

    email: str
    password: str | None
    role: str
    enabled: bool = True

    @property
    def shown(self) -> str:
        if not self.enabled:
            return HOW_TO_ENABLE
        return self.password or HOW_TO_RESET


def refusal() -> str:
    """Why this installation may not have demo accounts, as a sentence; empty if it may."""
    reason = exposure.why_reachable(
        settings.ENVIRONMENT, settings.HOST, settings.SITE_URL, settings.ALLOWED_HOSTS, settings.TRUSTED_PROXIES
    )
    return f"Demo accounts are for your own machine only, and {reason}; make an admin with manage.py createsuperuser." if reason else ""


def seed(*, new_passwords: bool = False) -> tuple[list[Login], str]:
    """Create what is missing; return the logins and the user's API key (empty while the user is disabled).

    Safe to repeat: it keeps people's changes. `new_passwords` gives both accounts a new password and enables them. Raises
    ImproperlyConfigured if other machines can reach the installation.
    """
    if refused := refusal():
        raise ImproperlyConfigured(refused)
    if not AIModel.objects.exists():
        call_command("catalogue", "load", verbosity=0)
    logins = [_account(ADMIN, admin=True, new_password=new_passwords), _account(USER, admin=False, new_password=new_passwords)]
    admin, user = User.objects.get(email=ADMIN), User.objects.get(email=USER)
    demo_work.seed(admin, user)
    return logins, _key(user) if user.is_active else ""


def _account(email: str, *, admin: bool, new_password: bool) -> Login:
    role = "admin" if admin else "user"
    # 96 random bits; only the hash is stored.
    password = secrets.token_urlsafe(12)
    user = User.objects.filter(email=email).first()
    if user is None:
        make = User.objects.create_superuser if admin else User.objects.create_user
        make(email, password, name="Demo admin" if admin else "Demo user")
        return Login(email, password, role)
    if not new_password:
        return Login(email, None, role, enabled=user.is_active)
    with transaction.atomic():
        user.set_password(password)
        user.is_active = True
        user.save(update_fields=["password", "is_active"])
        audit.record("user.password_set", target=user, details={"by": "manage.py seed"})
    return Login(email, password, role)


def _key(user: User) -> str:
    """The user's demo key. Keys are stored hashed, so the raw one is in a file of DATA_DIR that only its owner may read."""
    path = Path(settings.DATA_DIR) / "demo-api-key"
    if path.exists() and keys.find(raw := path.read_text().strip()):
        return raw
    _, raw = keys.create(user, name="demo", scopes=set(ApiKey.Scope.values) - {ApiKey.Scope.APPROVE})
    path.unlink(missing_ok=True)
    private_files.write_new(path, raw)
    return raw
