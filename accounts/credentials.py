"""Check credentials, always in the database: find the principal of one, and whether one is still valid."""

from __future__ import annotations

from collections.abc import Iterable
from uuid import UUID

from django.db.models import F
from django.utils import timezone

from accounts import keys, principals
from accounts.models import ApiKey, TokenFamily, User
from accounts.principals import CredentialRef, Principal
from accounts.sign_in import browser_sessions, tokens
from aiagents.core.errors import NotAuthenticated


def find(raw: str) -> Principal:
    """Return the principal of a valid API key or access token. Raises NotAuthenticated otherwise."""
    if raw.startswith(keys.PREFIX):
        key = keys.find(raw)
        if key is None:
            raise NotAuthenticated
        return principals.of_key(key)
    claims = tokens.read(raw, tokens.AccessToken)
    family = _live_family(claims.family_id, claims.user_id, claims.auth_epoch)
    if family is None:
        raise NotAuthenticated
    return principals.of_family(family, expires_at=claims.expires_at)


def renew(credential_ref: CredentialRef) -> Principal | None:
    """Return the principal, read again from the database; None if its credential has ended."""
    if credential_ref.expires_at is not None and credential_ref.expires_at <= timezone.now().timestamp():
        return None
    if credential_ref.key_id:
        key = ApiKey.objects.live().select_related("user").filter(pk=credential_ref.key_id, user_id=credential_ref.user_id).first()
        return principals.of_key(key) if key and key.user.auth_epoch == credential_ref.auth_epoch else None
    if credential_ref.family_id:
        family = _live_family(credential_ref.family_id, credential_ref.user_id, credential_ref.auth_epoch)
        return principals.of_family(family, expires_at=credential_ref.expires_at) if family else None
    if credential_ref.session_key:
        user = browser_sessions.user_of(credential_ref.session_key)
        same = user is not None and (user.pk, user.auth_epoch) == (credential_ref.user_id, credential_ref.auth_epoch)
        return principals.of_session(user, credential_ref.session_key) if user is not None and same else None
    user = User.objects.filter(pk=credential_ref.user_id, is_active=True, auth_epoch=credential_ref.auth_epoch).first()
    return principals.of_account(user, expires_at=credential_ref.expires_at) if user else None


def filter_valid(credential_refs: Iterable[CredentialRef]) -> set[CredentialRef]:
    """Return the references that are valid now.

    It takes one query for each kind of credential, and one for each browser session.
    """
    now = timezone.now().timestamp()
    unexpired = {one for one in credential_refs if one.expires_at is None or one.expires_at > now}
    live: set[tuple[object, UUID, int]] = set()  # credential, user, the epoch that both are in
    if ids := {one.key_id for one in unexpired if one.key_id}:
        live |= set(ApiKey.objects.live().filter(pk__in=ids).values_list("pk", "user_id", "user__auth_epoch"))
    if ids := {one.family_id for one in unexpired if one.family_id and not one.key_id}:
        families = TokenFamily.objects.live().filter(pk__in=ids, user__is_active=True, user__auth_epoch=F("auth_epoch"))
        live |= set(families.values_list("pk", "user_id", "auth_epoch"))
    for session_key in {one.session_key for one in unexpired if one.session_key}:
        if user := browser_sessions.user_of(session_key):
            live.add((session_key, user.pk, user.auth_epoch))
    if ids := {one.user_id for one in unexpired if _anchor(one) == one.user_id}:
        live |= {(pk, pk, epoch) for pk, epoch in User.objects.filter(pk__in=ids, is_active=True).values_list("pk", "auth_epoch")}
    return _with_permission({one for one in unexpired if (_anchor(one), one.user_id, one.auth_epoch) in live})


def _anchor(credential_ref: CredentialRef) -> object:
    return credential_ref.key_id or credential_ref.family_id or credential_ref.session_key or credential_ref.user_id


def _with_permission(credential_refs: set[CredentialRef]) -> set[CredentialRef]:
    users = User.objects.in_bulk({one.user_id for one in credential_refs if one.permission})
    return {one for one in credential_refs if not one.permission or (one.user_id in users and has_permission(users[one.user_id], one))}


def has_permission(user: User, credential_ref: CredentialRef) -> bool:
    """Return whether this user has the permission that the reference requires, by the kind of credential."""
    if credential_ref.key_id or not user.is_active:
        return False
    return user.is_admin or (credential_ref.session_key is not None and user.is_staff and user.has_perm(credential_ref.permission))


def _live_family(family_id: UUID, user_id: UUID, epoch: int) -> TokenFamily | None:
    live = TokenFamily.objects.live().select_related("user")
    return live.filter(pk=family_id, user_id=user_id, auth_epoch=epoch, user__is_active=True, user__auth_epoch=epoch).first()
