"""Sockets, streams and bodies in the access matrix: over real sockets, A reaches nothing of B's, and no frame breaks anything.

tests/kit/access_matrix.py says who may call an endpoint and whose rows its path may name. Here: who may open which socket, and
every place beside the path where somebody else's id can be put.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect

from aiagents.endpoints import CHAT_SOCKET, LIVE_SOCKET, WEBSOCKETS
from tests.kit.endpoints import RANDOM_ID
from tests.kit.hostile.corpus import BODIES, LEAKS, VALUES
from tests.kit.servers.live import Live, launch

pytestmark = pytest.mark.long
CHAT, LIVE = CHAT_SOCKET, LIVE_SOCKET
SCOPES = ["chat", "agents", "tasks", "billing", "read", "approve"]
MODEL = "gpt-4o-mini"
# Who may open which socket; an address without a row fails the suite.
DOORS = {
    CHAT: {"user", "user's key", "key with chat", "admin", "admin's key"},
    LIVE: {"admin"},
}


@dataclass(frozen=True)
class Somebody:
    token: str
    key: str
    things: dict[str, str]


@pytest.fixture(scope="module")
def product(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    installation = launch(tmp_path_factory.mktemp("matrix"), os.environ.get("PYTEST_XDIST_WORKER", "") + "m")
    yield installation
    installation.close()


@pytest.fixture(scope="module")
def ann(product: Live) -> Somebody:
    token, key = product.new_user("ann@example.com", scopes=SCOPES)
    return Somebody(token, key, _things(product, token, key, "ann"))


@pytest.fixture(scope="module")
def bob(product: Live) -> Somebody:
    token, key = product.new_user("bob@example.com", scopes=SCOPES)
    return Somebody(token, key, _things(product, token, key, "bob"))


def _things(live: Live, token: str, key: str, name: str) -> dict[str, str]:
    """Ids of what belongs to somebody, made over the API."""

    def made(path: str, body: Any) -> Any:
        answer = live.call("POST", path, body, key=token)
        assert answer.status in (200, 201, 202), answer.body
        return answer.json

    turn = made("/api/v1/chat/send", {"content": f"a secret question of {name}", "model": MODEL})
    agent = made("/api/v1/agents/", {"name": f"{name}'s secret", "slug": f"secret-of-{name}", "model": MODEL})
    task = made("/api/v1/tasks/", {"name": f"{name}'s secret task", "input": f"a secret of {name}"})
    return {
        "conversation": turn["conversation_id"], "question": turn["user_message"]["id"], "answer": turn["message"]["id"],
        "agent": agent["id"], "slug": agent["slug"], "task": task["id"], "task_run": made(f"/api/v1/tasks/{task['id']}/run", {})["id"],
        "agent_run": made(f"/api/v1/agents/{agent['id']}/run", {"input": "Hello"})["id"],
        "key": live.call("GET", "/api/v1/auth/api-keys", key=token).json["results"][0]["id"],
    }  # fmt: skip


def opened(live: Live, credential: str, path: str = CHAT) -> ClientConnection:
    headers = {"Authorization": f"Bearer {credential}"} if credential else {}
    return connect(f"ws://127.0.0.1:{live.port}{path}", additional_headers=headers, open_timeout=10, max_size=None)


def ask(socket: ClientConnection, frame: Any) -> dict[str, Any]:
    """What one frame is answered in the end."""
    socket.send(frame if isinstance(frame, str | bytes) else json.dumps(frame))
    while True:
        said = json.loads(socket.recv(timeout=20))
        if said["type"] in ("error", "pong", "message.end", "figures") or (said["type"] == "ack" and "user_message_id" not in said):
            return said


# --- who may open a socket ------------------------------------------------------------------------


def test_every_socket_has_its_row():
    assert set(WEBSOCKETS) == set(DOORS), "a socket without a row in DOORS: say who may open it"


@pytest.mark.parametrize("path", sorted(DOORS))
def test_a_socket_opens_for_whom_its_row_says(product: Live, ann: Somebody, path: str):
    root, root_key = product.new_user(f"root{len(path)}@example.com", scopes=SCOPES)
    product.query("UPDATE accounts_user SET role = 'admin' WHERE email = %s", f"root{len(path)}@example.com")
    gone, gone_key = product.new_user(f"gone{len(path)}@example.com")
    product.query("UPDATE accounts_user SET is_active = %s WHERE email = %s", False, f"gone{len(path)}@example.com")
    credentials = {
        "user": ann.token, "user's key": ann.key, "admin": root, "admin's key": root_key, "disabled": gone, "disabled's key": gone_key,
        "garbage": "a.b.c", "no key": "aia_" + "x" * 43,
    }  # fmt: skip
    for scope in SCOPES:
        body = {"name": scope, "scopes": [scope]}
        credentials[f"key with {scope}"] = product.call("POST", "/api/v1/auth/api-keys", body, key=ann.token).json["key"]
    for who, credential in credentials.items():
        frames, code = _let_in(product, credential, path)
        assert bool(frames) is (who in DOORS[path]), f"{who} at {path}: {frames} {code}"
        if who not in DOORS[path]:
            assert code == 4401, f"{who} at {path}: {code}"


def _let_in(live: Live, credential: str, path: str) -> tuple[list[dict[str, Any]], int | None]:
    with opened(live, credential, path) as socket:
        try:
            found = ask(socket, {"type": "ping"})
            if found["type"] != "error":
                return [found], None
            socket.recv(timeout=5)
        except ConnectionClosed as closed:
            return [], closed.rcvd.code if closed.rcvd else None
    return [], None


def test_the_figures_tell_nobody_anything_of_a_frame(product: Live):
    """The live socket takes no questions: what is sent there changes nothing of what it says."""
    root, _ = product.new_user("watcher@example.com")
    product.query("UPDATE accounts_user SET role = 'admin' WHERE email = %s", "watcher@example.com")
    with opened(product, root, LIVE) as socket:
        for frame in ('{"type":"send","content":"Hello"}', "[" * 500, "nonsense"):
            assert ask(socket, frame)["type"] == "figures"
    with opened(product, root, LIVE) as socket, pytest.raises(ConnectionClosed) as closed:
        socket.send("x" * 200_000)
        while True:
            socket.recv(timeout=5)
    assert closed.value.rcvd and closed.value.rcvd.code == 4413


# --- somebody else's ids --------------------------------------------------------------------------

FRAMES: dict[str, Callable[[dict[str, str], dict[str, str]], dict[str, Any]]] = {
    "send into another's conversation": lambda his, mine: {"type": "send", "content": "x", "conversation_id": his["conversation"]},
    "send under another's answer": lambda his, mine: {"type": "send", "content": "x", "parent_id": his["answer"]},
    "send under another's answer, in an own conversation": lambda his, mine: {
        "type": "send", "content": "x", "conversation_id": mine["conversation"], "parent_id": his["answer"],
    },
    "send to another's agent": lambda his, mine: {"type": "send", "content": "x", "agent_id": his["agent"]},
    "resume another's turn": lambda his, mine: {"type": "resume", "message_id": his["answer"]},
    "resume another's question": lambda his, mine: {"type": "resume", "message_id": his["question"]},
    "cancel another's turn": lambda his, mine: {"type": "cancel", "message_id": his["answer"]},
}  # fmt: skip
# (method, path, body) of endpoints that take ids in bodies and queries.
REQUESTS: dict[str, Callable[[dict[str, str], dict[str, str]], tuple[str, str, Any]]] = {
    "chat into a conversation": lambda his, mine: ("POST", "/api/v1/chat/send", {"content": "x", "conversation_id": his["conversation"]}),
    "stream under an answer": lambda his, mine: ("POST", "/api/v1/chat/stream", {"content": "x", "parent_id": his["answer"]}),
    "chat with an agent": lambda his, mine: ("POST", "/api/v1/chat/send", {"content": "x", "agent_id": his["agent"]}),
    "route with an agent": lambda his, mine: ("POST", "/api/v1/chat/route", {"content": "x", "agent_id": his["agent"]}),
    "a task with an agent": lambda his, mine: ("POST", "/api/v1/tasks/", {"name": "x", "input": "x", "agent_id": his["agent"]}),
    "an own task given an agent": lambda his, mine: ("PATCH", f"/api/v1/tasks/{mine['task']}", {"agent_id": his["agent"]}),
    "an agent as a model": lambda his, mine: (
        "POST", "/v1/chat/completions", {"model": f"agent:{his['slug']}", "messages": [{"role": "user", "content": "x"}]},
    ),
    "an agent as a model, by id": lambda his, mine: (
        "POST", "/v1/messages", {"model": f"agent:{his['agent']}", "max_tokens": 9, "messages": [{"role": "user", "content": "x"}]},
    ),
    "an agent as a model's card": lambda his, mine: ("GET", f"/v1/models/agent:{his['slug']}", None),
    "an own task's run": lambda his, mine: ("GET", f"/api/v1/tasks/{mine['task']}/runs/{his['task_run']}", None),
    "an own task's events": lambda his, mine: ("GET", f"/api/v1/tasks/{his['task']}/events?run_id={his['task_run']}", None),
    "a turn's stream": lambda his, mine: ("GET", f"/api/v1/chat/stream/{his['answer']}", None),
    "a run's stream": lambda his, mine: ("GET", f"/api/v1/agents/runs/{his['agent_run']}/events", None),
    "an export": lambda his, mine: ("GET", f"/api/v1/chat/conversations/{his['conversation']}/export?format=markdown", None),
    "an approval": lambda his, mine: ("POST", f"/api/v1/agents/runs/{his['agent_run']}/approve", {"call_id": "call_1"}),
}  # fmt: skip
# Lists that take ids as filters: another's must give what no id gives, and never a row.
FILTERS = (
    "/api/v1/billing/usage?api_key={key}", "/api/v1/billing/usage?agent={agent}", "/api/v1/billing/usage?api_key_id={key}&group_by=day",
    "/api/v1/billing/usage/export?format=csv&api_key={key}", "/api/v1/agents/runs/?agent={agent}", "/api/v1/agents/runs/?task={task}",
    "/api/v1/chat/conversations?agent={agent}", "/api/v1/chat/conversations?search=secret+of+bob", "/api/v1/tasks/?agent={agent}",
    "/api/v1/tasks/?search=bob",
)  # fmt: skip
NOBODYS = {kind: RANDOM_ID for kind in ("conversation", "question", "answer", "agent", "task", "task_run", "agent_run", "key")} | {
    "slug": "secret-of-nobody"
}


@pytest.mark.parametrize("name", FRAMES)
def test_a_frame_with_anothers_id_is_answered_as_one_with_nobodys(product: Live, ann: Somebody, bob: Somebody, name: str):
    with opened(product, ann.token) as socket:
        his = ask(socket, {**FRAMES[name](bob.things, ann.things), "ref": "1"})
        none = ask(socket, {**FRAMES[name](NOBODYS, ann.things), "ref": "1"})
    assert his["type"] == none["type"] == "error", his
    assert _bare(his, bob.things) == _bare(none, NOBODYS) and his["error"]["type"] in ("not_found", "invalid_request")
    assert "secret" not in json.dumps(his)


@pytest.mark.parametrize("name", REQUESTS)
def test_a_request_with_anothers_id_is_answered_as_one_with_nobodys(product: Live, ann: Somebody, bob: Somebody, name: str):
    for credential in (ann.token, ann.key):
        his, none = (product.call(*REQUESTS[name](things, ann.things), key=credential) for things in (bob.things, NOBODYS))
        assert his.status == none.status and his.status in (400, 404), (his.status, his.body[:300], none.status, none.body[:300])
        assert _bare(his.json, bob.things) == _bare(none.json, NOBODYS)
        assert b"secret" not in his.body.replace(b"secret-of-bob", b"")


@pytest.mark.parametrize("path", FILTERS)
def test_a_list_filtered_by_anothers_id_shows_nothing_of_theirs(product: Live, ann: Somebody, bob: Somebody, path: str):
    his, none = (product.call("GET", path.format(**things), key=ann.token) for things in (bob.things, NOBODYS))
    assert his.status == none.status and his.status in (200, 400), (his.status, his.body[:300])
    for kind, value in bob.things.items():
        if value not in path.format(**bob.things):
            assert value.encode() not in his.body, kind
    assert b"bob" not in his.body.replace(b"secret-of-bob", b"")


def test_a_conversation_that_names_anothers_agent_is_of_no_use(product: Live, ann: Somebody, bob: Somebody):
    for agent in (bob.things["agent"], RANDOM_ID):
        made = product.call("POST", "/api/v1/chat/conversations", {"settings": {"agent_id": agent}}, key=ann.token)
        assert made.status == 201 and b"secret" not in made.body
        asked = product.call("POST", "/api/v1/chat/send", {"content": "x", "conversation_id": made.json["id"]}, key=ann.token)
        assert asked.status == 404 and b"secret" not in asked.body


def test_a_turn_that_runs_is_shown_and_stopped_for_its_owner_alone(product: Live, ann: Somebody, bob: Somebody):
    """While it is being written, in the same process, by every way in."""
    with opened(product, bob.token) as his:
        his.send(json.dumps({"type": "send", "content": "[[sim:chunks=40,pace=50]] a secret", "model": MODEL}))
        message_id = json.loads(his.recv(timeout=10))["message_id"]
        with opened(product, ann.token) as hers:
            for frame in ({"type": "resume", "message_id": message_id}, {"type": "cancel", "message_id": message_id}):
                assert ask(hers, frame)["error"]["type"] == "not_found"
        for method, path in (("GET", f"stream/{message_id}"), ("POST", f"messages/{message_id}/cancel")):
            assert product.call(method, f"/api/v1/chat/{path}", key=ann.token).status == 404
        while (frame := json.loads(his.recv(timeout=20)))["type"] != "message.end":
            assert frame["type"] != "error"
        assert frame["status"] == "complete"


def _bare(said: Any, ids: dict[str, str]) -> str:
    """Without what differs by itself: the request's id and the id that was asked for."""
    text = json.dumps({**said, "request_id": "", "error": {**said["error"], "request_id": ""}}, sort_keys=True)
    for value in ids.values():
        text = text.replace(value, "ID")
    return text


