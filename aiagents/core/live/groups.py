"""Membership in groups of the channel layer that lasts: channels-redis forgets a member after a day and after an outage."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any

from aiagents.core.valkey.clients import cancelled

log = logging.getLogger(__name__)
# Seconds between two additions to a group, and before the next try after a failure.
REJOIN_SECONDS, RETRY_SECONDS = 3600.0, 5.0
# Seconds over which the members join again after an outage, and that leaving may take.
SPREAD_SECONDS, LEAVE_SECONDS = 1.0, 2.0
_leaving: set[asyncio.Task[None]] = set()


async def stay_in(layer: Any, group: str, channel: str, joined_again: Callable[[], None]) -> None:
    """Keep the channel in the group until cancelled. `joined_again` is called after an outage, in which messages may be lost."""
    lost = False
    while True:
        try:
            await layer.group_add(group, channel)
        except Exception as exc:
            log.warning("group_not_joined", extra={"reason": type(exc).__name__})
            lost, seconds = True, RETRY_SECONDS
        else:
            if lost:
                joined_again()
            lost, seconds = False, REJOIN_SECONDS
        if cancelled():
            return
        if await layer.outage(seconds):
            lost = True
            await asyncio.sleep(random.uniform(0, SPREAD_SECONDS))


def leave(layer: Any, groups: Iterable[str], channel: str) -> None:
    """Take a channel that ended out of its groups, in a task, so that nothing more is sent to it."""
    layer.forget(channel)
    task = asyncio.create_task(_leave(layer, list(groups), channel))
    _leaving.add(task)
    task.add_done_callback(_leaving.discard)


async def _leave(layer: Any, groups: list[str], channel: str) -> None:
    with suppress(Exception):  # the layer is away: it forgets the channel after a day
        async with asyncio.timeout(LEAVE_SECONDS):
            for group in groups:
                await layer.group_discard(group, channel)
