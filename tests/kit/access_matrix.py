"""Who may call what: one row for every endpoint. An endpoint without a row fails the suite, and so does a row without one.

    public                anybody, without a credential too
    user(scope)           a user in person, and their keys with that scope; GET also keys with `read`
    user(None)            a user in person and any of their keys
    person                a user in person only; no key
    admin                 an admin in person only

`owned`: what the path's parameters name, as tests/kit/cast.py makes them. A row of somebody else's must answer as an id that
does not exist. `body`: enough to come as far as the row.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Row:
    who: str
    scope: str | None = None
    owned: dict[str, str] = field(default_factory=dict)
    body: Any = None


def user(scope: str | None, owned: dict[str, str] | None = None, body: Any = None) -> Row:
    return Row("user", scope, owned or {}, body)


def person(owned: dict[str, str] | None = None, body: Any = None) -> Row:
    return Row("person", None, owned or {}, body)


def admin(owned: dict[str, str] | None = None, body: Any = None) -> Row:
    return Row("admin", None, owned or {}, body)


PUBLIC = Row("public")
_AUTH, _CHAT, _BILLING = "/api/v1/auth/", "/api/v1/chat/", "/api/v1/billing/"
_CONVERSATION, _ANSWER, _QUESTION = {"pk": "conversation"}, {"id": "answer"}, {"id": "question"}
_AGENTS, _AGENT = "/api/v1/agents/", {"pk": "agent"}
_ADMIN = "/api/v1/admin/"
_HELLO = {"content": "Hello", "model": "auto"}
_TASKS, _TASK, _TASK_BODY = "/api/v1/tasks/", {"pk": "task"}, {"name": "x", "input": "Hello"}

TABLE: dict[str, Row] = {
    # System
    "GET /": PUBLIC,
    "GET /docs": PUBLIC,
    # The pages beside the chat: the same empty page everywhere, its data comes from the API.
    "GET /{page}": PUBLIC,
    "GET /api/schema/": PUBLIC,
    "GET /health": PUBLIC,
    # What they show to whom hangs on the address: aiagents/monitoring/tests/test_insiders.py.
    "GET /health/ready": PUBLIC,
    "GET /metrics": PUBLIC,
    "GET /api/v1/system/info": PUBLIC,
    # Accounts
    f"POST {_AUTH}register": PUBLIC,
    f"POST {_AUTH}login": PUBLIC,
    f"POST {_AUTH}refresh": PUBLIC,
    f"POST {_AUTH}logout": PUBLIC,
    f"POST {_AUTH}password-link": PUBLIC,
    "GET /password": PUBLIC,
    f"POST {_AUTH}logout-all": person(),
    f"POST {_AUTH}password": person(),
    f"POST {_AUTH}ws-ticket": user(None),
    f"GET {_AUTH}profile": user("billing"),
    f"PATCH {_AUTH}profile": person(),
    f"GET {_AUTH}api-keys": person(),
    f"POST {_AUTH}api-keys": person(),
    f"DELETE {_AUTH}api-keys/{{id}}": person({"id": "api_key"}),
    f"GET {_ADMIN}users": admin(),
    f"GET {_ADMIN}users/{{id}}": admin(),
    f"PATCH {_ADMIN}users/{{id}}": admin(body={"is_active": True}),
    f"GET {_ADMIN}audit-log": admin(),
    f"GET {_ADMIN}metrics": admin(),
    # Billing
    f"GET {_BILLING}models": user("billing"),
    f"GET {_BILLING}summary": user("billing"),
    f"GET {_BILLING}usage": user("billing"),
    f"GET {_BILLING}usage/export": user("billing"),
    f"GET {_BILLING}recommendations": user("billing"),
    f"GET {_BILLING}alerts": user("billing"),
    f"PUT {_BILLING}alerts": person(body={"enabled": True, "by_email": True, "thresholds": [80]}),
    f"POST {_BILLING}alerts/read": person(body={}),
    f"GET {_BILLING}budgets": user("billing"),
    f"PUT {_BILLING}budgets": person(),
    f"GET {_ADMIN}overview": admin(),
    f"GET {_ADMIN}usage-analytics": admin(),
    f"GET {_ADMIN}cost-optimization": admin(),
    f"GET {_ADMIN}budgets": admin(),
    f"PUT {_ADMIN}budgets": admin(),
    # Chat
    f"POST {_CHAT}send": user("chat"),
    f"POST {_CHAT}stream": user("chat"),
    f"POST {_CHAT}route": user("chat"),
    f"GET {_CHAT}stream/{{id}}": user("chat", _ANSWER),
    f"POST {_CHAT}messages/{{id}}/cancel": user("chat", _ANSWER),
    f"POST {_CHAT}messages/{{id}}/regenerate": user("chat", _ANSWER, {}),
    f"POST {_CHAT}messages/{{id}}/edit": user("chat", _QUESTION, _HELLO),
    f"POST {_CHAT}messages/{{id}}/feedback": user("chat", _ANSWER, {"rating": "up"}),
    f"GET {_CHAT}conversations": user("chat"),
    f"POST {_CHAT}conversations": user("chat"),
    f"GET {_CHAT}conversations/{{pk}}": user("chat", _CONVERSATION),
    f"PATCH {_CHAT}conversations/{{pk}}": user("chat", _CONVERSATION, {"title": "x"}),
    f"DELETE {_CHAT}conversations/{{pk}}": user("chat", _CONVERSATION),
    f"GET {_CHAT}conversations/{{pk}}/messages": user("chat", _CONVERSATION),
    f"GET {_CHAT}conversations/{{pk}}/export": user("chat", _CONVERSATION),
    # Agents
    f"GET {_AGENTS}": user("agents"),
    f"POST {_AGENTS}": user("agents", body={"name": "x"}),
    f"GET {_AGENTS}tools": user("agents"),
    f"GET {_AGENTS}{{pk}}": user("agents", _AGENT),
    f"PUT {_AGENTS}{{pk}}": user("agents", _AGENT, {"name": "x"}),
    f"PATCH {_AGENTS}{{pk}}": user("agents", _AGENT, {"name": "x"}),
    f"DELETE {_AGENTS}{{pk}}": user("agents", _AGENT),
    f"GET {_AGENTS}{{pk}}/versions": user("agents", _AGENT),
    f"POST {_AGENTS}{{id}}/run": user("agents", {"id": "agent"}, {"input": "Hello"}),
    f"GET {_AGENTS}runs/": user("agents"),
    f"GET {_AGENTS}runs/{{pk}}": user("agents", {"pk": "agent_run"}),
    f"GET {_AGENTS}runs/{{id}}/events": user("agents", {"id": "ended_run"}),
    f"POST {_AGENTS}runs/{{pk}}/approve": user("approve", {"pk": "agent_run"}),
    f"POST {_AGENTS}runs/{{pk}}/reject": user("approve", {"pk": "agent_run"}),
    f"POST {_AGENTS}runs/{{pk}}/cancel": user("agents", {"pk": "agent_run"}),
    # Tasks
    f"GET {_TASKS}": user("tasks"),
    f"POST {_TASKS}": user("tasks", body=_TASK_BODY),
    f"GET {_TASKS}{{pk}}": user("tasks", _TASK),
    f"PUT {_TASKS}{{pk}}": user("tasks", _TASK, _TASK_BODY),
    f"PATCH {_TASKS}{{pk}}": user("tasks", _TASK, {"name": "x"}),
    f"DELETE {_TASKS}{{pk}}": user("tasks", _TASK),
    f"POST {_TASKS}{{pk}}/run": user("tasks", _TASK, {}),
    f"POST {_TASKS}{{pk}}/cancel": user("tasks", _TASK),
    f"POST {_TASKS}{{pk}}/pause": user("tasks", _TASK),
    f"POST {_TASKS}{{pk}}/resume": user("tasks", _TASK),
    f"POST {_TASKS}{{pk}}/webhook-secret": user("tasks", _TASK),
    f"GET {_TASKS}{{pk}}/runs": user("tasks", _TASK),
    f"GET {_TASKS}{{pk}}/runs/{{run_id}}": user("tasks", {"pk": "task", "run_id": "task_run"}),
    f"GET {_TASKS}{{id}}/events": user("tasks", {"id": "task"}),
    # Foreign wires
    "POST /v1/chat/completions": user("chat"),
    "POST /v1/embeddings": user("chat"),
    "POST /v1/responses": user("chat"),
    "POST /v1/responses/input_tokens": user("chat"),
    "GET /v1/responses/{response}": user("chat", {"response": "kept_answer"}),
    "DELETE /v1/responses/{response}": user("chat", {"response": "kept_answer"}),
    "POST /v1/messages": user("chat"),
    "POST /v1/messages/count_tokens": user("chat"),
    **{
        f"POST /{version}/models/{{model}}:{method}": user("chat")
        for version in ("v1", "v1beta")
        for method in ("generateContent", "streamGenerateContent", "countTokens", "embedContent", "batchEmbedContents")
    },
    "GET /v1beta/models": user("chat"),
    "GET /v1beta/models/{model}": user("chat"),
    "GET /v1/models": user("chat"),
    "GET /v1/models/{model}": user("chat"),
}
