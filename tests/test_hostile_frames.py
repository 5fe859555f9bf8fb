"""Valid frames with every node replaced, removed, renamed or doubled, on every socket of the product.

The answer is an error in the one shape, with the frame's `ref` where it has one, or what the frame asked for. The socket
lives on, except where its documentation says that it is closed.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from agents.calls import running as running_calls
from agents.simulator import Simulator
from aiagents.endpoints import CHAT_SOCKET, LIVE_SOCKET, WEBSOCKETS
from aiagents.monitoring import live
from chat.api import websocket
from chat.tests.socket import Socket
from chat.turns import running as running_turns
from tests.kit import cast
from tests.kit import catalogue as installed_catalogue
from tests.kit.hostile import corpus
from tests.kit.valid_bodies import FRAMES
from tests.kit.waiting import until

pytestmark = [pytest.mark.django_db, pytest.mark.long]
CHAT, LIVE = CHAT_SOCKET, LIVE_SOCKET
ERROR_FIELDS = {"type", "message", "code", "param", "details", "request_id"}
# Frames that end what one frame asked for; an `ack` of a turn is followed by the turn.
FINAL = ("error", "pong", "message.end")
# What a turn may end with when the request itself was in order.
NOT_OURS = {"no_model_available", "no_model_fits"}
Ids = dict[str, str]
# Seconds: the first call of a vendor loads its package, on a machine that runs other suites too.
PATIENCE = 90


@pytest.fixture
def ids(settings: Any, monkeypatch: pytest.MonkeyPatch) -> Ids:
    """The credentials of two people, and the rows of the first that a frame names."""
    settings.CHAT_TITLES, settings.RATE_LIMIT_REQUESTS = False, 1_000_000
    monkeypatch.setattr(websocket, "FRAMES_PER_SECOND", 1_000_000)
    monkeypatch.setattr(live, "EVERY", 0.0)
    installed_catalogue.load()
    ann, root = cast.person("ann@example.com"), cast.person("root@example.com", admin=True)
    rows = cast.things(ann.user)
    own = {"conversation_id": rows["conversation"], "parent_id": rows["answer"], "message_id": rows["answer"], "agent_id": rows["agent"]}
    return {name: str(value) for name, value in own.items()} | {"token": ann.token, "admin": root.token}


@pytest.fixture
def vendors(settings: Any) -> Callable[[], Any]:
    @asynccontextmanager
    async def running() -> AsyncIterator[Simulator]:
        async with Simulator(pace=0.0) as simulator:
            settings.SIMULATOR, settings.SIMULATOR_URL = True, simulator.url
            yield simulator
            await until(lambda: not running_turns.here().turns and not running_turns.here().background, PATIENCE)
            async with asyncio.timeout(PATIENCE):
                await running_calls.finish_settlements()

    return running


def valid(path: str, name: str, ids: Ids) -> dict[str, Any]:
    """The frame of the table with ids of the sender's own rows, so that all of it is really read."""
    return {field: ids.get(field, value) for field, value in FRAMES[path][name].items()}


def ref_of(frame: Any) -> str | None:
    ref = frame.get("ref") if isinstance(frame, dict) else None
    return ref if isinstance(ref, str) and len(ref) <= 200 else None


def check_error(what: str, frame: Any, answer: dict[str, Any]) -> None:
    shown = f"{what} was answered {json.dumps(answer)[:500]}"
    assert set(answer) - {"ref", "message_id", "retry_after", "seq"} == {"type", "error"}, shown
    assert set(answer["error"]) == ERROR_FIELDS, shown
    assert answer["error"]["type"] not in ("internal_error", "provider_error"), shown
    assert answer["error"]["message"] and answer["error"]["request_id"], shown
    assert answer.get("ref") == ref_of(frame), shown
    assert not corpus.LEAKS.search(json.dumps(answer).encode()), shown


async def answered(socket: Socket, what: str) -> dict[str, Any]:
    """The last frame of those that answer one frame."""
    while frame := await socket.frame(PATIENCE):
        if frame["type"] in FINAL or (frame["type"] == "ack" and "user_message_id" not in frame):
            return frame
    raise AssertionError(f"{what} closed the socket with {socket.code}")


