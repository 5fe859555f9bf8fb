"""The cost of an asynchronous endpoint, in process: µs of CPU for a JSON request and for a chunk of a stream.

    python -m benchmarks.endpoint [redis-url]

Request ids, limits in Valkey, headers and the access log (to /dev/null) are on; a stub authenticates. The figures include
neither a server nor a client.
"""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import AsyncGenerator
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any
from uuid import UUID, uuid4


@dataclass(frozen=True)
class CredentialRef:
    user_id: UUID = field(default_factory=uuid4)
    expires_at: float | None = None


CHUNK = b'id: 7\nevent: content.delta\ndata: {"text":" word"}\n\n'


async def main() -> None:
    import logging

    from aiagents.core.http.consumer import EndpointApplication
    from aiagents.core.http.endpoints import Endpoint, EventStream, Request, Response, json_response
    from aiagents.core.live import credential_watch

    for handler in logging.getLogger().handlers:
        handler.setStream(open(os.devnull, "w"))  # noqa: ASYNC230, SIM115 - one file for the life of the process
    principal = SimpleNamespace(
        user_id=uuid4(), user=SimpleNamespace(role="user"), key_id=None, rate_limit=None, credential_ref=CredentialRef()
    )

    async def all_stand(credential_refs: list[Any]) -> set[Any]:
        return set(credential_refs)

    credential_watch.register(all_stand)

    async def authenticate(headers: Any) -> Any:
        return principal

    async def echo(request: Request) -> Response:
        return json_response(await request.json())

    async def ready(request: Request) -> EventStream:
        return EventStream(_ready(20_000))

    async def paced(request: Request) -> EventStream:
        return EventStream(_paced(20_000))

    app = EndpointApplication(authenticate=authenticate, authorize=lambda *_, **__: None)
    app.add(Endpoint("POST", "/api/v1/echo", echo, scope="chat"))
    app.add(Endpoint("POST", "/api/v1/ready", ready, scope="chat"))
    app.add(Endpoint("POST", "/api/v1/paced", paced, scope="chat"))

    await call(app, "/api/v1/echo")
    for name, count in (("JSON request", 5000),):
        wall, cpu = time.perf_counter(), time.process_time()
        for _ in range(count):
            await call(app, "/api/v1/echo")
        report(name, count, wall, cpu)
    for path, what in (("/api/v1/ready", "chunk, all ready at once"), ("/api/v1/paced", "chunk, each after a turn of the loop")):
        wall, cpu = time.perf_counter(), time.process_time()
        sent = await call(app, path)
        report(what, 20_000, wall, cpu, f"{sent} sends")


async def _ready(count: int) -> AsyncGenerator[bytes, None]:
    for _ in range(count):
        yield CHUNK


async def _paced(count: int) -> AsyncGenerator[bytes, None]:
    for _ in range(count):
        await asyncio.sleep(0)
        yield CHUNK


async def call(app: Any, path: str) -> int:
    """Handle one request and discard its response. Returns the number of body messages."""
    body = b'{"content":"Hello","model":"auto"}'
    headers = [(b"host", b"localhost"), (b"authorization", b"Bearer x"), (b"content-type", b"application/json"), (b"user-agent", b"x")]
    scope = {
        "type": "http", "method": "POST", "path": path, "raw_path": path.encode(), "query_string": b"", "headers": headers,
        "client": ("127.0.0.1", 1),
    }  # fmt: skip
    incoming = [{"type": "http.request", "body": body, "more_body": False}]
    sent = 0

    async def receive() -> dict[str, Any]:
        return incoming.pop() if incoming else await asyncio.get_running_loop().create_future()

    async def send(message: dict[str, Any]) -> None:
        nonlocal sent
        sent += message["type"] == "http.response.body"

    await app(scope, receive, send)
    return sent


def report(what: str, count: int, wall: float, cpu: float, more: str = "") -> None:
    took, used = (time.perf_counter() - wall) / count * 1e6, (time.process_time() - cpu) / count * 1e6
    print(f"{what:40} {took:8.1f} µs wall {used:8.1f} µs CPU  {more}")


if __name__ == "__main__":
    if len(sys.argv) > 1:
        os.environ["REDIS_URL"] = sys.argv[1]
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "aiagents.settings")
    os.environ["RATE_LIMIT_REQUESTS"] = "1000000"
    import django
    import uvloop

    django.setup()
    uvloop.run(main())
