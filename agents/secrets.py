"""Encrypts secrets at rest with the newest of ENCRYPTION_KEYS. Any of the keys decrypts them."""

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
    message = "A stored secret cannot be read with the current ENCRYPTION_KEYS; staff must enter it again."


def encrypt(secret: str) -> str:
    """Return the secret encrypted for the database; empty for an empty secret."""
    return _fernet(tuple(settings.ENCRYPTION_KEYS), settings.SECRET_KEY).encrypt(secret.encode()).decode() if secret else ""


def decrypt(stored: str) -> str:
    """Return the decrypted secret. Raises SecretUnreadable if its key is missing."""
    if not stored:
        return ""
    try:
        return _fernet(tuple(settings.ENCRYPTION_KEYS), settings.SECRET_KEY).decrypt(stored.encode()).decode()
    except InvalidToken as exc:
        raise SecretUnreadable() from exc


def rotate(stored: str) -> str:
    """Return the secret encrypted with the newest key."""
    return encrypt(decrypt(stored))


@lru_cache(maxsize=4)
def _fernet(keys: tuple[str, ...], secret_key: str) -> MultiFernet:
    """Return the cipher. Without ENCRYPTION_KEYS it is derived from SECRET_KEY, which then must not change."""
    derived = HKDF(SHA256(), 32, salt=None, info=b"aiagents secrets at rest").derive(secret_key.encode())
    return MultiFernet([*(Fernet(key) for key in keys), Fernet(base64.urlsafe_b64encode(derived))])
