"""The cost of idle sockets: memory above the baseline, and processor time while they stay open."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import uvloop

from benchmarks.client import load
from benchmarks.client.connections import Socket
from benchmarks.harness.installation import MODEL, PER_USER, STREAM_PROMPT, Installation
from benchmarks.harness.meter import Span
from benchmarks.harness.tables import markdown, number


async def _hold(installed: Installation, callers: tuple[str, ...], count: int, seconds: float) -> dict[str, Any]:
    target = load.Target("aiagents", installed.live.port, callers, MODEL, load.CHAT_SOCKET)
    # The first turns import modules and fill caches, which must not count as memory of the sockets.
    await load.socket_turns(target, 16, STREAM_PROMPT)
    await asyncio.sleep(1)
    base = installed.web.memory()
    sockets = [Socket(installed.live.port) for _ in range(count)]
    with Span(web=installed.web) as opening:
        for first in range(0, count, 50):
            await asyncio.gather(
                *(sockets[one].open(target.head("GET", target.wire.path, one)) for one in range(first, min(first + 50, count)))
            )
    await asyncio.sleep(1)
    with Span(web=installed.web, stores=installed.stores) as span:
        await asyncio.sleep(seconds)
    held = installed.web.memory()
    began, raw = time.perf_counter(), target.request(STREAM_PROMPT, True)
    _, first_token, ended = await sockets[0].ask(raw, target.wire)
    alive = sum(not one.transport.is_closing() for one in sockets)
    for one in sockets:
        one.close()
    return {
        "sockets": alive,
        "users": min(len(callers), count),
        "base_mb": base / 2**20,
        "added_mb": (held - base) / 2**20,
        "open_cpu_ms": opening.cpu["web"] * 1000 / count,
        "open_rate": count / opening.seconds,
        "web_share": span.cpu["web"] / seconds,
        "stores_share": span.cpu["stores"] / seconds,
        "first_token_ms": (first_token - began) * 1000 if first_token and ended else float("nan"),
    }


def take(installed: Installation, count: int = 1000, seconds: float = 9) -> dict[str, Any]:
    """Measure `count` sockets of as few users as the limit allows, then of one user each."""
    few = uvloop.run(_hold(installed, installed.people(-(-count // PER_USER)), count, seconds))
    installed.restart()
    return few | {"each_its_own": uvloop.run(_hold(installed, installed.people(count), count, seconds))}


def table(found: dict[str, Any]) -> str:
    rows = [
        (
            f"{one['sockets']:,} of {one['users']:,} users", number(one["base_mb"], 0), number(one["added_mb"], 1),
            number(one["open_rate"], 0), number(one["open_cpu_ms"], 2), f"{one['web_share']:.1%}", f"{one['stores_share']:.1%}",
            number(one["first_token_ms"]),
        )
        for one in (found, found["each_its_own"])
    ]  # fmt: skip
    heads = (
        "idle sockets", "base MB", "added MB", "opened/s", "CPU ms to open one", "web's share of a core", "stores' share",
        "first token of a turn beside them, ms",
    )  # fmt: skip
    return markdown(heads, rows)
