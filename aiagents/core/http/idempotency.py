"""`Idempotency-Key` of the asynchronous endpoints."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from typing import Any, TypeVar
from uuid import UUID

from aiagents.core import idempotency
from aiagents.core.http.request import EventStream, Request, Response
from aiagents.core.http.sse import MEDIA_TYPE
from aiagents.core.idempotency import Claim, Replay
from aiagents.core.metrics.counters import REPLAYS

Answer = Response | EventStream
Replayer = Callable[[Request, dict[str, Any]], Awaitable[Answer]]
# Called with the id of the work in the transaction that stores it.
Store = Callable[[UUID], None]
T = TypeVar("T")
REPLAYED = {"Idempotent-Replayed": "true"}
# A larger response is not stored for a replay, and its key may be used again.
MAX_KEPT_BYTES = 1024 * 1024
_beginning: set[asyncio.Task[Any]] = set()


async def begin_once(request: Request, name: str, start: Callable[[Store], Awaitable[T]]) -> T | UUID:
    """What `start` began, or the id of the work that an earlier request with the same Idempotency-Key began.

    `start` calls the function that it gets in the transaction that stores the work: the key leads to the work from its first moment,
    or there is neither. `name` is the id's name in the stored reference. A client that disconnects does not stop the beginning.
    """
    task = asyncio.create_task(_begin(request, name, start))
    _beginning.add(task)
    task.add_done_callback(_begun)
    return await asyncio.shield(task)


async def _begin(request: Request, name: str, start: Callable[[Store], Awaitable[T]]) -> T | UUID:
    key = request.headers.get("idempotency-key")
    if not key:
        return await start(lambda _: None)
    same = await request.fingerprint()
    claim = await idempotency.begin(str(request.principal.user_id), idempotency.valid_key(key), same)
    if isinstance(claim, Replay):
        return UUID(claim.reference[name])
    try:
        return await start(lambda id: idempotency.finish_sync(claim, 200, b"", reference={name: str(id)}))
    except BaseException:
        await idempotency.abandon(claim)
        raise


def _begun(task: asyncio.Task[Any]) -> None:
    _beginning.discard(task)
    if not task.cancelled():
        task.exception()  # read here, because the request may be gone


async def run_once(request: Request, key: str, handler: Callable[[Request], Awaitable[Answer]], replay: Replayer | None) -> Answer:
    """The handler's response, or a replay of the first response for this key.

    With `replay` a repeated request is answered from the reference that the first handler stored, e.g. a running turn.
    Without it the stored bytes are sent. Raises Conflict for a key of another request.
    """
    principal = str(request.principal.user_id)
    fingerprint = await request.fingerprint()
    begun = await idempotency.begin(principal, idempotency.valid_key(key), fingerprint)
    if isinstance(begun, Replay):
        if replay is not None and begun.reference:
            answer = await replay(request, begun.reference)
            answer.headers = answer.headers | REPLAYED
            REPLAYS.inc()
            return answer
        if begun.status:
            REPLAYS.inc()
            return Response(begun.status, begun.body, begun.content_type, dict(REPLAYED))
        begun = await idempotency.take_over(principal, key)
    request.claim = begun
    try:
        answer = await handler(request)
    except BaseException as exc:
        # Cancelled: the work may go on in the background, and a replay finds it by its reference.
        cut = not isinstance(exc, Exception) and replay is not None and bool(begun.reference)
        await asyncio.shield(idempotency.release(begun) if cut else idempotency.abandon(begun))
        raise
    if isinstance(answer, EventStream):
        answer.chunks = _kept(answer.chunks, begun, by_reference=replay is not None)
    elif answer.status < 400 and (len(answer.body) <= MAX_KEPT_BYTES or replay is not None):
        await asyncio.shield(idempotency.finish(begun, answer.status, answer.body, answer.content_type))
    else:
        await asyncio.shield(idempotency.abandon(begun))
    return answer


async def _kept(chunks: AsyncGenerator[bytes, None], claim: Claim, by_reference: bool) -> AsyncGenerator[bytes, None]:
    """Yield the same chunks; when they end or the client disconnects, finish or abandon the claim."""
    kept: list[bytes] = []
    size, whole = 0, False
    try:
        async with aclosing(chunks):
            async for chunk in chunks:
                size += len(chunk)
                if not by_reference and size <= MAX_KEPT_BYTES:
                    kept.append(chunk)
                yield chunk
        whole = True
    finally:
        if by_reference and claim.reference:
            await asyncio.shield(idempotency.finish(claim, 200, b"", MEDIA_TYPE))
        elif whole and size <= MAX_KEPT_BYTES:
            await asyncio.shield(idempotency.finish(claim, 200, b"".join(kept), MEDIA_TYPE))
        else:
            await asyncio.shield(idempotency.abandon(claim))
