"""The cost of many viewers of one turn: in the process that writes it, and in another that reads it from Valkey."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace
from typing import Any

import uvloop

from benchmarks.client import load
from benchmarks.client.connections import Connection
from benchmarks.harness.installation import MODEL, STREAM_PROMPT, Installation
from benchmarks.harness.meter import Meter, Span
from benchmarks.harness.tables import markdown, number


async def _watched(here: load.Target, there: load.Target, count: int, meters: dict[str, Meter]) -> dict[str, Any]:
    """Start a turn at `here` and `count` viewers of it at `there`. Returns CPU, and how much later than its client they see the end."""
    own = Connection(here.port)
    with Span(**meters) as span:
        turn = asyncio.create_task(own.ask(here.request(STREAM_PROMPT, True), here.wire))
        await own.headed.wait()
        message = own.head.lower().partition(b"x-message-id: ")[2].partition(b"\r")[0].decode()
        lines = [Connection(there.port) for _ in range(count)]

        async def view(line: Connection) -> tuple[bool, float]:
            _, _, ended = await line.ask(there.head("GET", f"/api/v1/chat/stream/{message}"), there.wire)
            return ended, time.perf_counter()

        views = [asyncio.create_task(view(line)) for line in lines]
        await turn
        over = time.perf_counter()
        seen = [await one for one in views]
    for line in (own, *lines):
        line.close()
    lags = [(moment - over) * 1000 for ended, moment in seen if ended]
    lag = {f"lag_p{part}_ms": load.percentile(lags, part) for part in (50, 95)}
    return {"count": count, "whole": len(lags), "cpu": span.cpu, **lag}


def take(installed: Installation) -> dict[str, Any]:
    """One turn with 1, 10, 100 and 300 viewers, in its own process and in another."""
    port, meter = installed.second_server()
    raw = installed.people(1)
    here = load.Target("aiagents", installed.live.port, raw, MODEL, load.CHAT_STREAM)
    there = replace(here, port=port)
    meters = {"web": installed.web, "web2": meter, "valkey": installed.valkey}
    found: dict[str, Any] = {}

    async def all_of_them() -> None:
        for where in (here, there):  # the first turn imports modules
            await load.streams(where, 2, STREAM_PROMPT)
        alone = await _watched(here, here, 0, meters)
        for name, where in (("the same process", here), ("another process", there)):
            rows = found[name] = []
            for count in (1, 10, 100, 300):
                one = await _watched(here, where, count, meters)
                spent = {which: (one["cpu"][which] - alone["cpu"][which]) * 1000 for which in meters}
                rows.append(one | {"cpu": spent, "each_ms": (spent["web"] + spent["web2"]) / count})

    uvloop.run(all_of_them())
    installed.live.stop("web2")
    return found


def table(found: dict[str, Any]) -> str:
    heads = (
        "viewers of one turn, in", "viewers", "saw it whole", "its end later by p50 ms", "p95 ms", "CPU ms a viewer",
        "Valkey's CPU ms in all",
    )  # fmt: skip
    rows = [
        (
            where, one["count"], one["whole"], number(one["lag_p50_ms"]), number(one["lag_p95_ms"]), number(one["each_ms"], 2),
            number(one["cpu"]["valkey"], 0),
        )
        for where, rows in found.items()
        for one in rows
    ]  # fmt: skip
    return markdown(heads, rows)
