"""Streams, whole answers, sockets and downloads × the ways in which a credential ends: none outlives it.

The endpoints come from the registry of the hot endpoints (all that declare `text/event-stream`, all that start work) and from the table
of sockets. A new one without a case fails the suite. aiagents/core/tests/test_credentials.py holds the figures that add up to five seconds.
"""

from __future__ import annotations

import ast
import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from django.test import AsyncClient, Client
from django.utils import timezone

from accounts import credentials, keys
from accounts.authentication import authenticate
from accounts.models import ApiKey, TokenFamily, User
from accounts.principals import of_session
from accounts.sign_in import tickets, tokens
from agents.calls import running as running_calls
from agents.definitions.authoring import create
from agents.runs import live as live_runs
from agents.simulator import Simulator
from aiagents import endpoints
from aiagents.core.db.calls import in_db
from aiagents.core.http.endpoints import Endpoint
from aiagents.core.live import credential_watch
from billing.models import Hold, UsageLog
from chat.models import Conversation, Message
from chat.tests.caller import Answer, call
from chat.tests.socket import Socket
from chat.turns import running as running_turns
from tasks import service as task_service
from tasks.schedule import Kind, Plan
from tests.kit import catalogue as installed_catalogue
from tests.kit.sampling import SOAK
from tests.kit.source.tree import parse
from tests.kit.waiting import until

pytestmark = [pytest.mark.django_db, pytest.mark.long]
ROOT = Path(__file__).resolve().parents[1]
PASSWORD, MODEL, ORIGIN = "correct horse battery staple", "gpt-4o-mini", "http://testserver"
# Text that is written for longer than any of these tests may take to see its end.
LONG = "[[sim:chunks=400,pace=50]] Go"
SSE = {"accept": "text/event-stream"}
SECONDS = 5.0


@dataclass
class Viewer:
    """One user signed in in three ways at once, and what their paths name."""

    user: User
    token: str
    key: str
    client: Client
    things: dict[str, str]

    @property
    def session_key(self) -> str:
        return self.client.cookies["session"].value


@pytest.fixture
def ann(db: None, settings: Any) -> Viewer:
    settings.CHAT_TITLES = False
    installed_catalogue.load()
    user = User.objects.create_superuser("ann@example.com", PASSWORD)
    access = tokens.sign_in(user).access
    key = keys.create(user, name="k", scopes=["chat", "agents", "tasks", "billing"], expires_at=timezone.now() + timedelta(minutes=10))[1]
    client = Client()
    client.force_login(user)
    agent = create(user, {"name": "Writer", "model": MODEL})
    conversation = Conversation.objects.create(user=user, title="t")
    question = Message.objects.create(conversation=conversation, role="user", content=LONG, status="complete")
    answer = Message.objects.create(
        conversation=conversation, parent=question, role="assistant", content="x", status="complete", options={"model": MODEL}
    )
    principal = of_session(user, "unused")
    task = task_service.create(principal, {"name": "t", "input": "x", "model": MODEL}, Plan(Kind.MANUAL), paused=False, request_id="r" * 8)[
        0
    ]
    things = {"agent": agent.pk, "question": question.pk, "answer": answer.pk, "task": task.pk}
    return Viewer(user, access, key, client, {name: str(value) for name, value in things.items()})


