"""WebSocket tickets for browsers, which cannot set headers there: 256 bits, good once, for 30 seconds, stored hashed."""

from __future__ import annotations

import hashlib
import re
import secrets
from dataclasses import asdict
from uuid import UUID

import orjson
import redis

from accounts.principals import Principal, Standing
from aiagents.lib import valkey
from aiagents.lib.errors import NotAuthenticated, Unavailable

LIFE_SECONDS = 30
_SHAPE = re.compile(r"[A-Za-z0-9_-]{43}")


def issue(principal: Principal) -> str:
    """A new ticket for this principal. It ends with the credential that asked for it. Valkey away: `Unavailable`."""
    ticket = secrets.token_urlsafe(32)
    try:
        valkey.sync_client().set(_key(ticket), orjson.dumps(asdict(Standing.of(principal))), ex=LIFE_SECONDS)
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
    facts = orjson.loads(stored)
    for name in ("user_id", "key_id", "family_id"):
        facts[name] = UUID(facts[name]) if facts[name] else None
    return Standing(**facts)


def _key(ticket: str) -> str:
    return "ticket:" + hashlib.sha256(ticket.encode()).hexdigest()
