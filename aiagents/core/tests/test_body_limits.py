"""Bodies without a length to a server that does not count them: Django reads no more than its view declares."""

from __future__ import annotations

from typing import Any

import pytest

from aiagents.core.http import body_limits

CHUNK = b"x" * 8192


def incoming(chunks: int) -> Any:
    """A client that sends so many chunks and leaves."""
    messages = [{"type": "http.request", "body": CHUNK, "more_body": number < chunks - 1} for number in range(chunks)]

    async def receive() -> dict[str, Any]:
        return messages.pop(0) if messages else {"type": "http.disconnect"}

    return receive


async def read(receive: Any) -> bytes:
    body, more = b"", True
    while more:
        message = await receive()
        body, more = body + message["body"], message["more_body"]
    return body


@pytest.mark.parametrize(("chunks", "cut"), [(1, False), (2, False), (3, True), (50, True)])
async def test_a_body_ends_at_the_limit_of_its_view(chunks: int, cut: bool):
    scope: dict[str, Any] = {"type": "http", "path": "/nowhere"}
    receive = body_limits.counted(scope, incoming(chunks))
    assert len(await read(receive)) <= body_limits.SMALL
    assert (scope.get(body_limits.CUT) == body_limits.SMALL) is cut
    assert (await receive())["type"] == "http.disconnect"  # what Django waits for then


def test_no_limit_is_above_the_largest_body(settings: Any):
    settings.MAX_BODY_BYTES = 1000
    assert body_limits.small() == body_limits.bounded(body_limits.CONTENT) == body_limits.of_view("/nowhere") == 1000
