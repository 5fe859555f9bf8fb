"""One-time links with which users set their password, so that staff neither choose nor know it.

The token is Django's: a MAC over the user's id, password, e-mail, last sign-in and the time. It is not stored. It ends
with its use, a change of password or e-mail, a sign-in, and after PASSWORD_RESET_MINUTES.
"""

from __future__ import annotations

from uuid import UUID

from django.conf import settings
from django.contrib.auth.tokens import PasswordResetTokenGenerator
from django.db import transaction

from accounts import audit, keys
from accounts.client import Origin
from accounts.models import ApiKey, User
from accounts.sign_in import service as sign_in
from accounts.sign_in import throttle
from aiagents.core.errors import InvalidRequest

PATH = "/password"


class _Tokens(PasswordResetTokenGenerator):
    key_salt = "accounts.sign_in.password_links"


link_tokens = _Tokens()


def link(user: User) -> str:
    """Return a new link for this user. Its host is always that of SITE_URL.

    The token is in the fragment, which browsers do not send: no proxy or access log contains it.
    """
    return f"{settings.SITE_URL.rstrip('/')}{PATH}#{user.pk.hex}.{link_tokens.make_token(user)}"


def use(token: str, new_password: str, origin: Origin, *, revoke_keys: bool = False) -> User:
    """Set the password of the token's user and end all sessions, with `revoke_keys` also the API keys; return the user.

    Raises InvalidRequest `link_invalid` for a token that is unknown, used, expired or of a disabled account. Raises
    another InvalidRequest for an unacceptable password; the link stays valid. Raises RateLimited by address.
    """
    throttle.count_password_link(origin.ip)
    sign_in.refuse_long(new_password, "new_password")
    with transaction.atomic():
        # Locks the row: of two concurrent uses, the second finds a new password and so an invalid token.
        user = _user_of(token)
        if user is None:
            raise InvalidRequest("This link is no longer valid. Request a new one.", code="link_invalid", param="token")
        sign_in.refuse_weak(new_password, user, "new_password")
        user.set_password(new_password)
        user.save(update_fields=["password"])
        audit.record("password.link_used", actor=user, target=user, ip=origin.ip, details={"api_keys_revoked": revoke_keys})
        if revoke_keys:
            for key in ApiKey.objects.filter(user=user, revoked_at=None):
                keys.revoke(key, actor=user, ip=origin.ip)
    throttle.clear(user.email)
    return user


def _user_of(token: str) -> User | None:
    """Return the active user of a valid token, with the row locked; None if the token is invalid."""
    name, _, rest = token.partition(".")
    try:
        user_id = UUID(hex=name)
    except ValueError:
        return None
    user = User.objects.select_for_update().filter(pk=user_id, is_active=True).first()
    return user if user is not None and link_tokens.check_token(user, rest) else None
