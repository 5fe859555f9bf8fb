"""A viewer that has seen more than stands gets message.rewind before anything else: the process that wrote it died."""

from __future__ import annotations

import asyncio
import json

import pytest

from accounts import keys
from accounts.authentication import authenticate
from accounts.models import ApiKey
from aiagents.core.db import calls
from aiagents.core.live import event_log as core_log
from aiagents.core.live import liveness, log_writer
from aiagents.core.live.event_log import Line
from aiagents.core.valkey import clients as valkey
from chat.models import Message
from chat.tests.caller import call, whole
from chat.tests.conftest import begin, collect, quiet
from chat.tests.making import left_behind
from chat.tests.socket import Socket
from chat.turns import running as running_turns
from chat.turns import service as turns
from chat.turns import stored
from chat.turns.stored import event_log
from tests.kit.waiting import until

# Text whose length differs in code points, in UTF-16 units and in bytes.
WORDS = ["héllo ", "🌍🌍 ", "wörld ", "𝔘nicode "]
THOUGHT = "hm 🤔"
CALL = {"call_id": "c1", "name": "calculator", "arguments": "{}"}


@pytest.fixture
def key(user) -> str:
    return keys.create(user, name="all", scopes=ApiKey.Scope.values)[1]


@pytest.fixture(autouse=True)
def short_catch_up(monkeypatch):
    monkeypatch.setattr(core_log, "CATCH_UP_SECONDS", 0.1)


def lines() -> list[Line]:
    """A start, some reasoning, a tool call, and the words."""
    found = [
        ("message.start", {"model": "m", "provider": "p", "route": {}}),
        ("reasoning.delta", {"text": THOUGHT}),
        ("tool.call", CALL),
        *(("content.delta", {"text": word}) for word in WORDS),
    ]
    return [(seq, kind, json.dumps(data).encode()) for seq, (kind, data) in enumerate(found)]


async def dead_turn(user) -> tuple[Message, int]:
    """A turn whose process is gone, with its log; and the seq of the last event in it."""
    answer = await calls.in_db(lambda: left_behind(user, content="", last_seq=0))
    await event_log.write({answer.id: (lines(), True)})
    return answer, len(lines()) - 1


def rewound(last: int) -> dict[str, int]:
    return {"seq": last, "length": len("".join(WORDS)), "reasoning_length": len(THOUGHT), "steps": 1}


@pytest.mark.parametrize("swept_first", [False, True], ids=["before the sweep", "after the sweep"])
@pytest.mark.parametrize("ahead", [1, 2, 25, 10_000])
async def test_on_both_carriers_a_later_id_is_answered_with_what_stands_and_then_the_end(user, key, ahead, swept_first):
    answer, last = await dead_turn(user)
    if swept_first:
        assert await calls.in_db(turns.sweep) == 1
    path = f"/api/v1/chat/stream/{answer.id}"
    asking = await call("GET", path, key=key, headers={"last-event-id": str(last + ahead)})
    async with Socket(key=key) as socket:
        socket.send({"type": "resume", "message_id": str(answer.id), "after": last + ahead})
        first = await socket.frame()
        assert first == {"type": "message.rewind", "message_id": str(answer.id), **rewound(last)}
        if not swept_first:
            await asking.read_events(1)  # the other viewer is rewound, too
            assert await calls.in_db(turns.sweep) == 1
        end = await socket.frame()
        assert (end["type"], end["seq"], end["error"]["code"]) == ("error", last + 1, "interrupted")
    events = (await asking.read()).events
    assert events[0] == (last, "message.rewind", rewound(last))
    assert [(seq, kind) for seq, kind, _ in events[1:]] == [(last + 1, "error")]
    stored = await Message.objects.aget(id=answer.id)
    assert events[1][2]["message"]["content"] == stored.content == "".join(WORDS)


async def test_the_frame_names_its_seq_once(user, key):
    answer, last = await dead_turn(user)
    async with Socket(key=key) as socket:
        socket.send({"type": "resume", "message_id": str(answer.id), "after": last + 3})
        raw = (await asyncio.wait_for(socket.outbox.get(), 10))["text"]
    assert raw.count('"seq"') == 1


@pytest.mark.parametrize("after", range(-1, len(lines()) - 1))
async def test_who_has_seen_no_more_than_stands_is_not_rewound(user, key, after):
    answer, last = await dead_turn(user)
    await calls.in_db(turns.sweep)
    events = (await whole("GET", f"/api/v1/chat/stream/{answer.id}?after={after}", key=key)).events
    assert [seq for seq, _, _ in events] == list(range(after + 1, last + 2))
    assert "message.rewind" not in [kind for _, kind, _ in events]


async def test_a_log_that_is_only_late_costs_nobody_a_rewind(user, key, monkeypatch):
    monkeypatch.setattr(core_log, "CATCH_UP_SECONDS", 20)
    answer, last = await dead_turn(user)
    asking = asyncio.create_task(whole("GET", f"/api/v1/chat/stream/{answer.id}?after={last + 1}", key=key))
    await asyncio.sleep(0.1)  # the viewer finds the log short of what it has seen
    late = [(last + 1, "content.delta", b'{"text":"more"}'), (last + 2, "error", b'{"error":{},"message":{}}')]
    await event_log.write({answer.id: (late, False)})
    assert [(seq, kind) for seq, kind, _ in (await asking).events] == [(last + 2, "error")]


