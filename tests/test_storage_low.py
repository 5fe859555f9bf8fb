"""While the disk has little room, every endpoint that starts paid or stored work answers 503, and everything else goes on.

Each endpoint that changes anything, and each frame of the chat's WebSocket, stands in one of two tables. A new one without
an entry fails the suite. tests/test_full_disk.py shows the same on a disk that is really full.
"""

from __future__ import annotations

import html
from typing import Any

import pytest
from django.apps import apps
from django.contrib import admin
from django.db import OperationalError, connection
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from accounts.models import User
from accounts.sign_in import tokens
from agents import tasks as agent_tasks
from agents.models import AgentRun, AgentStep
from aiagents import endpoints
from aiagents.core import storage
from aiagents.core.db.calls import in_db
from chat.api import websocket
from chat.tests.socket import Socket
from tasks.models import Task, TaskRun
from tasks.runs import store as task_runs
from tests.kit import cast, office_rows
from tests.kit.access_matrix import TABLE
from tests.kit.endpoints import Endpoint, every
from tests.kit.hostile.answers import check
from tests.kit.valid_bodies import BODIES, FRAMES
from tests.kit.wire import ask, product

pytestmark = [pytest.mark.django_db, pytest.mark.long]
_AUTH, _CHAT, _TASKS, _AGENTS, _API = "/api/v1/auth/", "/api/v1/chat/", "/api/v1/tasks/", "/api/v1/agents/", "/api/v1/"
_NOW = {"schedule": {"type": "now"}}
# What starts work, and what its valid body of tests/kit/valid_bodies.py needs beside that it does. A task saved without a run is no work.
STARTS: dict[str, dict[str, Any]] = {
    f"POST {_CHAT}send": {}, f"POST {_CHAT}stream": {}, f"POST {_CHAT}messages/{{id}}/edit": {},
    f"POST {_CHAT}messages/{{id}}/regenerate": {}, f"POST {_AGENTS}{{id}}/run": {},
    f"POST {_TASKS}": _NOW, f"PUT {_TASKS}{{pk}}": _NOW, f"PATCH {_TASKS}{{pk}}": _NOW, f"POST {_TASKS}{{pk}}/run": {},
    f"POST {_TASKS}{{pk}}/resume": {},
    "POST /v1/chat/completions": {}, "POST /v1/embeddings": {}, "POST /v1/messages": {}, "POST /v1/responses": {},
    **{
        f"POST /{version}/models/{{model}}:{method}": {}
        for version in ("v1", "v1beta")
        for method in ("generateContent", "streamGenerateContent", "embedContent", "batchEmbedContents")
    },
}  # fmt: skip
# What goes on: small rows, the ends of what runs, and decisions. A run that was decided waits for room in its worker.
GOES_ON = {
    *(f"POST {_AUTH}{name}" for name in (
        "login", "refresh", "register", "logout", "logout-all", "password", "password-link", "ws-ticket", "api-keys",
    )),
    f"PATCH {_AUTH}profile", f"DELETE {_AUTH}api-keys/{{id}}", f"PATCH {_API}admin/users/{{id}}", f"PUT {_API}admin/budgets",
    f"PUT {_API}billing/alerts", f"POST {_API}billing/alerts/read", f"PUT {_API}billing/budgets",
    f"POST {_CHAT}route", f"POST {_CHAT}messages/{{id}}/cancel", f"POST {_CHAT}messages/{{id}}/feedback",
    f"POST {_CHAT}conversations", f"PATCH {_CHAT}conversations/{{pk}}", f"DELETE {_CHAT}conversations/{{pk}}",
    f"POST {_AGENTS}", *(f"{method} {_AGENTS}{{pk}}" for method in ("PUT", "PATCH", "DELETE")),
    *(f"POST {_AGENTS}runs/{{pk}}/{verb}" for verb in ("approve", "reject", "cancel")),
    f"DELETE {_TASKS}{{pk}}", *(f"POST {_TASKS}{{pk}}/{verb}" for verb in ("cancel", "pause", "webhook-secret")),
    "POST /v1/messages/count_tokens", "POST /v1/responses/input_tokens", "DELETE /v1/responses/{response}",
    "POST /v1/models/{model}:countTokens", "POST /v1beta/models/{model}:countTokens",
}  # fmt: skip
FRAMES_THAT_START = {"send"}
FRAMES_THAT_GO_ON = {"cancel", "resume", "ping"}
ENDPOINTS = {str(endpoint): endpoint for endpoint in every()}
# Its status is the state of the disk.
READS = [endpoint for endpoint in every() if endpoint.method == "GET" and endpoint.template != "/health/ready"]


