"""The costs of one turn: its start and end, each chunk, its memory while it runs, and the rows and bytes that it stores.

These are the constants of benchmarks/capacity.py.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

import redis
import uvloop

from benchmarks.client import load
from benchmarks.harness.installation import MODEL, PER_USER, Installation
from benchmarks.harness.meter import Span
from benchmarks.harness.tables import markdown, number

AT_ONCE = 100
_FEW, _MANY = 20, 200
_TABLES = ("chat_conversation", "chat_message", "billing_hold", "billing_usagelog")
Streams = Callable[[load.Target, int, str, float], Awaitable[load.Result]]


def _prompt(chunks: int, pace: int = 20) -> str:
    return f"[[sim:chunks={chunks},pace={pace}]] Say something long about rivers and bridges."


async def _apart(installed: Installation, streams: Streams, target: load.Target) -> dict[str, float]:
    """CPU ms of a turn's start and end and of each chunk (20 ms apart), by process; KB of memory of a running turn."""
    await streams(target, AT_ONCE, _prompt(_FEW), 0.5)
    cost: dict[int, dict[str, float]] = {}
    for chunks in (_FEW, _MANY):
        with Span(web=installed.web, postgres=installed.postgres, valkey=installed.valkey) as span:
            await streams(target, AT_ONCE, _prompt(chunks), 0.5)
            await asyncio.sleep(0.5)
        cost[chunks] = {name: seconds * 1000 / AT_ONCE for name, seconds in span.cpu.items()}
    found: dict[str, float] = {}
    for name in cost[_FEW]:
        each = max(0.0, (cost[_MANY][name] - cost[_FEW][name]) / (_MANY - _FEW))
        found |= {f"{name}_chunk_ms": each, f"{name}_turn_ms": cost[_FEW][name] - each * _FEW}
    before = installed.web.memory()
    running = asyncio.create_task(streams(target, 4 * AT_ONCE, _prompt(100, 50), 1.5))
    await asyncio.sleep(4)
    found["memory_kb"] = (installed.web.memory() - before) / 1024 / (4 * AT_ONCE)
    await running
    return found


async def _left(installed: Installation, target: load.Target, turns: int = 300) -> dict[str, Any]:
    """Bytes per turn of a hundred chunks in PostgreSQL (indexes included), in its write-ahead log and in Valkey."""

    def sizes() -> dict[str, tuple[int, int]]:
        installed.live.query("CHECKPOINT")
        return {
            table: installed.live.query(f"SELECT pg_total_relation_size('{table}'), (SELECT count(*) FROM {table})")[0] for table in _TABLES
        }

    def written() -> int:
        return int(installed.live.query("SELECT pg_wal_lsn_diff(pg_current_wal_lsn(), '0/0')::bigint")[0][0])

    with redis.Redis.from_url(installed.live.env["REDIS_URL"]) as valkey:
        await load.each(target, [{}] * 32, _prompt(100, 0), at_once=8)
        before, log, memory = sizes(), written(), int(valkey.info()["used_memory"])
        await load.each(target, [{}] * turns, _prompt(100, 0), at_once=8)
        await asyncio.sleep(1)
        log, memory, after = written() - log, int(valkey.info()["used_memory"]) - memory, sizes()
    return {
        "rows": {table: (after[table][1] - before[table][1]) / turns for table in _TABLES},
        "bytes": {table: (after[table][0] - before[table][0]) / turns for table in _TABLES},
        "wal_bytes": log / turns,
        "valkey_bytes": memory / turns,
    }


def take(installed: Installation) -> dict[str, Any]:
    callers = installed.people(-(-4 * AT_ONCE // PER_USER))
    ours = load.Target("aiagents", installed.live.port, (installed.live.key,), MODEL)
    socket = replace(ours, keys=callers, wire=load.CHAT_SOCKET)

    async def all_of_them() -> dict[str, Any]:
        return {
            "stream": await _apart(installed, load.streams, ours),
            "turn": await _apart(installed, load.socket_turns, socket),
            "left": await _left(installed, replace(socket, wire=load.CHAT_SEND)),
        }

    return uvloop.run(all_of_them())


def table(found: dict[str, Any]) -> str:
    heads = (
        "CPU ms",
        "web, opening and ending",
        "web, a chunk",
        "PostgreSQL, a turn",
        "a chunk",
        "Valkey, a turn",
        "a chunk",
        "KB while it runs",
    )
    keys = ("web_turn_ms", "web_chunk_ms", "postgres_turn_ms", "postgres_chunk_ms", "valkey_turn_ms", "valkey_chunk_ms")
    rows = [
        (name, *(number(found[which][key], 4 if "chunk" in key else 2) for key in keys), number(found[which]["memory_kb"], 0))
        for name, which in (("a stream over /v1", "stream"), ("a chat turn over a socket", "turn"))
    ]
    left = found["left"]
    kept = [(name, number(left["rows"][name], 2), number(left["bytes"][name], 0)) for name in _TABLES]
    kept += [("write-ahead log", "", number(left["wal_bytes"], 0)), ("Valkey (for an hour)", "", number(left["valkey_bytes"], 0))]
    return markdown(heads, rows) + "\n\n" + markdown(("a turn of 100 chunks leaves in", "rows", "bytes, indexes included"), kept)
