"""The chat over one WebSocket: several turns at once, who may open it, and what ends it."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
import redis
from channels.layers import get_channel_layer
from channels_redis.core import RedisChannelLayer

from accounts import keys
from accounts.authentication import Principal
from accounts.models import ApiKey
from accounts.sign_in import tickets
from aiagents.core.db.calls import in_db
from aiagents.core.live import credential_watch
from billing.models import UsageLog
from chat.api import socket_sign_in
from chat.models import Message
from chat.tests.conftest import quiet
from chat.tests.socket import Refused, Socket
from tests.kit.waiting import until

ASK = {"type": "send", "content": "Name three rivers", "model": "gpt-4o-mini"}
# One credential in a URL, as many ways as frameworks would read it.
IN_A_URL = [
    "token", "t%6fken", "%74%6f%6b%65%6e", "%2574oken", "TOKEN", "To%4ben", "access_token", "access%5Ftoken", "x=1&t%6Fken", "x=1;token",
    "api_key", "api%5fkey", "API-KEY", "apikey", "x-api-key", "authorization", "bearer", "jwt", "password", "secret", "ticket",
    "auth[token]", "anything",
]  # fmt: skip
SLOW = {"type": "send", "content": "[[sim:chunks=300,pace=10]] Go", "model": "gpt-4o-mini"}


@pytest.fixture
def key(user, models) -> str:
    return keys.create(user, name="t", scopes=["chat"])[1]


async def test_a_turn_is_acknowledged_and_told_event_by_event(key, vendors):
    async with vendors(), Socket(key=key) as socket:
        socket.send({**ASK, "ref": "r1"})
        frames = await socket.until("message.end", "error")
    ack, events = frames[0], frames[1:]
    assert ack["type"] == "ack" and ack["ref"] == "r1"
    assert [frame["seq"] for frame in events] == list(range(len(events)))
    assert all(frame["message_id"] == ack["message_id"] and frame["ref"] == "r1" for frame in events)
    assert events[0]["type"] == "message.start" and events[0]["user_message_id"] == ack["user_message_id"]
    end = events[-1]
    assert end["type"] == "message.end" and end["id"] == ack["message_id"] and end["conversation_id"] == ack["conversation_id"]
    assert end["content"] == "".join(frame["text"] for frame in events if frame["type"] == "content.delta")
    assert (await UsageLog.objects.aget()).surface == "ws"


async def test_several_turns_run_at_once_and_one_is_cancelled(key, vendors):
    async with vendors(), Socket(key=key) as socket:
        socket.send({**SLOW, "ref": "slow"})
        slow = (await socket.until("content.delta"))[0]["message_id"]
        socket.send({**ASK, "ref": "quick"})
        frames = await socket.until("message.end")
        assert frames[-1]["ref"] == "quick" and frames[-1]["status"] == "complete"
        socket.send({"type": "cancel", "message_id": slow, "ref": "c"})
        end = (await socket.until("message.end"))[-1]
        assert end["ref"] == "slow" and end["status"] == "cancelled" and end["content"]
        assert (await socket.until("ack"))[-1] == {"type": "ack", "ref": "c", "message_id": slow, "status": "cancelled"}


async def test_a_socket_that_leaves_can_resume_on_another(key, vendors):
    async with vendors():
        async with Socket(key=key) as socket:
            socket.send({**ASK, "content": "[[sim:chunks=30,pace=10]] Go"})
            seen = await socket.until("content.delta")
            id, last = seen[0]["message_id"], seen[-1]["seq"]
        async with Socket(key=key) as socket:
            socket.send({"type": "resume", "message_id": id, "after": last})
            rest = await socket.until("message.end")
            assert [frame["seq"] for frame in rest] == list(range(last + 1, last + 1 + len(rest)))
            await quiet()
            socket.send({"type": "resume", "message_id": id, "ref": "all"})
            whole = await socket.until("message.end")
            assert [frame["seq"] for frame in whole] == list(range(len(whole)))
            assert whole[-1] == {**rest[-1], "ref": "all"}


async def test_ping_is_answered(key):
    async with Socket(key=key) as socket:
        socket.send({"type": "ping"})
        assert await socket.frame() == {"type": "pong"}


async def test_hostile_frames_are_answered_and_the_socket_lives(key, stranger, vendors):
    nothing = "01a206ca-7a02-776f-87f4-f8ae3074d1a5"
    hostile = [
        "", "{", "[]", "null", '"x"', b"\x00\x01", '{"type":"send","type":"send"}', '{"type":"nope"}', '{"type":7}', '{"type":"send"}',
        '{"type":"send","content":"\\u0000"}', '{"type":"send","content":"a","ref":[]}',
        '{"type":"send","content":"a","ref":"' + "x" * 300 + '"}',
        '{"type":"cancel"}', '{"type":"cancel","message_id":"x"}', '{"type":"resume","message_id":"' + nothing + '","after":-2}',
        '{"type":"resume","message_id":"' + nothing + '"}', '{"type":"cancel","message_id":"' + nothing + '"}',
        '{"type":"send","content":"a","token":"x"}',
        "[" * 90_000, '{"type":"send","content":"a","temperature":NaN}', '{"type":"resume","message_id":"' + nothing + '","x":1}',
    ]  # fmt: skip
    async with vendors(), Socket(key=key) as socket:
        for frame in hostile:
            socket.send(frame)
            answer = await socket.frame()
            assert answer["type"] == "error" and set(answer["error"]) >= {"type", "message", "code", "request_id"}, (frame, answer)
        socket.send({"type": "ping", "ref": "alive"})
        assert await socket.frame() == {"type": "pong", "ref": "alive"}
    assert await Message.objects.acount() == 0


async def test_anothers_messages_are_not_found(key, stranger, vendors):
    foreign = (await in_db(keys.create, stranger, name="t", scopes=["chat"]))[1]
    async with vendors():
        async with Socket(key=key) as socket:
            socket.send(ASK)
            mine = (await socket.until("message.end"))[-1]
        async with Socket(key=foreign) as socket:
            for frame in (
                {"type": "resume", "message_id": mine["id"]},
                {"type": "cancel", "message_id": mine["id"]},
                {**ASK, "conversation_id": mine["conversation_id"]},
            ):
                socket.send(frame)
                assert (await socket.frame())["error"]["type"] == "not_found"


async def test_a_frame_over_the_limit_closes_with_4413(key, settings):
    async with Socket(key=key) as socket:
        socket.send("x" * (settings.MAX_FRAME_BYTES + 1))
        assert await socket.closed() == 4413


async def test_a_flood_of_frames_closes_with_4429(key):
    async with Socket(key=key) as socket:
        for _ in range(500):
            socket.send({"type": "ping"})
        assert await socket.closed() == 4429


async def test_too_many_sockets_of_one_user_close_with_4429(key, monkeypatch):
    monkeypatch.setattr(socket_sign_in, "MOST_SOCKETS_PER_USER", 2)
    async with Socket(key=key) as one, Socket(key=key) as two:
        for socket in (one, two):
            socket.send({"type": "ping"})
            assert (await socket.frame())["type"] == "pong"
        async with Socket(key=key) as three:
            assert await three.closed() == 4429
    async with Socket(key=key) as again:
        again.send({"type": "ping"})
        assert (await again.frame())["type"] == "pong"


async def test_the_first_frame_may_sign_in(key):
    async with Socket() as socket:
        socket.send({"type": "auth", "token": key})
        socket.send({"type": "ping"})
        assert (await socket.frame())["type"] == "pong"


@pytest.mark.parametrize(
    "frame", [{"type": "auth", "token": "nonsense"}, {"type": "ping"}, {"type": "auth"}, "{", {"type": "auth", "token": 7}, ASK]
)
async def test_a_first_frame_that_does_not_sign_in_closes_with_4401(db, frame):
    async with Socket() as socket:
        socket.send(frame)
        assert (await socket.frame())["error"]["type"] == "not_authenticated"
        assert await socket.closed() == 4401


async def test_no_sign_in_in_time_closes_with_4408(db, monkeypatch):
    monkeypatch.setattr(socket_sign_in, "AUTH_SECONDS", 0.1)
    async with Socket() as socket:
        assert await socket.closed() == 4408


async def test_a_wrong_header_or_a_token_in_the_url_closes_with_4401(db, key):
    async with Socket(key="aia_wrong") as socket:
        assert await socket.closed() == 4401
    async with Socket(query=f"token={key}".encode()) as socket:
        assert await socket.closed() == 4401


@pytest.mark.parametrize("spelling", IN_A_URL)
async def test_a_credential_in_the_url_closes_however_its_name_is_spelt_and_beside_a_good_header(db, key, spelling: str):
    async with Socket(key=key, query=f"{spelling}={key}".encode()) as socket:
        assert await socket.closed() == 4401


async def test_a_ticket_opens_one_socket_once(user, db):
    ticket = await in_db(tickets.issue, Principal(user, user.auth_epoch))
    async with Socket(origin="http://testserver", protocols=("aiagents.v1", f"ticket.{ticket}")) as socket:
        assert socket.subprotocol == "aiagents.v1"
        socket.send({"type": "ping"})
        assert (await socket.frame())["type"] == "pong"
    async with Socket(origin="http://testserver", protocols=("aiagents.v1", f"ticket.{ticket}")) as socket:
        assert await socket.closed() == 4401


@pytest.mark.parametrize(
    "origin",
    ["https://evil.example", "null", "http://testserver:8888", "https://testserver", "chrome-extension://testserver", "http://testserver.evil.example",
     "http://eviltestserver", "http://user@testserver", "http://testserver/path", "file://", "", "http://[", "http://testserver@evil.example"],
)  # fmt: skip
async def test_a_foreign_origin_is_refused_in_the_handshake(key, origin):
    with pytest.raises(Refused):
        async with Socket(key=key, origin=origin):
            pass


async def test_own_and_listed_origins_may_open_it(key, settings):
    settings.WEBSOCKET_ORIGINS = ["https://chat.example.com"]
    for origin in (None, "http://testserver", "http://testserver:80", settings.SITE_URL, "https://chat.example.com"):
        async with Socket(key=key, origin=origin) as socket:
            socket.send({"type": "ping"})
            assert (await socket.frame())["type"] == "pong"


async def test_a_host_that_is_not_ours_is_no_own_origin(key):
    with pytest.raises(Refused):
        async with Socket(key=key, origin="http://rebound.example", host="rebound.example"):
            pass


async def test_a_revoked_key_ends_the_socket_and_not_the_turn(user, key, vendors, monkeypatch):
    monkeypatch.setattr(credential_watch, "CHECK_EVERY", 0.2)
    async with vendors(), Socket(key=key) as socket:
        socket.send({**SLOW, "content": "[[sim:chunks=60,pace=30]] Go"})
        id = (await socket.until("content.delta"))[0]["message_id"]
        await in_db(lambda: keys.revoke(ApiKey.objects.get(), actor=user))
        assert await socket.closed(5) == 4401
        await until(Message.objects.filter(id=id, status="complete").aexists)


async def test_a_key_without_the_scope_is_refused(user, models):
    narrow = (await in_db(keys.create, user, name="b", scopes=["billing"]))[1]
    async with Socket(key=narrow) as socket:
        assert (await socket.frame())["error"]["code"] == "scope_missing"
        assert await socket.closed() == 4401


async def test_frames_are_json_that_a_strict_parser_takes(key, vendors):
    async with vendors(), Socket(key=key) as socket:
        socket.send({**ASK, "ref": 'quote " and \\ and ü'})
        while True:
            message = await asyncio.wait_for(socket.outbox.get(), 10)
            frame = json.loads(message["text"], object_pairs_hook=_no_twins)
            assert frame["ref"] == 'quote " and \\ and ü'
            if frame["type"] == "message.end":
                break


def _no_twins(found):
    assert len(dict(found)) == len(found)
    return dict(found)


async def test_another_path_is_refused(db):
    with pytest.raises(Refused):
        async with Socket(path="/api/v1/nothing"):
            pass


# --- the channel layer ----------------------------------------------------------------------------


async def test_a_socket_survives_an_error_of_its_channel_layer(user: Any, key: str, monkeypatch: pytest.MonkeyPatch):
    failed: list[str] = []

    def failing(name: str) -> Any:
        async def fails(*_: Any, **__: Any) -> None:
            failed.append(name)
            raise redis.ConnectionError

        return fails

    for name in ("receive", "group_add"):
        monkeypatch.setattr(RedisChannelLayer, name, failing(name))
    async with Socket(key=key, protocols=("aiagents.v1", "aiagents-news")) as socket:
        await until(lambda: set(failed) == {"receive", "group_add"})
        socket.send({"type": "ping", "ref": "1"})
        assert await socket.frame() == {"type": "pong", "ref": "1"}


async def test_a_socket_is_in_the_group_of_its_user_and_ignores_what_it_does_not_know(user: Any, key: str, caplog: Any):
    layer = get_channel_layer()

    async def ignored() -> bool:
        await layer.group_send(f"user.{user.id}", {"type": "news.of.tomorrow"})
        return "socket_message_ignored" in caplog.text

    async with Socket(key=key, protocols=("aiagents.v1", "aiagents-news")) as socket:
        await until(ignored, every=0.05)
        socket.send({"type": "ping"})
        assert await socket.frame() == {"type": "pong"}
