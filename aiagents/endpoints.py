"""The table of every endpoint beside Django's urls (`aiagents/urls.py` has the others) and of every WebSocket.

These endpoints carry tokens: they stream for minutes, and thousands may be open at once. They share authentication, limits,
errors and the log line with Django's views, but run without its middleware and threads.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from channels.routing import URLRouter
from django.conf import settings
from django.urls import path, re_path

from accounts.authentication import authenticate, require_scope
from agents.api import run_endpoint, run_openapi
from agents.compatible import google_routes as gemini
from agents.compatible import routes as compatible
from agents.compatible.anthropic_messages import answer as anthropic
from agents.compatible.google_generate import answer as google
from agents.compatible.openai_chat import answer as openai
from agents.compatible.openai_responses import endpoint as responses
from agents.compatible.openapi import OPERATIONS as COMPATIBLE
from agents.compatible.openapi import gemini_operation
from aiagents.core.http import hosts
from aiagents.core.http.body_limits import CONTENT, TEXT
from aiagents.core.http.consumer import EndpointApplication
from aiagents.core.http.endpoints import Endpoint, Handler
from aiagents.core.http.headers import read
from aiagents.core.http.request import Receive, Scope, Send
from aiagents.monitoring import live_access
from aiagents.monitoring.live import LiveConsumer
from chat.api import http as chat
from chat.api.openapi import OPERATIONS as CHAT
from chat.api.websocket import ChatConsumer
from tasks.api import http as tasks

_ID = r"(?P<id>[0-9a-fA-F-]{36})"
_RESPONSE = r"/v1/responses/(?P<response>[^/]{1,200})"
# A conversation: a turn outlives its client, and Idempotency-Key leads to the turn that the first request began.
_chat = partial(Endpoint, scope="chat", tags=("chat",))
# The compatible APIs: a call ends with its client, and its whole answer is kept under its Idempotency-Key.
_v1 = partial(
    Endpoint, scope="chat", tags=("compatible APIs",), max_body_bytes=CONTENT, max_values=settings.MAX_PROMPT_VALUES, stores_text=False
)
_call = partial(_v1, starts_work=True, cancel_on_disconnect=True, idempotent=True)


def _gemini(version: str) -> tuple[Endpoint, ...]:
    """Return the endpoints of Google's API under one of its versions. They stand before OpenAI's, whose models may hold colons."""
    methods: tuple[tuple[str, Handler, Callable[..., Endpoint]], ...] = (
        ("generateContent", gemini.generate_content, _call), ("streamGenerateContent", gemini.stream_generate_content, _call),
        ("countTokens", gemini.count_tokens, _v1), ("embedContent", gemini.embed_content, _call),
        ("batchEmbedContents", gemini.batch_embed_contents, _call),
    )  # fmt: skip
    return tuple(
        kind(
            "POST", rf"/{version}/models/(?P<model>.{{1,200}}):{name}", handler, error=google.error, openapi=gemini_operation(name, version)
        )
        for name, handler, kind in methods
    )


HTTP: tuple[Endpoint, ...] = (
    _chat("POST", "/api/v1/chat/send", chat.send, starts_work=True, max_body_bytes=CONTENT, openapi=CHAT["send"]),
    _chat("POST", "/api/v1/chat/stream", chat.stream, starts_work=True, max_body_bytes=CONTENT, openapi=CHAT["stream"]),
    _chat("GET", rf"/api/v1/chat/stream/{_ID}", chat.reattach, openapi=CHAT["reattach"]),
    _chat("POST", rf"/api/v1/chat/messages/{_ID}/cancel", chat.cancel, openapi=CHAT["cancel"]),
    _chat(
        "POST", rf"/api/v1/chat/messages/{_ID}/regenerate", chat.regenerate, starts_work=True, max_body_bytes=TEXT,
        openapi=CHAT["regenerate"],
    ),
    _chat("POST", rf"/api/v1/chat/messages/{_ID}/edit", chat.edit, starts_work=True, max_body_bytes=CONTENT, openapi=CHAT["edit"]),
    _chat("POST", "/api/v1/chat/route", chat.route, max_body_bytes=CONTENT, openapi=CHAT["route"]),
    Endpoint(
        "POST", rf"/api/v1/agents/{_ID}/run", run_endpoint.run, scope="agents", tags=("agents",), starts_work=True,
        max_body_bytes=CONTENT, openapi=run_openapi.RUN,
    ),
    Endpoint(
        "GET", rf"/api/v1/agents/runs/{_ID}/events", run_endpoint.events, scope="agents", tags=("agents",), openapi=run_openapi.EVENTS
    ),
    Endpoint("GET", rf"/api/v1/tasks/{_ID}/events", tasks.events, scope="tasks", openapi=tasks.EVENTS),
    _call("POST", "/v1/chat/completions", compatible.chat_completions, error=openai.error, openapi=COMPATIBLE["chat_completions"]),
    _call("POST", "/v1/embeddings", compatible.embeddings, error=openai.error, openapi=COMPATIBLE["embeddings"]),
    _call("POST", "/v1/responses", responses.responses, error=openai.error, openapi=COMPATIBLE["responses"]),
    _v1("POST", "/v1/responses/input_tokens", responses.input_tokens, error=openai.error, openapi=COMPATIBLE["input_tokens"]),
    _v1("GET", _RESPONSE, responses.response_detail, error=openai.error, openapi=COMPATIBLE["response_detail"]),
    _v1("DELETE", _RESPONSE, responses.response_delete, error=openai.error, openapi=COMPATIBLE["response_delete"]),
    _call("POST", "/v1/messages", compatible.messages, error=anthropic.error, openapi=COMPATIBLE["messages"]),
    _v1("POST", "/v1/messages/count_tokens", compatible.count_tokens, error=anthropic.error, openapi=COMPATIBLE["count_tokens"]),
    *_gemini("v1"),
    *_gemini("v1beta"),
    _v1("GET", "/v1beta/models", gemini.model_list, error=google.error, openapi=COMPATIBLE["google_model_list"]),
    _v1(
        "GET", r"/v1beta/models/(?P<model>.{1,200})", gemini.model_detail, error=google.error, openapi=COMPATIBLE["google_model_detail"]
    ),
    _v1("GET", "/v1/models", gemini.v1_model_list, error=openai.error, openapi=COMPATIBLE["model_list"]),
    _v1(
        "GET", r"/v1/models/(?P<model>.{1,200})", gemini.v1_model_detail, error=openai.error, openapi=COMPATIBLE["model_detail"]
    ),
)  # fmt: skip
http = EndpointApplication(HTTP, authenticate=authenticate, authorize=require_scope)

CHAT_SOCKET, LIVE_SOCKET = "/api/v1/chat/ws", "/api/v1/admin/live"
WEBSOCKETS: dict[str, Any] = {
    CHAT_SOCKET: ChatConsumer.as_asgi(),
    LIVE_SOCKET: LiveConsumer.as_asgi(admit=live_access.admit),
}


async def _refuse(scope: Scope, receive: Receive, send: Send) -> None:
    """Refuse the handshake: HTTP 403."""
    await receive()
    await send({"type": "websocket.close"})


# Django's `re_path` is typed for views; Channels takes ASGI applications.
_otherwise: Any = _refuse
_routes = URLRouter([*(path(route.removeprefix("/"), consumer) for route, consumer in WEBSOCKETS.items()), re_path("", _otherwise)])


async def websocket(scope: Scope, receive: Receive, send: Send) -> None:
    """Every WebSocket of the product; an unknown path, or a Host that is not ours, is refused in the handshake."""
    # URLRouter ignores how many slashes a path begins with.
    found = not scope["path"].startswith("//") and hosts.allowed(read(scope["headers"]).get("host", ""), scope["path"])
    await (_routes if found else _refuse)(scope, receive, send)
