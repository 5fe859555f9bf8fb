"""The chat over HTTP: send, stream, re-attach, cancel, branches, idempotency, and what is refused."""

from __future__ import annotations

import asyncio
import base64

import pytest

from accounts import keys
from accounts.models import ApiKey
from aiagents.core.db.calls import in_db
from aiagents.core.live import credential_watch
from billing.budgets import budgets
from billing.models import Hold, UsageLog
from chat.models import Conversation, Message
from chat.tests.caller import call, whole
from tests.kit.waiting import until

API = "/api/v1/chat/"
ASK = {"content": "Name three rivers", "model": "gpt-4o-mini"}
SLOW = {"content": "[[sim:chunks=400,pace=10]] Go", "model": "gpt-4o-mini"}
SSE = {"accept": "text/event-stream"}
PNG = base64.b64encode(b"\x89PNG\r\n\x1a\n" + b"\0" * 40).decode()


@pytest.fixture
def foreign_key(stranger, models) -> str:
    return keys.create(stranger, name="t", scopes=["chat"])[1]


async def test_send_answers_whole(key, vendors):
    async with vendors():
        answer = await whole("POST", API + "send", ASK, key=key)
    assert answer.status == 200, answer.body
    body = answer.json
    assert body["user_message"]["content"] == "Name three rivers" and body["user_message"]["role"] == "user"
    message = body["message"]
    assert (
        message["status"] == "complete" and message["content"] and message["model"] == "gpt-4o-mini" and message["finish_reason"] == "stop"
    )
    assert set(message["usage"]) == {"input_tokens", "cached_input_tokens", "output_tokens", "reasoning_tokens"}
    assert isinstance(message["cost_usd"], str) and "." in message["cost_usd"] and message["route"]["model"] == "gpt-4o-mini"
    log = await UsageLog.objects.aget(message_id=message["id"])
    assert (
        log.surface == "rest" and log.request_id == answer.headers["x-request-id"] and str(log.conversation_id) == body["conversation_id"]
    )


async def test_stream_is_the_same_turn_as_events(key, vendors):
    async with vendors():
        answer = await whole("POST", API + "stream", ASK, key=key)
    assert answer.status == 200 and answer.headers["content-type"].startswith("text/event-stream")
    assert [seq for seq, _, _ in answer.events] == list(range(len(answer.events)))
    assert answer.events[0][1] == "message.start" and answer.events[-1][1] == "message.end"
    text = "".join(data["text"] for _, kind, data in answer.events if kind == "content.delta")
    end = answer.events[-1][2]
    assert end["content"] == text and answer.headers["x-message-id"] == end["id"]


async def test_a_reader_that_leaves_can_come_back_at_any_event(key, vendors):
    async with vendors():
        answer = await call("POST", API + "stream", {"content": "[[sim:chunks=20,pace=10]] Go", "model": "gpt-4o-mini"}, key=key)
        seen = await answer.read_events(4)
        await answer.hang_up()
        path = f"{API}stream/{seen[0][2]['message_id']}"
        rest = await whole("GET", path, key=key, headers={"last-event-id": str(seen[-1][0])})
        full = await whole("GET", path, key=key)
        assert seen + rest.events == full.events and full.events[-1][1] == "message.end"
        for after in range(-1, len(full.events) + 2):
            part = await whole("GET", f"{path}?after={after}", key=key)
            assert part.events == (full.events[after + 1 :] or full.events[-1:])
        for nonsense in ("x", "-2", "1e3", "٣", "9" * 30):
            assert (await whole("GET", path, key=key, headers={"last-event-id": nonsense})).status in (400, 431) or not nonsense.isascii()
    assert await UsageLog.objects.acount() == 1


async def test_cancel_answers_with_what_was_written(key, vendors):
    async with vendors():
        stream = await call("POST", API + "stream", SLOW, key=key)
        id = (await stream.read_events(3))[0][2]["message_id"]
        answer = await whole("POST", f"{API}messages/{id}/cancel", key=key)
        await stream.read()
        assert answer.status == 200 and answer.json["message"]["status"] == "cancelled"
        assert stream.events[-1][1] == "message.end" and stream.events[-1][2] == answer.json["message"]
        again = await whole("POST", f"{API}messages/{id}/cancel", {}, key=key)
        assert again.json == answer.json