def test_every_socket_and_frame_is_here():
    assert set(WEBSOCKETS) == set(FRAMES), "a socket without valid frames in tests/kit/valid_bodies.py"
    fields: dict[str, set[str]] = {}
    for name, frame in FRAMES[CHAT].items():
        assert name.split()[0] == frame["type"]
        fields.setdefault(frame["type"], set()).update(frame)
    assert fields.pop("auth") == websocket.AUTH_FIELDS
    assert fields == {kind: {"type", "ref", *known} for kind, known in websocket.FIELDS.items()}, "a frame or field without an entry"


@pytest.mark.parametrize("name", FRAMES[CHAT])
async def test_the_frames_are_valid(ids: Ids, vendors: Any, name: str):
    """What is refused as a whole proves nothing about its nodes."""
    async with vendors(), Socket(key="" if name == "auth" else ids["token"]) as socket:
        socket.send(valid(CHAT, name, ids))
        if name == "auth":
            socket.send({"type": "ping", "ref": "r"})
        answer = await answered(socket, name)
        assert answer["type"] != "error" and answer["ref"] == "r", answer


@pytest.mark.parametrize("name", [name for name in FRAMES[CHAT] if name != "auth"])
async def test_every_node_of_a_frame(ids: Ids, vendors: Any, name: str):
    async with vendors(), Socket(key=ids["token"]) as socket:
        for number, (what, frame) in enumerate(corpus.nested(valid(CHAT, name, ids))):
            what = f"{name} with {what}"
            socket.send(frame)
            answer = await answered(socket, what)
            if answer["type"] == "error":
                check_error(what, frame, answer)
            else:
                assert answer.get("ref") == ref_of(frame), f"{what} was answered {answer}"
            socket.send({"type": "ping", "ref": f"alive {number}"})
            assert await answered(socket, what) == {"type": "pong", "ref": f"alive {number}"}


async def test_every_node_of_the_first_frame(ids: Ids):
    """It signs in or is refused with 4401, whatever it holds."""
    for what, frame in corpus.nested(valid(CHAT, "auth", ids)):
        async with Socket() as socket:
            socket.send(frame)
            socket.send({"type": "ping", "ref": "in"})
            answer = await socket.frame()
            if frame == valid(CHAT, "auth", ids):
                assert answer == {"type": "pong", "ref": "in"}
                continue
            check_error(f"auth with {what}", None, answer)
            assert answer["error"]["type"] == "not_authenticated", (what, answer)
            assert await socket.closed() == 4401, what


async def test_every_node_of_a_frame_to_a_socket_that_reads_none(ids: Ids):
    """The figures go on as before; a frame that is too large, and more than a few frames, end it."""
    for name in FRAMES[LIVE]:
        for what, frame in corpus.nested(valid(LIVE, name, ids)):
            too_large = len(json.dumps(frame)) > live.MOST_FRAME_BYTES
            async with Socket(path=LIVE, key=ids["admin"]) as socket:
                first = await socket.frame()
                socket.send(frame)
                if too_large:
                    assert await socket.closed() == 4413, what
                    continue
                for _ in range(2):
                    after = await socket.frame()
                    assert after["type"] == "figures" and set(after) == set(first), (what, after)


async def test_fields_of_other_frames_are_refused(ids: Ids):
    """No field is dropped in silence, whichever frame it is in."""
    async with Socket(key=ids["token"]) as socket:
        for kind in websocket.FIELDS:
            frame = {**valid(CHAT, kind, ids), "unknown": 1}
            socket.send(frame)
            answer = await answered(socket, kind)
            check_error(kind, frame, answer)
            assert answer["error"]["param"] == "unknown", answer


async def test_refs_that_are_no_text(ids: Ids):
    """Python's own form of a value is never sent back."""
    async with Socket(key=ids["token"]) as socket:
        for kind in (*websocket.FIELDS, "nothing"):
            for ref in (1, True, 10**400, {"a": [1]}, ["x"], 0.5, "x" * 201):
                socket.send({"type": kind, "ref": ref})
                answer = await answered(socket, kind)
                check_error(f"{kind} with ref {str(ref)[:20]}", None, answer)
                assert answer["error"]["param"] == "ref", answer
