"""WebSocket tickets for browsers, which cannot set headers there: 256 bits, good once, for 30 seconds, stored hashed.

What a ticket stands for is stored encrypted with the ticket itself: of a browser session it holds the key, which is a credential.
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

from accounts.principals import Principal, Standing
from aiagents.core.errors import NotAuthenticated, Unavailable
from aiagents.core.valkey import clients as valkey

LIFE_SECONDS = 30
_SHAPE = re.compile(r"[A-Za-z0-9_-]{43}")


def issue(principal: Principal) -> str:
    """A new ticket for this principal. It ends with the credential that asked for it. Valkey away: `Unavailable`."""
    ticket = secrets.token_urlsafe(32)
    try:
        valkey.sync_client().set(_key(ticket), _box(ticket).encrypt(orjson.dumps(asdict(principal.standing))), ex=LIFE_SECONDS)
    except redis.RedisError as exc:
        raise Unavailable("Tickets cannot be given out now; send the token as the socket's first frame.") from exc
    return ticket


async def redeem(ticket: str) -> Standing:
    """What the ticket stood for; it is gone with this. Whether that still works is for the caller to ask."""
    if not _SHAPE.fullmatch(ticket):
        raise NotAuthenticated
    try:
        stored = await valkey.client().getdel(_key(ticket))
    except redis.RedisError as exc:
        raise Unavailable("Tickets cannot be checked now; send the token as the socket's first frame.") from exc
    if stored is None:
        raise NotAuthenticated
    try:
        facts = orjson.loads(_box(ticket).decrypt(stored))
    except InvalidToken as exc:  # a ticket of the version before, which did not encrypt
        raise NotAuthenticated from exc
    for name in ("user_id", "key_id", "family_id"):
        facts[name] = UUID(facts[name]) if facts[name] else None
    return Standing(**facts)


def _box(ticket: str) -> Fernet:
    return Fernet(base64.urlsafe_b64encode(hashlib.sha256(b"what a ticket stands for:" + ticket.encode()).digest()))


def _key(ticket: str) -> str:
    return "ticket:" + hashlib.sha256(ticket.encode()).hexdigest()
