"""A vendor that answers with what the test wrote, and the unchanged SDKs against our application in this process."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from decimal import Decimal
from typing import Any, cast
from uuid import uuid4

import anthropic
import httpx2
import openai
from google import genai

from accounts import keys
from accounts.authentication import Principal
from agents.calls import running as running_calls
from agents.events import Settled, Started
from agents.models import ProviderConnection
from agents.routing import connections
from aiagents.asgi import application
from aiagents.core.db.calls import in_db
from billing.catalogue import snapshot as catalogue
from billing.models import AIModel
from billing.pricing import Usage

JSON = dict[str, Any]
MODELS = {"openai": "gpt-4o-mini", "anthropic": "claude-haiku-4-5", "google": "gemini-2.5-flash"}


def sse(*events: JSON | str) -> bytes:
    """The events as a vendor's stream, with the names that Anthropic's have; a text is sent as it is."""
    out = []
    for event in events:
        name = f"event: {event['type']}\n" if isinstance(event, dict) and "type" in event else ""
        out.append(f"{name}data: {event if isinstance(event, str) else json.dumps(event)}\n\n".encode())
    return b"".join(out)


def chat_stream(*deltas: JSON, finish: str | None = "stop", **last: Any) -> bytes:
    """A chat completion in chunks; `last` are fields of the last one."""
    base = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": MODELS["openai"]}
    chunks = [{**base, "choices": [{"index": 0, "delta": delta, "finish_reason": None}]} for delta in deltas]
    return sse(*chunks, {**base, "choices": [{"index": 0, "delta": {}, "finish_reason": finish}], **last}, "[DONE]")


def chat_whole(message: JSON, finish: str | None = "stop", **more: Any) -> JSON:
    base = {"id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": MODELS["openai"]}
    return {**base, "choices": [{"index": 0, "message": {"role": "assistant", **message}, "finish_reason": finish}], **more}


def started() -> Started:
    return Started(uuid4(), "m", "p", {})


def settled(**changes: Any) -> Settled:
    """The end of a call, for tests of what writes it."""
    fields: dict[str, Any] = {
        "call_id": uuid4(), "model": "m", "provider": "p", "finish_reason": "stop", "usage": Usage(3, 0, 0, 2, 0), "cost_usd": Decimal(0),
        "estimated": False, "latency_ms": 1, "ttft_ms": 1,
    }  # fmt: skip
    return Settled(**(fields | changes))


class Scripted:
    """Answers one request after another: a dict as JSON, bytes as an event stream. The last answer is repeated.

    A status and a dict are a refusal.
    """

    def __init__(self, *answers: JSON | bytes | tuple[int, JSON]) -> None:
        self.answers = list(answers)
        self.requests: list[JSON] = []

    @asynccontextmanager
    async def serve(self, settings: Any) -> AsyncIterator[Scripted]:
        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            head = await reader.readuntil(b"\r\n\r\n")
            length = next(int(line.split(b":")[1]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length"))
            self.requests.append(json.loads(await reader.readexactly(length)))
            made = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
            status, made = made if isinstance(made, tuple) else (200, made)
            body, kind = (made, "text/event-stream") if isinstance(made, bytes) else (json.dumps(made).encode(), "application/json")
            writer.write(f"HTTP/1.1 {status} Answer\r\nContent-Type: {kind}\r\nConnection: close\r\n\r\n".encode() + body)
            await writer.drain()
            writer.close()

        server = await asyncio.start_server(answer, "127.0.0.1", 0)
        settings.SIMULATOR_URL = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        try:
            yield self
        finally:
            server.close()
            await running_calls.finish_settlements()


async def _key(caller: Principal) -> str:
    return str((await in_db(lambda: keys.create(caller.user, name="sdk", scopes=("chat",))))[1])


def _http() -> httpx2.AsyncClient:
    return httpx2.AsyncClient(transport=httpx2.ASGITransport(app=cast(Any, application)))


@asynccontextmanager
async def openai_sdk(caller: Principal) -> AsyncIterator[openai.AsyncOpenAI]:
    client = openai.AsyncOpenAI(api_key=await _key(caller), base_url="http://testserver/v1", max_retries=0, http_client=_http())
    async with client:
        yield client


@asynccontextmanager
async def anthropic_sdk(caller: Principal) -> AsyncIterator[anthropic.AsyncAnthropic]:
    client = anthropic.AsyncAnthropic(api_key=await _key(caller), base_url="http://testserver", max_retries=0, http_client=_http())
    async with client:
        yield client


@asynccontextmanager
async def google_sdk(caller: Principal, version: str = "v1") -> AsyncIterator[Any]:
    """The asynchronous client of google-genai; 2.x talks to v1beta, 3.x to v1."""
    async with _http() as http:
        options = genai.types.HttpOptions(base_url="http://testserver", api_version=version, httpx_async_client=http)
        yield genai.Client(api_key=await _key(caller), vertexai=False, http_options=options).aio


def compatible_server(url: str, **changes: Any) -> None:
    """Add the model `own` at an OpenAI-compatible server (sync code)."""
    ProviderConnection.objects.create(slug="own", name="Own", kind="openai_compatible", base_url=url, **changes)
    AIModel.objects.create(
        slug="own", display_name="Own", provider="openai_compatible", connection="own", vendor_model="org/own-7b",
        context_window=32_000, max_output_tokens=4000,
    )  # fmt: skip
    connections.invalidate()
    catalogue.invalidate()
