"""WebSocket tickets for browsers, which cannot set headers there: 256 bits, valid once, for 30 seconds, stored hashed.

The data of a ticket is encrypted with the ticket itself, because it may contain the key of a browser session.
"""

from __future__ import annotations

import base64
import hashlib
import re
import secrets
from dataclasses import asdict
from uuid import UUID

import orjson
import redis
from cryptography.fernet import Fernet, InvalidToken

from accounts.principals import CredentialRef, Principal
from aiagents.core.errors import NotAuthenticated, Unavailable
from aiagents.core.valkey import clients as valkey

LIFE_SECONDS = 30
_SHAPE = re.compile(r"[A-Za-z0-9_-]{43}")


def issue(principal: Principal) -> str:
    """Return a new ticket for this principal. It ends with the principal's credential.

    Raises Unavailable while Valkey is unreachable.
    """
    ticket = secrets.token_urlsafe(32)
    try:
        valkey.sync_client().set(valkey_key(ticket), _box(ticket).encrypt(orjson.dumps(asdict(principal.credential_ref))), ex=LIFE_SECONDS)
    except redis.RedisError as exc:
        raise Unavailable("Tickets cannot be issued now; send the token as the socket's first frame.") from exc
    return ticket


async def redeem(ticket: str) -> CredentialRef:
    """Return the ticket's credential reference and delete the ticket. The caller checks whether it is still valid.

    Raises NotAuthenticated for an unknown ticket, Unavailable while Valkey is unreachable.
    """
    if not _SHAPE.fullmatch(ticket):
        raise NotAuthenticated
    try:
        stored = await valkey.client().getdel(valkey_key(ticket))
    except redis.RedisError as exc:
        raise Unavailable("Tickets cannot be checked now; send the token as the socket's first frame.") from exc
    if stored is None:
        raise NotAuthenticated
    try:
        facts = orjson.loads(_box(ticket).decrypt(stored))
    except InvalidToken as exc:  # a ticket of the version before, which did not encrypt
        raise NotAuthenticated from exc
    facts.pop("right", None)  # a field of tickets of the version before
    for name in ("user_id", "key_id", "family_id"):
        facts[name] = UUID(facts[name]) if facts[name] else None
    return CredentialRef(**facts)


def _box(ticket: str) -> Fernet:
    return Fernet(base64.urlsafe_b64encode(hashlib.sha256(b"what a ticket stands for:" + ticket.encode()).digest()))


def valkey_key(ticket: str) -> str:
    return "ticket:" + hashlib.sha256(ticket.encode()).hexdigest()
