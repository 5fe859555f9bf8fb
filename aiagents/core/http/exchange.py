"""One request of an asynchronous endpoint with its response: rate limit, headers, access log."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import Any

from aiagents.core.errors import AppError, RateLimited
from aiagents.core.http import cors, headers, sse
from aiagents.core.http.request import EventStream, Request, Response, Send
from aiagents.core.http.stream import FAILED, send_stream
from aiagents.core.jsonio import dumps
from aiagents.core.logs.access import log_access
from aiagents.core.metrics.counters import DENIED
from aiagents.core.ratelimit import buckets
from aiagents.core.ratelimit import sliding_window as ratelimit
from aiagents.core.ratelimit.sliding_window import Verdict

# error(exc, request_id): the body, or (status, body, further headers) for a vendor-compatible API with other statuses.
ErrorRenderer = Callable[[AppError, str], bytes | tuple[int, bytes, dict[str, str]]]
_NO_STORE = (b"cache-control", b"no-store")
_STREAM_HEADERS = ((b"cache-control", b"no-cache, no-store"), (b"x-accel-buffering", b"no"))
AUTHENTICATE = 'Bearer realm="api"'


def render_error(exc: AppError, request_id: str) -> bytes:
    """The contract's error object."""
    return dumps(exc.body(request_id))


class Exchange:
    """A request, its rate limit verdict and its response."""

    __slots__ = ("_begun", "_request", "_send", "error", "extra", "verdict")

    def __init__(self, request: Request, send: Send, begun: float) -> None:
        self._request, self._send, self._begun = request, send, begun
        self.error: ErrorRenderer = render_error
        self.verdict: Verdict | None = None
        self.extra: list[tuple[bytes, bytes]] = []

    async def count(self) -> None:
        """Count the request in its rate limits. Raises RateLimited when it exceeds one."""
        self.verdict = await ratelimit.hit_all(buckets.rules(self._request.principal, self._request.client_ip))
        if self.verdict.retry_after is not None:
            raise RateLimited(retry_after=self.verdict.retry_after)

    async def refuse(self, exc: AppError) -> Response:
        """The response for an error. A request that was not counted yet is counted for its address."""
        if self.verdict is None:
            try:
                await self.count()
            except RateLimited as limited:
                exc = limited
        if exc.status in (401, 402, 403, 429):
            DENIED.inc()
        status, body, more = self._render(exc)
        more = more | dict(exc.headers)
        if exc.retry_after is not None:
            more = more | {"Retry-After": str(max(1, round(exc.retry_after)))}
        if status == 401:
            more = more | {"WWW-Authenticate": AUTHENTICATE}
        return Response(status, body, headers=more)

    def _render(self, exc: AppError) -> tuple[int, bytes, dict[str, str]]:
        rendered = self.error(exc, self._request.request_id)
        return rendered if isinstance(rendered, tuple) else (exc.status, rendered, {})

    def _failure(self, exc: AppError) -> bytes:
        return sse.event("error", self._render(exc)[1])

    def preflight(self, methods: Iterable[str]) -> Response:
        requested = self._request.headers.get("access-control-request-headers", "")
        self.extra += cors.preflight(self._request.headers.get("origin"), requested, methods)
        return Response(204)

    async def send(self, answer: Response | EventStream) -> None:
        """Send the response and write the request's line in the access log."""
        if isinstance(answer, EventStream):
            start = self._start(200, b"text/event-stream; charset=utf-8", answer.headers)
            try:
                ended, size = await send_stream(
                    self._request, answer.chunks, self._send, start, answer.failure or self._failure, answer.heartbeat
                )
            except BaseException:
                self.log(200, "cut")
                raise
            self.log(200, ended, size, error=ended == FAILED)
            return
        body = answer.body
        start = self._start(answer.status, answer.content_type.encode(), answer.headers)
        start["headers"].append((b"content-length", b"%d" % len(body)))
        try:
            await self._send(start)
            await self._send({"type": "http.response.body", "body": body})
        finally:
            self._request.unwatch()
            self.log(answer.status, size=len(body))

    def _start(self, status: int, content_type: bytes, more: dict[str, str]) -> dict[str, Any]:
        request = self._request
        found: list[tuple[bytes, bytes]] = [(b"x-request-id", request.request_id.encode()), *headers.security(), *self.extra]
        if status != 204:
            found.append((b"content-type", content_type))
        if content_type[:17] == b"text/event-stream":
            found += _STREAM_HEADERS
        else:
            found.append(_NO_STORE)
        if request.method != "OPTIONS":
            found += cors.headers(request.headers.get("origin"))
        if (verdict := self.verdict) is not None:
            found += (
                (b"ratelimit-limit", b"%d" % verdict.limit),
                (b"ratelimit-remaining", b"%d" % verdict.remaining),
                (b"ratelimit-reset", b"%d" % verdict.reset_seconds),
            )
        if more:
            own = headers.encode(more)
            names = {name for name, _ in own}
            found = [pair for pair in found if pair[0] not in names] + own
        return {"type": "http.response.start", "status": status, "headers": found}

    def log(self, status: int, ended: str = "", size: int = 0, error: bool = False) -> None:
        request = self._request
        seconds = time.perf_counter() - self._begun
        log_access(request.method, request.path, status, seconds, size, request.client_ip, ended=ended, error=error)
