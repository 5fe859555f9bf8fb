"""WebSocket tickets: once, soon, and no better than what they were given for."""

from __future__ import annotations

import asyncio

import pytest
import redis
import redis.asyncio
from rest_framework.test import APIClient

from accounts import keys
from accounts.authentication import authenticate, authenticate_ticket
from accounts.models import User
from accounts.sign_in import tickets, tokens
from accounts.tests.conftest import Caller, with_key
from aiagents.core.db.calls import in_db
from aiagents.core.errors import NotAuthenticated, Unavailable
from aiagents.core.valkey import clients as valkey
from tests.kit.waiting import until

TICKET = "/api/v1/auth/ws-ticket"


@pytest.fixture
def ticket(ann: Caller) -> str:
    answer = ann.post(TICKET)
    assert answer.status_code == 201 and answer["Cache-Control"] == "no-store" and answer.json()["expires_in"] == 30
    return answer.json()["ticket"]


async def test_a_ticket_is_good_once_and_lives_30_seconds(ticket: str, user: User):
    assert len(ticket) >= 22  # of 64 characters: 128 bits and more
    stored = await valkey.client().keys("ticket:*")
    assert len(stored) == 1 and ticket.encode() not in stored[0]
    assert 25 < await valkey.client().ttl(stored[0]) <= 30
    principal = await authenticate_ticket(ticket)
    assert principal.user == user and principal.family_id is not None and principal.expires_at is not None
    with pytest.raises(NotAuthenticated):
        await authenticate_ticket(ticket)


async def test_of_many_at_once_one_gets_in(ticket: str):
    found = await asyncio.gather(*(authenticate_ticket(ticket) for _ in range(20)), return_exceptions=True)
    assert sum(isinstance(one, NotAuthenticated) for one in found) == 19


async def test_an_expired_ticket_is_none(ticket: str):
    (stored,) = await valkey.client().keys("ticket:*")
    await valkey.client().pexpire(stored, 1)

    async def expired() -> bool:
        return not await valkey.client().exists(stored)

    await until(expired)
    with pytest.raises(NotAuthenticated):
        await authenticate_ticket(ticket)


async def test_a_ticket_ends_with_its_session(ticket: str, user: User):
    await in_db(user.end_sessions, reason="logout_all")
    with pytest.raises(NotAuthenticated):
        await authenticate_ticket(ticket)


async def test_a_keys_ticket_has_the_keys_scopes_and_its_end(user: User):
    key, raw = await in_db(keys.create, user, name="k", scopes=["read"])
    principal = await authenticate({"x-api-key": raw})
    first, second = [await in_db(tickets.issue, principal) for _ in range(2)]
    assert (await authenticate_ticket(first)).scopes == {"read"}
    await in_db(keys.revoke, key, actor=user)
    with pytest.raises(NotAuthenticated):
        await authenticate_ticket(second)


@pytest.mark.parametrize("wrong", ["", "x", "A" * 43, "A" * 44, "é" * 43, "\x00" * 43, "*" * 43])
async def test_a_guess_is_none(ticket: str, wrong: str):
    with pytest.raises(NotAuthenticated):
        await authenticate_ticket(wrong)


def test_a_ticket_is_for_the_authenticated_and_opens_nothing_else(ticket: str, user: User):
    assert APIClient().post(TICKET).status_code == 401
    assert with_key(ticket).post(TICKET).status_code == 401
    assert with_key(tokens.sign_in(user).refresh).post(TICKET).status_code == 401


def test_without_valkey_it_is_503(ann: Caller, monkeypatch):
    monkeypatch.setattr(valkey, "sync_client", lambda: redis.Redis.from_url("redis://127.0.0.1:1"))
    answer = ann.post(TICKET)
    assert answer.status_code == 503 and answer.json()["error"]["type"] == "unavailable"


async def test_without_valkey_a_ticket_cannot_be_checked(db, monkeypatch):
    monkeypatch.setattr(valkey, "client", lambda: redis.asyncio.Redis.from_url("redis://127.0.0.1:1"))
    with pytest.raises(Unavailable):
        await authenticate_ticket("A" * 43)