# --- hostile frames -------------------------------------------------------------------------------

FIELDS = {
    "send": [
        "content", "conversation_id", "parent_id", "model", "goal", "agent_id", "system_prompt", "temperature", "max_output_tokens",
        "max_cost_usd", "fallbacks", "metadata", "ref", "user_id", "role",
    ],
    "resume": ["message_id", "after", "ref"],
    "cancel": ["message_id", "ref"],
    "ping": ["ref"],
    "": ["type"],
}  # fmt: skip
TOO_LARGE = 256 * 1024
_REST = {"content": "x", "model": MODEL}


@pytest.mark.parametrize("kind, field", [(kind, field) for kind, fields in FIELDS.items() for field in fields])
def test_a_frame_with_a_hostile_value_is_answered_and_breaks_nothing(product: Live, ann: Somebody, kind: str, field: str):
    rest = {name: value for name, value in {"type": kind, **(_REST if kind == "send" else {})}.items() if name != field}
    with opened(product, ann.token) as socket:
        for name, value in VALUES.items():
            said = ask(
                socket, f'{{"{field}":{value.decode()}' + "".join(f',"{key}":{json.dumps(known)}' for key, known in rest.items()) + "}"
            )
            assert (said.get("error") or {}).get("type") not in ("internal_error", "provider_error"), f"{field}: {name}: {said}"
            assert not LEAKS.search(json.dumps(said.get("error")).encode()), f"{field}: {name}: {said}"
        assert ask(socket, {"type": "ping"})["type"] == "pong"


