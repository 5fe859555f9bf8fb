"""Requests that come in as frames count like requests over HTTP, in the same buckets."""

from __future__ import annotations

from accounts.authentication import Principal
from aiagents.core.errors import RateLimited
from aiagents.core.ratelimit import buckets
from aiagents.core.ratelimit import sliding_window as ratelimit


async def count_request(principal: Principal) -> None:
    """`RateLimited` when the caller has had all its requests of this window."""
    verdict = await ratelimit.hit_all(buckets.rules(principal, ""))
    if verdict.retry_after is not None:
        raise RateLimited(retry_after=verdict.retry_after)