@pytest.fixture(autouse=True)
def _often(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(credential_watch, "CHECK_EVERY", 0.1)
    monkeypatch.setattr(credential_watch, "PAUSE", 0.01)


@pytest.fixture
def vendors(settings: Any) -> Callable[[], Any]:
    @asynccontextmanager
    async def running() -> AsyncIterator[Simulator]:
        async with Simulator() as sim:
            settings.SIMULATOR, settings.SIMULATOR_URL = True, sim.url
            try:
                yield sim
            finally:
                for turn in list(running_turns.here().turns.values()):
                    turn.cancel()
                await live_runs.drain(0.1)
                await until(lambda: not running_turns.here().turns and not live_runs.count())
                async with asyncio.timeout(20):
                    await running_calls.finish_settlements()

    return running


# --- how a credential ends ------------------------------------------------------------------------


def _family() -> TokenFamily:
    return TokenFamily.objects.get()


def _change(**fields: Any) -> Callable[[Viewer], object]:
    def change(ann: Viewer) -> None:
        user = User.objects.get(pk=ann.user.pk)
        for name, value in fields.items():
            setattr(user, name, value)
        user.save()

    return change


def _new_password(ann: Viewer) -> None:
    user = User.objects.get(pk=ann.user.pk)
    user.set_password("another horse battery")
    user.save()


def _deleted(ann: Viewer) -> None:
    # Rows that hold an account are taken away as an administrator would have to.
    User.objects.filter(pk=ann.user.pk)._raw_delete("default")


def _everywhere(ann: Viewer) -> None:
    User.objects.get(pk=ann.user.pk).end_sessions(reason="logout_all")


def _late(ann: Viewer) -> None:
    """An hour goes by."""
    real = time.time
    credential_watch.time = SimpleNamespace(time=lambda: real() + 3600, monotonic=time.monotonic)


ACCOUNT = {"disabled": _change(is_active=False), "password changed": _new_password, "signed out everywhere": _everywhere}
ENDS: dict[str, dict[str, Callable[[Viewer], object]]] = {
    "key": {
        "revoked": lambda ann: keys.revoke(ApiKey.objects.get(), actor=ann.user),
        "expired by staff": lambda ann: ApiKey.objects.update(expires_at=timezone.now()),
        "expires": _late,
        "disabled": ACCOUNT["disabled"],
    },
    "token": {
        "signed out": lambda ann: tokens.revoke(_family(), "logout"),
        "family revoked by replay": lambda ann: tokens.revoke(_family(), "reuse"),
        "role changed": _change(role="user"),
        "expires": _late,
        **ACCOUNT,
    },
    "session": {
        "signed out": lambda ann: ann.client.post("/admin/logout/"),
        "flushed": lambda ann: ann.client.session.flush(),
        "staff no more": _change(is_staff=False, is_superuser=False, role="user"),
        **ACCOUNT,
    },
}


@pytest.fixture(autouse=True)
def _clock():
    yield
    credential_watch.time = time


# --- what is open meanwhile -----------------------------------------------------------------------


@dataclass(frozen=True)
class Case:
    """A call that streams with `stream=True` and else answers whole. `upstream`: it is cancelled at the vendor."""

    path: Callable[[dict[str, str]], str]
    body: Callable[[bool], Any] | None
    ended: Callable[[bytes], bool]
    headers: dict[str, str] | None = None
    upstream: bool = False


def _chat_ended(body: bytes) -> bool:
    last = body.decode().strip().split("\n\n")[-1].split("\n")
    return last[-2] == "event: error" and json.loads(last[-1][6:])["error"]["type"] == "not_authenticated"


def _openai_ended(body: bytes) -> bool:
    last = body.decode().strip().split("\n\n")[-1]
    return json.loads(last.split("data: ")[-1])["error"]["code"] == "invalid_api_key"


def _responses_ended(body: bytes) -> bool:
    last = body.decode().strip().split("\n\n")[-1].split("\n")
    data = json.loads(last[-1][6:])
    return data["type"] == "response.failed" and "has ended" in data["response"]["error"]["message"] and data["sequence_number"] > 0


def _anthropic_ended(body: bytes) -> bool:
    last = body.decode().strip().split("\n\n")[-1].split("\n")
    return last[-2] == "event: error" and json.loads(last[-1][6:])["error"]["type"] == "authentication_error"


def _messages(stream: bool) -> dict[str, Any]:
    return {"model": MODEL, "messages": [{"role": "user", "content": LONG}], "stream": stream}


def _google_ended(body: bytes) -> bool:
    return b'"UNAUTHENTICATED"' in body


_CHAT = {"content": LONG, "model": MODEL}
CASES: dict[str, Case] = {
    "POST /api/v1/chat/stream": Case(lambda at: "/api/v1/chat/stream", lambda stream: _CHAT, _chat_ended),
    "POST /api/v1/chat/send": Case(lambda at: "/api/v1/chat/send", lambda stream: _CHAT, _chat_ended),
    "GET /api/v1/chat/stream/{id}": Case(lambda at: f"/api/v1/chat/stream/{at['running']}", None, _chat_ended),
    "POST /api/v1/chat/messages/{id}/regenerate": Case(
        lambda at: f"/api/v1/chat/messages/{at['answer']}/regenerate", lambda stream: {}, _chat_ended, SSE
    ),
    "POST /api/v1/chat/messages/{id}/edit": Case(
        lambda at: f"/api/v1/chat/messages/{at['question']}/edit", lambda stream: _CHAT, _chat_ended, SSE
    ),
    "POST /api/v1/agents/{id}/run": Case(
        lambda at: f"/api/v1/agents/{at['agent']}/run", lambda stream: {"input": LONG, "stream": stream}, _chat_ended
    ),
    "GET /api/v1/agents/runs/{id}/events": Case(lambda at: f"/api/v1/agents/runs/{at['run']}/events", None, _chat_ended),
    "GET /api/v1/tasks/{id}/events": Case(lambda at: f"/api/v1/tasks/{at['task']}/events", None, _chat_ended),
    "POST /v1/chat/completions": Case(lambda at: "/v1/chat/completions", _messages, _openai_ended, upstream=True),
    "POST /v1/responses": Case(
        lambda at: "/v1/responses", lambda stream: {"model": MODEL, "input": LONG, "stream": stream}, _responses_ended, upstream=True
    ),
    "POST /v1/messages": Case(
        lambda at: "/v1/messages", lambda stream: _messages(stream) | {"max_tokens": 4000}, _anthropic_ended, upstream=True
    ),
    "POST /v1/embeddings": Case(
        lambda at: "/v1/embeddings", lambda stream: {"model": "text-embedding-3-small", "input": "x"}, _openai_ended, upstream=True
    ),
}
_TEXT = {"parts": [{"text": LONG}]}
for _version in ("v1", "v1beta"):
    _models, _at = f"/{_version}/models/{MODEL}", f"POST /{_version}/models/{{model}}"
    _vectors = f"/{_version}/models/text-embedding-3-small"
    CASES |= {
        f"{_at}:generateContent": Case(
            lambda at, path=_models: f"{path}:generateContent", lambda stream: {"contents": [_TEXT]}, _google_ended, upstream=True
        ),
        f"{_at}:streamGenerateContent": Case(
            lambda at, path=_models: f"{path}:streamGenerateContent?alt=sse",
            lambda stream: {"contents": [_TEXT]},
            _google_ended,
            upstream=True,
        ),
        f"{_at}:embedContent": Case(
            lambda at, path=_vectors: f"{path}:embedContent",
            lambda stream: {"content": {"parts": [{"text": "x"}]}},
            _google_ended,
            upstream=True,
        ),
        f"{_at}:batchEmbedContents": Case(
            lambda at, path=_vectors: f"{path}:batchEmbedContents",
            lambda stream: {"requests": [{"model": "models/text-embedding-3-small", "content": {"parts": [{"text": "x"}]}}]},
            _google_ended,
            upstream=True,
        ),
    }


def _streams(endpoint: Endpoint) -> bool:
    return "text/event-stream" in json.dumps(endpoint.operation)


STREAMING = sorted(f"{one.method} {one.template}" for one in endpoints.HTTP if _streams(one))
# Those that answer whole: all that start work, but those that always stream.
_WORKING = {f"{one.method} {one.template}" for one in endpoints.HTTP if one.starts_work}
WHOLE = sorted(name for name in _WORKING - {"POST /api/v1/chat/stream"} if "streamGenerateContent" not in name)


def test_every_endpoint_that_streams_or_works_for_long_has_its_case():
    assert set(STREAMING) | set(WHOLE) == set(CASES), "an endpoint without a case: add one to CASES"
    assert len(STREAMING) >= 9 and len(WHOLE) >= 8


async def _opened(ann: Viewer, name: str, credential: str, *, stream: bool) -> Answer:
    case, method = CASES[name], name.split()[0]
    headers = (case.headers or {}) if stream else {}
    return await call(method, case.path(ann.things), case.body(stream) if case.body else None, key=credential, headers=headers)


async def _with_running(ann: Viewer, name: str, credential: str) -> None:
    """The turn or run that is re-attached to."""
    if name == "GET /api/v1/agents/runs/{id}/events":
        run = await call("POST", f"/api/v1/agents/{ann.things['agent']}/run", {"input": LONG, "stream": True}, key=credential)
        ann.things["run"] = run.headers["x-run-id"]
        await run.read_events(2)
        await run.hang_up()
    if name == "GET /api/v1/chat/stream/{id}":
        turn = await call("POST", "/api/v1/chat/stream", _CHAT, key=credential)
        ann.things["running"] = turn.headers["x-message-id"]
        await turn.read_events(2)
        await turn.hang_up()


async def _ends(end: Callable[[Viewer], object], ann: Viewer) -> float:
    await in_db(end, ann)
    return time.monotonic()


def met(cases: list[tuple[str, str, str]]) -> list[Any]:
    """Every stream and every way to end, each met three times or more; all of them with all in `make test-soak`."""
    ways = list(dict.fromkeys((by, how) for _, by, how in cases))
    names = list(dict.fromkeys(name for name, _, _ in cases))
    return [pytest.param(*case, marks=pytest.mark.soak) for case in cases if SOAK or (names.index(case[0]) + ways.index(case[1:])) % 3 == 0]


@pytest.mark.parametrize(("name", "by", "how"), met([(name, by, how) for name in STREAMING for by in ("key", "token") for how in ENDS[by]]))
async def test_a_stream_ends_with_its_credential(ann: Viewer, vendors: Any, name: str, by: str, how: str):
    credential = ann.key if by == "key" else ann.token
    async with vendors() as sim:
        await _with_running(ann, name, credential)
        stream = await _opened(ann, name, credential, stream=True)
        assert stream.status == 200 and stream.headers["content-type"].startswith("text/event-stream")
        await stream.more()
        begun = await _ends(ENDS[by][how], ann)
        async with asyncio.timeout(SECONDS):
            while await stream.more():
                pass
        assert CASES[name].ended(stream.body), stream.body[-500:]
        assert b"[DONE]" not in stream.body and time.monotonic() - begun < SECONDS
        await asyncio.wait_for(stream.task, SECONDS)
        await _vendor_was(sim, cancelled=CASES[name].upstream)


async def _vendor_was(sim: Simulator, *, cancelled: bool) -> None:
    """A call of a wire is cancelled upstream and settled; a turn or run goes on for its owner."""
    if not cancelled:
        assert not any(seen.client_gone for seen in sim.requests), "what was begun for the owner was given up"
        return
    await until(lambda: sim.requests[0].client_gone, SECONDS)
    await running_calls.finish_settlements()
    assert not await Hold.objects.filter(status="open").aexists()
    assert await UsageLog.objects.acount() == 1 and (await UsageLog.objects.aget()).status == "cancelled"


@pytest.mark.parametrize("name", WHOLE)
@pytest.mark.parametrize(("by", "how"), [("key", "revoked"), ("token", "signed out"), ("token", "expires"), ("key", "disabled")])
async def test_an_answer_that_is_not_whole_yet_becomes_401(ann: Viewer, vendors: Any, name: str, by: str, how: str):
    async with vendors() as sim:
        if "mbed" in name:
            sim.always("*", "hang")
        asking = asyncio.create_task(_opened(ann, name, ann.key if by == "key" else ann.token, stream=False))
        await until(lambda: sim.requests or asking.done())
        assert not asking.done(), (await asking.result().read()).body
        begun = await _ends(ENDS[by][how], ann)
        answer = await asyncio.wait_for(asking, SECONDS)
        await answer.read()
        assert answer.status == 401 and time.monotonic() - begun < SECONDS
        kind = answer.error.get("type") or answer.error.get("status")  # Google's errors have a status
        assert kind in ("not_authenticated", "authentication_error", "invalid_request_error", "UNAUTHENTICATED"), answer.body
        await _vendor_was(sim, cancelled=CASES[name].upstream)


# --- sockets --------------------------------------------------------------------------------------

CHAT, LIVE = endpoints.CHAT_SOCKET, endpoints.LIVE_SOCKET
# How each socket may be opened, and by which kind of credential.
SOCKETS: dict[str, dict[str, str]] = {
    CHAT: {
        "header": "key token", "first frame": "key token", "ticket of a key": "key", "ticket of a token": "token",
        "ticket of a browser session": "session",
    },
    LIVE: {"header": "token", "ticket of a token": "token", "ticket of a browser session": "session", "cookie": "session"},
}  # fmt: skip


def test_every_socket_has_its_case():
    assert set(endpoints.WEBSOCKETS) == set(SOCKETS), "a socket without a case: say how it may be opened"


async def _ticket(ann: Viewer, by: str) -> str:
    """As a page gets it: over the API."""
    if by == "session":
        client = AsyncClient()
        client.cookies = ann.client.cookies
        made = await client.post("/api/v1/auth/ws-ticket", content_type="application/json", headers={"accept": "application/json"})
    else:
        bearer = {"authorization": f"Bearer {ann.key if by == 'key' else ann.token}"}
        made = await AsyncClient().post("/api/v1/auth/ws-ticket", content_type="application/json", headers=bearer)
    assert made.status_code == 201, made.content
    return made.json()["ticket"]


async def _socket(ann: Viewer, path: str, how: str, by: str) -> Socket:
    if how == "header":
        return Socket(path=path, key=ann.key if by == "key" else ann.token)
    if how.startswith("ticket"):
        return Socket(path=path, origin=ORIGIN, protocols=("aiagents.v1", f"ticket.{await _ticket(ann, by)}"))
    socket = Socket(path=path, origin=ORIGIN)
    if how == "cookie":
        socket.scope["headers"].append((b"cookie", f"session={ann.session_key}".encode()))
    return socket


WAYS = [(path, way, by) for path, ways in SOCKETS.items() for way, kinds in ways.items() for by in kinds.split()]


@pytest.mark.parametrize(("path", "way", "by", "how"), [(path, way, by, how) for path, way, by in WAYS for how in ENDS[by]])
async def test_a_socket_ends_with_its_credential(ann: Viewer, vendors: Any, path: str, way: str, by: str, how: str):
    if path == LIVE:
        assert ann.user.is_admin
    async with vendors() as sim, await _socket(ann, path, way, by) as socket:
        if way == "first frame":
            socket.send({"type": "auth", "token": ann.key if by == "key" else ann.token})
        if path == CHAT:
            socket.send({"type": "send", **_CHAT})
            await socket.until("content.delta")
        else:
            assert (await socket.frame())["type"] == "figures"
        begun = await _ends(ENDS[by][how], ann)
        async with asyncio.timeout(SECONDS):
            frames = await socket.until("nothing")
        assert socket.code == 4401 and time.monotonic() - begun < SECONDS
        assert frames[-2]["type"] == "error" and frames[-2]["error"]["type"] == "not_authenticated"
        if path == CHAT:
            socket.send({"type": "send", **_CHAT})  # it buys nothing more
            await asyncio.sleep(0.1)  # nothing is to come
            assert len(sim.requests) == 1 and await Message.objects.filter(role="assistant").acount() == 2


async def test_a_ticket_of_a_browser_session_is_worth_nothing_after_log_out(ann: Viewer):
    ticket = await _ticket(ann, "session")
    await in_db(lambda: ann.client.post("/admin/logout/"))
    async with Socket(origin=ORIGIN, protocols=("aiagents.v1", f"ticket.{ticket}")) as socket:
        assert await socket.closed() == 4401


async def test_what_a_ticket_stands_for_is_not_readable_where_it_is_stored(ann: Viewer):
    from aiagents.core.valkey.clients import sync_client

    ticket = await _ticket(ann, "session")
    stored = sync_client().get(tickets.valkey_key(ticket))
    assert stored and ann.session_key.encode() not in stored and str(ann.user.pk).encode() not in stored
    assert (await tickets.redeem(ticket)).session_key == ann.session_key


# --- downloads ------------------------------------------------------------------------------------

DOWNLOADS = {
    "/api/v1/billing/usage/export?format=csv": ("key", "token", "session"),
    "/admin/billing/usagelog/export/": ("session",),
}


@pytest.mark.parametrize(("path", "by"), [(path, by) for path, kinds in DOWNLOADS.items() for by in kinds])
async def test_a_download_is_cut_when_its_credential_ends(ann: Viewer, monkeypatch: pytest.MonkeyPatch, path: str, by: str):
    """The credential by which Django served it is found and watched."""
    watched: list[Any] = []
    real = credential_watch.watched_chunks

    def noted(credential: Any, chunks: Any) -> Any:
        watched.append(credential)
        return real(credential, chunks)

    monkeypatch.setattr(credential_watch, "watched_chunks", noted)
    client = AsyncClient()
    headers = {"accept": "text/csv"}
    if by == "session":
        client.cookies = ann.client.cookies
    else:
        headers["authorization"] = f"Bearer {ann.key if by == 'key' else ann.token}"
    answer: Any = await client.get(path, headers=headers)
    assert answer.status_code == 200, answer
    assert b"".join([chunk async for chunk in answer.streaming_content])
    (principal,) = watched
    known = {"key": principal.key_id, "token": principal.family_id, "session": principal.session_key}
    assert principal.user_id == ann.user.pk and known[by] is not None


# --- principals -----------------------------------------------------------------------------------


async def test_every_way_in_makes_a_principal_with_an_anchor_that_can_be_revoked(ann: Viewer):
    by_key = await authenticate({"x-api-key": ann.key})
    by_token = await authenticate({"authorization": f"Bearer {ann.token}"})
    by_ticket: dict[str, Any] = {
        by: await in_db(credentials.renew, await tickets.redeem(await _ticket(ann, by))) for by in ("key", "token", "session")
    }
    for principal, anchor in (
        (by_key, "key_id"), (by_token, "family_id"),
        (by_ticket["key"], "key_id"), (by_ticket["token"], "family_id"), (by_ticket["session"], "session_key"),
    ):  # fmt: skip
        assert getattr(principal, anchor) is not None
        assert await credential_watch.valid([principal.credential_ref]) == {principal.credential_ref}
    credential_refs = [by_key.credential_ref, by_token.credential_ref, *(one.credential_ref for one in by_ticket.values())]
    await in_db(lambda: keys.revoke(ApiKey.objects.get(), actor=ann.user))
    await in_db(lambda: tokens.revoke(_family(), "logout"))
    await in_db(lambda: ann.client.post("/admin/logout/"))
    assert await credential_watch.valid(credential_refs) == set()


# Who may make a principal without a caller from outside, whose only anchor is the account; each makes model calls, whose holds check it.
WITHOUT_CALLER = {
    "accounts/authentication.py", "accounts/credentials.py", "agents/calls/test_call.py", "aiagents/local/demo_work.py", "tasks/admin.py",
    "tasks/runs/prepare.py",
}  # fmt: skip


def test_principals_are_made_in_one_module_and_without_an_anchor_only_where_nobody_calls():
    makers: set[str] = set()
    without: set[str] = set()
    for app in ("accounts", "agents", "aiagents", "billing", "chat", "tasks"):
        for path in (ROOT / app).rglob("*.py"):
            if "tests" in path.parts:
                continue
            for node in ast.walk(parse(path.read_text())):
                name = ast.unparse(node.func).rpartition(".")[2] if isinstance(node, ast.Call) else ""
                if name in ("Principal", "of_account"):
                    (makers if name == "Principal" else without).add(str(path.relative_to(ROOT)))
    assert makers == {"accounts/principals.py"}, "a principal made elsewhere may have no anchor that can be revoked"
    assert without == WITHOUT_CALLER, "work for a user without a caller: name it here, and never show its stream to a client"