def test_what_is_no_frame_is_answered_or_closed_with_its_code(product: Live, ann: Somebody):
    for name, raw in BODIES.items():
        for payload in (raw, _text(raw)):
            if payload is None:
                continue
            with opened(product, ann.token) as socket:
                try:
                    said = ask(socket, payload)
                    assert said["type"] == "error" and said["error"]["type"] in ("invalid_request", "payload_too_large"), (name, said)
                    assert ask(socket, {"type": "ping"})["type"] == "pong"
                except ConnectionClosed as closed:
                    # 1007: text that is not UTF-8 is no text frame at all.
                    wanted = {4413} if len(raw) > TOO_LARGE else {1007}
                    assert closed.rcvd and closed.rcvd.code in wanted, (name, closed)


def _text(raw: bytes) -> str | None:
    with suppress(UnicodeDecodeError):
        return raw.decode()
    return None


def test_tokens_in_the_address_are_refused(product: Live, ann: Somebody):
    for path in DOORS:
        with connect(f"ws://127.0.0.1:{product.port}{path}?token={ann.token}") as socket, pytest.raises(ConnectionClosed) as closed:
            while True:
                socket.recv(timeout=5)
        assert closed.value.rcvd and closed.value.rcvd.code == 4401


def test_an_unknown_socket_and_a_foreign_page_are_refused_in_the_handshake(product: Live, ann: Somebody):
    with pytest.raises(InvalidStatus) as refused:
        opened(product, ann.token, "/api/v1/nothing/ws")
    assert refused.value.response.status_code == 403
    for path in DOORS:
        for origin in ("https://evil.example", "null", f"http://127.0.0.1:{product.port + 1}", "chrome-extension://127.0.0.1"):
            with pytest.raises(InvalidStatus) as refused:
                connect(
                    f"ws://127.0.0.1:{product.port}{path}", additional_headers={"Authorization": f"Bearer {ann.token}", "Origin": origin}
                )
            assert refused.value.response.status_code == 403