async def test_regenerate_and_edit_make_siblings_and_overwrite_nothing(key, vendors):
    async with vendors():
        first = (await whole("POST", API + "send", {**ASK, "temperature": 0.5}, key=key)).json
        other = await whole("POST", f"{API}messages/{first['message']['id']}/regenerate", {}, key=key)
        assert other.status == 200, other.body
        assert other.json["user_message"] == first["user_message"] and other.json["message"]["parent_id"] == first["user_message"]["id"]
        edited = await whole("POST", f"{API}messages/{first['user_message']['id']}/edit", {"content": "Name lakes"}, key=key, headers=SSE)
        assert edited.headers["content-type"].startswith("text/event-stream") and edited.events[-1][1] == "message.end"
        wrong = await whole("POST", f"{API}messages/{first['message']['id']}/edit", {"content": "x"}, key=key)
        assert wrong.status == 404
    rows = [row async for row in Message.objects.order_by("id")]
    assert [row.role for row in rows] == ["user", "assistant", "assistant", "user", "assistant"]
    assert rows[0].parent_id is None is rows[3].parent_id and rows[2].options["temperature"] == 0.5
    assert str((await Conversation.objects.aget()).leaf_id) == edited.events[-1][2]["id"]


async def test_route_explains_and_calls_nobody(key, vendors):
    async with vendors() as sim:
        answer = await whole("POST", API + "route", {"content": "Hello", "model": "auto", "goal": "cheapest"}, key=key)
        assert answer.status == 200, answer.body
        assert answer.json["candidates"] and not sim.requests
    assert await Message.objects.acount() == await Hold.objects.acount() == await UsageLog.objects.acount() == 0


async def test_one_idempotency_key_makes_one_turn(key, foreign_key, vendors):
    once = {"idempotency-key": "k-1"}
    async with vendors():
        first = await whole("POST", API + "send", ASK, key=key, headers=once)
        again = await whole("POST", API + "send", ASK, key=key, headers=once)
        assert again.body == first.body and again.headers["idempotent-replayed"] == "true" and "idempotent-replayed" not in first.headers
        assert (await whole("POST", API + "send", {**ASK, "content": "Other"}, key=key, headers=once)).status == 409
        assert (await whole("POST", API + "send", ASK, key=foreign_key, headers=once)).json["message"]["id"] != first.json["message"]["id"]
        stream = await call("POST", API + "stream", SLOW, key=key, headers={"idempotency-key": "k-2"})
        seen = await stream.read_events(3)
        running = await whole("POST", API + "send", SLOW, key=key, headers={"idempotency-key": "k-2"})
        assert running.status == 409  # another path: another request
        twin = await call("POST", API + "stream", SLOW, key=key, headers={"idempotency-key": "k-2"})
        assert (await twin.read_events(3))[:3] == seen[:3] and twin.headers["idempotent-replayed"] == "true"
        await whole("POST", f"{API}messages/{seen[0][2]['message_id']}/cancel", key=key)
        await asyncio.gather(stream.read(), twin.read())
        assert stream.events == twin.events
    assert await UsageLog.objects.acount() == 3


async def test_fifty_at_once_with_one_key_make_one_turn(key, vendors):
    async with vendors():
        answers = await asyncio.gather(
            *(whole("POST", API + "send", ASK, key=key, headers={"idempotency-key": "burst"}) for _ in range(50))
        )
        assert {answer.status for answer in answers} <= {200, 409} and sum(answer.status == 200 for answer in answers) >= 1
    assert await Message.objects.filter(role="assistant").acount() == await UsageLog.objects.acount() == 1


async def test_a_refused_request_does_not_use_up_its_key(key, vendors):
    once = {"idempotency-key": "again"}
    async with vendors():
        assert (await whole("POST", API + "send", {**ASK, "model": "nobody"}, key=key, headers=once)).status == 404
        assert (await whole("POST", API + "send", {**ASK, "temperature": 9}, key=key, headers=once)).status == 400
        assert (await whole("POST", API + "send", ASK, key=key, headers=once)).status == 200


