"""Secrets at rest: encrypted with the newest of ENCRYPTION_KEYS, readable with any of them."""

from __future__ import annotations

import base64
from functools import lru_cache

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from django.conf import settings

from aiagents.core.errors import AppError


class SecretUnreadable(AppError):
    code = "secret_unreadable"
    message = "A stored secret cannot be read with the present ENCRYPTION_KEYS; staff must enter it again."


def encrypt(secret: str) -> str:
    """The secret as it may stand in the database; empty stays empty."""
    return _fernet(tuple(settings.ENCRYPTION_KEYS), settings.SECRET_KEY).encrypt(secret.encode()).decode() if secret else ""


def decrypt(stored: str) -> str:
    """The secret again. SecretUnreadable when its key is gone."""
    if not stored:
        return ""
    try:
        return _fernet(tuple(settings.ENCRYPTION_KEYS), settings.SECRET_KEY).decrypt(stored.encode()).decode()
    except InvalidToken as exc:
        raise SecretUnreadable() from exc


def rotate(stored: str) -> str:
    """The same secret under the newest key."""
    return encrypt(decrypt(stored))


@lru_cache(maxsize=4)
def _fernet(keys: tuple[str, ...], secret_key: str) -> MultiFernet:
    """Without keys of its own an installation derives one from SECRET_KEY, which then must not change."""
    derived = HKDF(SHA256(), 32, salt=None, info=b"aiagents secrets at rest").derive(secret_key.encode())
    return MultiFernet([*(Fernet(key) for key in keys), Fernet(base64.urlsafe_b64encode(derived))])
