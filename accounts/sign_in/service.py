"""Registration, sign-in and password change, with rate limits and responses that do not reveal accounts."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.contrib.auth.backends import ModelBackend
from django.contrib.auth.hashers import make_password
from django.core.exceptions import PermissionDenied as DjangoPermissionDenied
from django.db import IntegrityError, transaction
from django.http import HttpRequest
from django.utils import timezone

from accounts import audit, keys
from accounts.client import Origin
from accounts.models import ApiKey, User, normal_email
from accounts.sign_in import lockout, passwords, throttle, tokens
from aiagents.core import registration
from aiagents.core.errors import InvalidRequest, NotAuthenticated, RateLimited

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class SignedIn:
    user: User
    pair: tokens.Pair


def sign_in(email: str, password: str, origin: Origin) -> SignedIn:
    """Sign in and return the session.

    Raises the same NotAuthenticated for an unknown e-mail, a wrong password and a disabled account, after one hash
    each.
    """
    refuse_long(password, "password")
    throttle.count_sign_in(email, origin.ip)
    user = check(email, password)
    if user is None:
        audit.record("login.failed", ip=origin.ip, details={"email": normal_email(email)[:254]})
        raise NotAuthenticated("E-mail or password is wrong.", code="invalid_credentials")
    with transaction.atomic():
        pair = tokens.sign_in(user, ip=origin.ip, user_agent=origin.user_agent)
        User.objects.filter(pk=user.pk).update(last_login=timezone.now())
        audit.record("login", actor=user, target=user, ip=origin.ip)
    return SignedIn(user, pair)


def check(email: str, password: str) -> User | None:
    """Return the active user of this e-mail if the password is right, else None. Always computes one hash."""
    user = User.objects.filter(email=normal_email(email)).first()
    if user is None:
        make_password(password)
        return None
    return user if user.check_password(password) and user.is_active else None


def register(email: str, password: str, name: str, origin: Origin) -> SignedIn:
    """Register a user, never an admin, and sign in. A taken e-mail gets an unspecific error (docs/adr/0011).

    Raises RegistrationClosed where REGISTRATION does not admit the address, whether or not it is taken.
    """
    refuse_long(password, "password")
    throttle.count_registration(origin.ip)
    user = User(email=normal_email(email), name=name)
    registration.refuse_unless_admitted(user.email)
    refuse_weak(password, user, "password")
    # Hash before the query: the response takes the same time for a taken and for a free address.
    user.set_password(password)
    try:
        with transaction.atomic():
            user.save(force_insert=True)
            pair = tokens.sign_in(user, ip=origin.ip, user_agent=origin.user_agent)
            audit.record("register", actor=user, target=user, ip=origin.ip)
    except IntegrityError as exc:
        if not User.objects.filter(email=user.email).exists():
            raise
        raise InvalidRequest("This registration cannot be accepted.", code="registration_refused") from exc
    return SignedIn(user, pair)


def change_password(user: User, current: str, new: str, origin: Origin, *, keep_family: UUID | None, revoke_keys: bool = False) -> None:
    """Set a new password and end all sessions except `keep_family`. API keys stay valid unless `revoke_keys`."""
    refuse_long(current, "current_password")
    throttle.count_sign_in(user.email, origin.ip)
    if not user.check_password(current):
        audit.record("password.failed", actor=user, target=user, ip=origin.ip)
        raise InvalidRequest("The current password is wrong.", param="current_password", details={"current_password": ["Wrong."]})
    refuse_weak(new, user, "new_password")
    user.set_password(new)
    with transaction.atomic():
        user.save(update_fields=["password"], keep_family=keep_family)
        audit.record("password.change", actor=user, target=user, ip=origin.ip, details={"api_keys_revoked": revoke_keys})
        if revoke_keys:
            for key in ApiKey.objects.filter(user=user, revoked_at=None):
                keys.revoke(key, actor=user, ip=origin.ip)


def refuse_long(password: str, param: str) -> None:
    if passwords.too_long(password):
        _refuse_password([f"At most {passwords.MAX_BYTES} bytes."], param)


def refuse_weak(password: str, user: User, param: str) -> None:
    problems = passwords.problems(password, user)
    if problems:
        _refuse_password(problems, param)


def _refuse_password(problems: list[str], param: str) -> None:
    raise InvalidRequest("This password is not acceptable.", param=param, details={param: problems})


class LimitedBackend(ModelBackend):
    """Django's backend for the admin's login page, with the rate limits of the API."""

    def authenticate(
        self, request: HttpRequest | None, username: str | None = None, password: str | None = None, **kwargs: Any
    ) -> User | None:
        email = username or kwargs.get(User.USERNAME_FIELD) or ""
        if request is None:  # called by code, not by a login view
            return check(email, password) if password is not None else None
        origin = Origin.of(request)
        if password is None or passwords.too_long(password):
            return None
        try:
            throttle.count_sign_in(email, origin.ip)
        except RateLimited as exc:
            log.warning("admin sign-in refused from %s: too many attempts", origin.ip)
            lockout.mark(request, exc)
            raise DjangoPermissionDenied from exc  # ends the search for another backend
        user = check(email, password)
        audit.record("admin.login" if user else "admin.login.failed", actor=user, ip=origin.ip, details={"email": email[:254]})
        return user