async def test_without_its_log_the_row_says_what_stands(user, key):
    answer, last = await dead_turn(user)
    await calls.in_db(turns.sweep)
    await valkey.client().delete(event_log.key(answer.id))
    events = (await whole("GET", f"/api/v1/chat/stream/{answer.id}?after={last + 7}", key=key)).events
    assert [(seq, kind) for seq, kind, _ in events] == [(last, "message.rewind"), (last + 1, "error")]
    assert events[0][2] == rewound(last)


async def test_a_viewer_of_the_log_is_rewound_where_the_log_is_lost_and_the_row_has_less(user):
    answer = await calls.in_db(lambda: left_behind(user, content="héllo 🌍", last_seq=3))
    await event_log.write({answer.id: (lines(), True)})
    seen: list[Line] = []

    async def watch() -> None:
        async for line in stored.follow(answer.id):
            seen.append(line)

    watching = asyncio.create_task(watch())
    await until(lambda: len(seen) >= len(lines()))
    await valkey.client().delete(event_log.key(answer.id))
    await calls.in_db(turns.sweep)
    await asyncio.wait_for(watching, 20)
    assert [(seq, kind) for seq, kind, _ in seen[len(lines()) :]] == [(3, "message.rewind"), (4, "error")]
    assert json.loads(seen[-2][2])["length"] == len("héllo 🌍")


async def test_a_running_turn_goes_on_after_the_rewind(principal, vendors):
    async with vendors():
        turn = await begin(principal, "[[sim:chunks=30,pace=10]] Go")
        await until(lambda: turn.logged >= 5)
        seen = await collect(await turns.attach(principal, turn.message_id, 5_000))
        last, kind, data = seen[0]
        whole_turn = await collect(turn.view())
        await quiet()
    assert kind == "message.rewind" and json.loads(data)["seq"] == last and seen[1:] == whole_turn[last + 1 :]
    text = "".join(json.loads(data)["text"] for seq, kind, data in whole_turn if kind == "content.delta" and seq <= last)
    assert json.loads(data)["length"] == len(text)


# --- how far a viewer may be ahead of the log -------------------------------------------------------


async def test_a_viewer_is_never_further_ahead_of_the_log_than_the_bound(principal, vendors, settings):
    settings.TURN_LOG_MOST_AHEAD, settings.TURN_LOG_BATCH_SECONDS = 8, 2.0  # only viewers that wait make it be written
    settings.PROGRESS_INTERVAL_SECONDS = 20.0
    async with vendors():
        turn = await begin(principal, "[[sim:chunks=200,pace=1]] Go")
        ahead = [line[0] - turn.logged async for line in turn.view() if not turn.ended]
    assert max(ahead) < 8 and len(ahead) > 16


async def test_a_log_that_is_away_or_stalls_holds_a_viewer_up_once(principal, vendors, settings, monkeypatch):
    settings.TURN_LOG_MOST_AHEAD, settings.PROGRESS_INTERVAL_SECONDS = 2, 0.2

    async def never(_self) -> None:
        await asyncio.sleep(3600)

    monkeypatch.setattr(log_writer.LogWriter, "_write", never)
    monkeypatch.setattr(liveness, "LOG_PATIENCE_SECONDS", 0.2)
    async with vendors():
        turn = await begin(principal, "[[sim:chunks=40,pace=5]] Go")
        async with asyncio.timeout(10):
            seen = [line async for line in turn.view()]
        assert seen[-1][1] == "message.end" and [line[0] for line in seen] == list(range(len(seen)))
    for task in running_turns.here()._tasks.values():
        task.cancel()


async def test_a_row_that_followed_further_than_the_log_is_what_stands(user, key):
    answer, last = await dead_turn(user)
    text = "".join(WORDS) + "and more 🌍"
    await Message.objects.filter(id=answer.id).aupdate(content=text, reasoning=THOUGHT, last_seq=last + 4)
    for after, expected in ((last + 3, None), (last + 4, None), (last + 9, {"seq": last + 4, "length": len(text)})):
        lines = await turns.attach(await _principal(key), answer.id, after)
        asking = asyncio.create_task(collect(lines))
        await asyncio.sleep(0.3)  # the viewer finds the log short of what it has seen
        if after == last + 3:
            await calls.in_db(turns.sweep)
        found = await asyncio.wait_for(asking, 20)
        kinds = [kind for _, kind, _ in found]
        if expected is None and after < last + 5:
            assert kinds[-1] == "error" and "message.rewind" not in kinds
        else:
            assert kinds == ["message.rewind", "error"] and json.loads(found[0][2]).items() >= expected.items()
        end = json.loads(found[-1][2])["message"]
        assert end["content"] == text and len(end["steps"]) == 1


async def _principal(key: str):
    return await authenticate({"authorization": f"Bearer {key}"})