async def test_anothers_things_are_not_found_like_things_that_do_not_exist(key, foreign_key, vendors):
    nothing = "01a206ca-7a02-776f-87f4-f8ae3074d1a5"
    async with vendors():
        mine = (await whole("POST", API + "send", ASK, key=key)).json
        answer, question, conversation = mine["message"]["id"], mine["user_message"]["id"], mine["conversation_id"]

        async def bodies(conversation, question, answer):
            calls = [
                ("POST", "send", {**ASK, "conversation_id": conversation}),
                ("POST", "stream", {**ASK, "conversation_id": conversation}),
                ("POST", "route", {**ASK, "conversation_id": conversation}),
                ("POST", "send", {**ASK, "parent_id": answer}),
                ("GET", f"stream/{answer}", None),
                ("GET", f"stream/{question}", None),
                ("POST", f"messages/{answer}/cancel", {}),
                ("POST", f"messages/{answer}/regenerate", {}),
                ("POST", f"messages/{question}/edit", {"content": "x"}),
            ]
            found = []
            for method, path, body in calls:
                refused = await whole(method, API + path, body, key=foreign_key, headers={"x-request-id": "same-request"})
                found.append((refused.status, refused.body))
            return found

        foreign, random = await bodies(conversation, question, answer), await bodies(nothing, nothing, nothing)
        assert foreign == random and {status for status, _ in foreign} == {404}
        own = await whole("POST", API + "send", {**ASK, "conversation_id": conversation, "parent_id": nothing}, key=key)
        assert own.status == 404


async def test_without_a_credential_or_with_the_wrong_scope_nothing_happens(user, key, vendors):
    narrow = (await in_db(keys.create, user, name="b", scopes=["billing"]))[1]
    reader = (await in_db(keys.create, user, name="r", scopes=["read"]))[1]
    async with vendors():
        mine = (await whole("POST", API + "send", ASK, key=key)).json["message"]["id"]
        assert (await whole("POST", API + "send", ASK)).status == 401
        assert (await whole("GET", API + f"stream/{mine}")).status == 401
        assert (await whole("POST", API + "send", ASK, key=narrow)).status == 403
        assert (await whole("POST", API + "send", ASK, key=reader)).status == 403
        assert (await whole("GET", API + f"stream/{mine}", key=reader)).status == 200


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "content"),
        ({"content": ""}, "content"),
        ({"content": "   "}, "content"),
        ({"content": 5}, "content"),
        ({"content": []}, "content"),
        ({"content": [{"type": "video"}]}, "content"),
        ({"content": [{"type": "text", "text": "a", "x": 1}]}, "content"),
        ({"content": [{"type": "image", "url": "http://example.com/a.png"}]}, "content"),
        ({"content": [{"type": "image", "url": "https://127.0.0.1/a.png"}]}, "content"),
        ({"content": [{"type": "image", "url": "https://2130706433/a.png"}]}, "content"),
        ({"content": [{"type": "image", "url": "https://user@example.com/a.png"}]}, "content"),
        ({"content": [{"type": "image", "url": "https://metadata.internal/a.png"}]}, "content"),
        ({"content": [{"type": "image", "data": PNG, "media_type": "image/jpeg"}]}, "content"),
        ({"content": [{"type": "image", "data": "PHN2Zz4=", "media_type": "image/svg+xml"}]}, "content"),
        ({"content": [{"type": "file", "data": "AAAA", "media_type": "application/pdf"}]}, "content"),
        ({"content": [{"type": "text", "text": "a"}] * 65}, "content"),
        ({"content": "a", "temperature": 2.5}, "temperature"),
        ({"content": "a", "temperature": True}, "temperature"),
        ({"content": "a", "max_output_tokens": 0}, "max_output_tokens"),
        ({"content": "a", "max_output_tokens": 10**9}, "max_output_tokens"),
        ({"content": "a", "max_cost_usd": "-1"}, "max_cost_usd"),
        ({"content": "a", "max_cost_usd": "NaN"}, "max_cost_usd"),
        ({"content": "a", "fallbacks": "gpt-4o"}, "fallbacks"),
        ({"content": "a", "fallbacks": ["x"] * 11}, "fallbacks"),
        ({"content": "a", "metadata": []}, "metadata"),
        ({"content": "a", "metadata": {"x": "y" * 9000}}, "metadata"),
        ({"content": "a", "goal": "worst"}, "goal"),
        ({"content": "a", "conversation_id": "nope"}, "conversation_id"),
        ({"content": "a", "role": "system"}, "role"),
        ({"content": "a", "continue": True}, "continue"),
        ({"content": "a", "api_base": "https://evil.example"}, "api_base"),
    ],
)
async def test_what_is_not_valid_is_400_and_names_the_field(key, body, field):
    answer = await whole("POST", API + "send", body, key=key)
    assert answer.status == 400, answer.body
    assert answer.error["type"] == "invalid_request" and answer.error["param"] == field and field in answer.error["details"]
    assert await Message.objects.acount() == 0