class Caller:
    """A user with one row of each kind, and an admin."""

    def __init__(self) -> None:
        self.ann, self.root = cast.person("ann@example.com"), cast.person("root@example.com", admin=True)
        self.refresh = tokens.sign_in(self.ann.user).refresh
        self.rows = cast.things(self.ann.user) | {"user": self.ann.user.pk}

    async def ask(self, endpoint: Endpoint, body: Any = None) -> Any:
        names = TABLE[str(endpoint)].owned or dict.fromkeys(set(endpoint.parameters) & {"id", "pk"}, "user")
        path = endpoint.path(**{name: str(self.rows[kind]) for name, kind in names.items()})
        token = (self.root if endpoint.template.startswith("/api/v1/admin/") else self.ann).token
        return await ask(product, endpoint.method, path, body, {"accept": "application/json"}, token)


@pytest.fixture
def caller(settings: Any) -> Caller:
    settings.RATE_LIMIT_REQUESTS = 1_000_000
    return Caller()


@pytest.fixture
def low(caller: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
    """Little room, once all is there that the requests name."""
    monkeypatch.setattr(storage, "low", lambda: True)


def rows() -> dict[str, int]:
    own = (model for model in apps.get_models() if model._meta.app_label in ("chat", "agents", "tasks", "billing"))
    return {model._meta.label: model._default_manager.count() for model in own}


def test_every_endpoint_and_frame_has_its_entry():
    changing = {name for name, endpoint in ENDPOINTS.items() if endpoint.method != "GET"}
    assert changing - set(STARTS) - GOES_ON == set(), "say whether it starts paid or stored work"
    assert (set(STARTS) | GOES_ON) - changing == set() and not set(STARTS) & GOES_ON
    assert set(websocket.FIELDS) == FRAMES_THAT_START | FRAMES_THAT_GO_ON, "say whether the frame starts work"


def test_the_registry_of_endpoints_says_the_same():
    starting = {f"{one.method} {one.template}" for one in endpoints.HTTP if one.starts_work}
    assert starting == {name for name in STARTS if ENDPOINTS[name].beside_django}


@pytest.mark.parametrize("name", STARTS)
async def test_new_work_is_refused(caller: Caller, low: None, name: str):
    if name.endswith("/resume"):  # of a task that was to run at once, and was paused before it did
        await in_db(_paused_task, caller)
    before = await in_db(rows)
    answer = await caller.ask(ENDPOINTS[name], {**BODIES.get(name, {}), **STARTS[name]})
    assert answer.status == 503 and answer.error["code"] == "storage_full", answer.body
    assert answer.headers["retry-after"] == str(storage.RETRY_AFTER)
    assert await in_db(rows) == before, "something was stored"


def _paused_task(caller: Caller) -> None:
    task = Task.objects.create(user=caller.ann.user, name="x", input="Hello", schedule="now", paused_at=timezone.now())
    caller.rows["task"] = task.pk


@pytest.mark.parametrize("name", sorted(GOES_ON))
async def test_what_starts_no_work_goes_on(caller: Caller, low: None, name: str):
    answer = await caller.ask(ENDPOINTS[name], BODIES.get(name))
    check(ENDPOINTS[name], "little room", answer)  # 503 only where no model is configured


@pytest.mark.parametrize("endpoint", READS, ids=str)
async def test_reading_goes_on(caller: Caller, monkeypatch: pytest.MonkeyPatch, endpoint: Endpoint):
    usual = await caller.ask(endpoint)
    monkeypatch.setattr(storage, "low", lambda: True)
    answer = await caller.ask(endpoint)
    assert answer.status == usual.status and answer.status < 500, answer.body


async def test_people_sign_in_and_renew(caller: Caller, low: None):
    body = {"email": caller.ann.user.email, "password": cast.PASSWORD}
    assert (await caller.ask(ENDPOINTS[f"POST {_AUTH}login"], body)).status == 200
    assert (await caller.ask(ENDPOINTS[f"POST {_AUTH}refresh"], {"refresh": caller.refresh})).status == 200


@pytest.mark.parametrize("kind", sorted(FRAMES_THAT_START | FRAMES_THAT_GO_ON))
async def test_frames(caller: Caller, low: None, kind: str):
    answer_id = str(caller.rows["answer"])
    frame = {**FRAMES["/api/v1/chat/ws"][kind], "conversation_id": str(caller.rows["conversation"]), "parent_id": answer_id}
    if kind not in FRAMES_THAT_START:
        frame = {name: value for name, value in frame.items() if name not in ("conversation_id", "parent_id")}
    frame |= {"message_id": answer_id} if "message_id" in frame else {}
    before = await in_db(rows)
    async with Socket(key=caller.ann.token) as socket:
        socket.send(frame)
        first = await socket.frame(30)
        if kind in FRAMES_THAT_START:
            assert first["type"] == "error" and first["error"]["code"] == "storage_full" and first["ref"] == "r", first
            assert first["retry_after"] == storage.RETRY_AFTER
            assert await in_db(rows) == before
        else:
            assert first["type"] != "error" and first["ref"] == "r", first


def test_a_decided_run_waits_for_room(caller: Caller, monkeypatch: pytest.MonkeyPatch):
    resumed: list[Any] = []

    async def resume(run_id: Any) -> None:
        resumed.append(run_id)

    monkeypatch.setattr(agent_tasks.live_runs, "resume", resume)
    run = AgentRun.objects.get(pk=caller.rows["agent_run"])
    AgentStep.objects.filter(run=run).update(decided_at=timezone.now(), decided_by=caller.ann.user)
    monkeypatch.setattr(storage, "low", lambda: True)
    agent_tasks.resume_run(str(run.pk))
    assert resumed == [] and AgentRun.objects.get(pk=run.pk).status == AgentRun.Status.WAITING_APPROVAL
    monkeypatch.setattr(storage, "low", lambda: False)
    agent_tasks.resume_run(str(run.pk))
    assert resumed == [run.pk]


def test_a_queued_run_waits_for_room(caller: Caller, monkeypatch: pytest.MonkeyPatch):
    task = Task.objects.create(user=caller.ann.user, name="x", input="Hello")
    run = TaskRun.objects.create(task=task, user=task.user, number=1, trigger="request", status="queued")
    monkeypatch.setattr(storage, "low", lambda: True)
    assert task_runs.claim(run.pk, "worker") is None and TaskRun.objects.get(pk=run.pk).status == "queued"
    monkeypatch.setattr(storage, "low", lambda: False)
    assert task_runs.claim(run.pk, "worker") is not None


# --- the back office ------------------------------------------------------------------------------


class DiskFull(OperationalError):
    """PostgreSQL's error for a write that found no room."""

    sqlstate = "53100"


class Full:
    """A database without room: each write is refused, and counted."""

    writes = 0

    def __call__(self, execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        if sql.startswith(("INSERT", "UPDATE", "DELETE")):
            self.writes += 1
            raise DiskFull
        return execute(sql, params, many, context)


ACTIONS = sorted(
    (model, name)
    for model, found in ((model._meta.label_lower, found) for model, found in admin.site._registry.items())
    for name in (getattr(action, "__name__", action) for action in found.actions or ())
)


def _post(browser: Client, label: str, name: str, row: Any) -> tuple[int, str]:
    """The status of the action, and the list that is shown after it."""
    path = reverse(f"admin:{office_rows.name_of(apps.get_model(label))}_changelist")
    status = browser.post(path, {"action": name, "_selected_action": [str(row.pk)], "apply": "1", "monthly_budget_usd": "5"}).status_code
    return status, html.unescape(browser.get(path).content.decode())


@pytest.fixture
def browser() -> Client:
    client = Client(raise_request_exception=False)
    client.force_login(User.objects.create_superuser("root@example.com", "correct horse battery staple"))
    return client


def test_every_action_of_the_back_office_answers_with_a_page_while_there_is_little_room(browser: Client, monkeypatch: pytest.MonkeyPatch):
    rows = office_rows.fill(1)
    monkeypatch.setattr(storage, "low", lambda: True)
    for label, name in ACTIONS:
        status, _ = _post(browser, label, name, rows[apps.get_model(label)])
        assert status in (200, 302), f"{label} {name}: {status}"


@pytest.mark.django_db(transaction=True)
def test_every_action_of_the_back_office_says_that_the_disk_is_full(browser: Client):
    rows = office_rows.fill(1)
    said = 0
    for label, name in ACTIONS:
        full = Full()
        with connection.execute_wrapper(full):
            status, page = _post(browser, label, name, rows[apps.get_model(label)])
        assert status in (200, 302), f"{label} {name}: {status}"
        said += storage.StorageFull.message in page
        assert not full.writes or storage.StorageFull.message in page, f"{label} {name} failed without a word"
    assert said >= 10


def test_a_task_is_not_run_by_staff_while_there_is_no_room(browser: Client, monkeypatch: pytest.MonkeyPatch):
    task = office_rows.fill(1)[Task]
    Task.objects.filter(pk=task.pk).update(deleted_at=None)
    TaskRun.objects.all().delete()
    monkeypatch.setattr(storage, "low", lambda: True)
    status, page = _post(browser, "tasks.task", "run_now", task)
    assert status == 302 and storage.StorageFull.message in page and not TaskRun.objects.exists()
    monkeypatch.setattr(storage, "low", lambda: False)
    status, page = _post(browser, "tasks.task", "run_now", task)
    assert status == 302 and "1 queued." in page and TaskRun.objects.count() == 1