async def test_bodies_that_two_parsers_might_read_differently_are_400(key):
    for raw in (
        b"",
        b"[]",
        b"{",
        b'{"content":"a","content":"b"}',
        b'{"content":"\\u0000"}',
        b'{"content":"\\ud800"}',
        b'{"content": NaN}',
        b"[" * 10_000,
    ):
        answer = await whole("POST", API + "send", raw, key=key)
        assert answer.status == 400, (raw[:20], answer.body)


async def test_parts_with_images_and_files_reach_the_model_and_the_row(key, vendors):
    parts = [
        {"type": "text", "text": "What is this?"},
        {"type": "image", "data": PNG, "media_type": "image/png"},
        {"type": "file", "data": base64.b64encode(b"hello").decode(), "media_type": "text/plain", "name": "../../etc/passwd"},
    ]
    async with vendors() as sim:
        answer = await whole("POST", API + "send", {"content": parts, "model": "gpt-4o-mini"}, key=key)
        assert answer.status == 200, answer.body
        assert len(sim.requests) == 1
    stored = await Message.objects.aget(id=answer.json["user_message"]["id"])
    assert stored.content == "What is this?" and stored.parts[1]["data"] == PNG and stored.parts[2]["name"] == "passwd"


async def test_an_empty_budget_is_402_with_the_ids_of_what_was_saved(key, user, vendors):
    await in_db(budgets.set_limit, "user", user.id, 0)
    async with vendors() as sim:
        answer = await whole("POST", API + "send", ASK, key=key)
        assert answer.status == 402 and answer.error["type"] == "budget_exceeded" and not sim.requests
    stored = await Message.objects.aget(id=answer.error["details"]["message_id"])
    assert stored.status == "failed" and stored.error["code"] == "budget_exceeded"


async def test_a_vendor_that_fails_is_an_error_in_the_contracts_shape(key, vendors):
    async with vendors() as sim:
        sim.always("*", "500")
        answer = await whole("POST", API + "send", ASK, key=key)
        stream = await whole("POST", API + "stream", ASK, key=key)
    assert answer.status in (502, 503) and answer.error["details"]["tried"] and answer.error["details"]["message_id"]
    assert stream.status == 200 and stream.events[-1][1] == "error" and stream.events[-1][2]["error"]["code"] == answer.error["code"]


async def test_a_viewer_loses_its_view_when_its_key_is_revoked_and_the_turn_goes_on(user, key, vendors, monkeypatch):
    monkeypatch.setattr(credential_watch, "CHECK_EVERY", 0.2)
    async with vendors():
        stream = await call("POST", API + "stream", {"content": "[[sim:chunks=60,pace=30]] Go", "model": "gpt-4o-mini"}, key=key)
        id = (await stream.read_events(3))[0][2]["message_id"]
        await in_db(lambda: keys.revoke(ApiKey.objects.get(), actor=user))
        await stream.read()
        assert (
            stream.events[-1][0] is None
            and stream.events[-1][1] == "error"
            and stream.events[-1][2]["error"]["type"] == "not_authenticated"
        )
        assert (await Message.objects.aget(id=id)).status in ("pending", "streaming")
        await until(Message.objects.filter(id=id, status="complete").aexists)
