"""Linear growth: ten times the load, history, users or rows may cost at most eleven times as much.

    python -m benchmarks.linear [--rows 1000000]

Cost is the processor time of our server, PostgreSQL and Valkey together, minus their use while idle.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Any

import uvloop

from benchmarks.client import load
from benchmarks.harness.installation import MODEL, PER_USER, PROMPT, STREAM_PROMPT, Installation, installation
from benchmarks.harness.meter import Span
from benchmarks.harness.tables import markdown, number

LIMIT = 11.0
_LIST = "/api/v1/chat/conversations?page_size=25"


@dataclass(frozen=True)
class Growth:
    """CPU milliseconds of the work: `small` for the given amount, `large` for ten times as much."""

    what: str
    small: float
    large: float
    more: str = ""

    @property
    def times(self) -> float:
        return self.large / self.small

    def figures(self) -> dict[str, Any]:
        return {"small_ms": self.small, "large_ms": self.large, "times": self.times, "more": self.more}


class Bill:
    """Measures the CPU time of work, minus the idle consumption of the servers."""

    def __init__(self, installed: Installation) -> None:
        self.installed = installed
        self.idle = 0.0

    async def rest(self, seconds: float = 3) -> None:
        """Measure the idle consumption."""
        with Span(web=self.installed.web, stores=self.installed.stores) as span:
            await asyncio.sleep(seconds)
        self.idle = sum(span.cpu.values()) / seconds

    async def of(self, work: Callable[[], Awaitable[Any]], rounds: int = 3) -> float:
        """Milliseconds, the median of the rounds."""
        seen = []
        for _ in range(rounds):
            with Span(web=self.installed.web, stores=self.installed.stores) as span:
                found = await work()
                await asyncio.sleep(0.3)  # writes that follow the response
            errors = found.errors if isinstance(found, load.Result) else {}
            if errors:
                raise RuntimeError(f"refused: {errors}")
            seen.append((sum(span.cpu.values()) - self.idle * span.seconds) * 1000)
        return max(statistics.median(seen), 0.1)


async def of_load(bill: Bill, target: load.Target, callers: tuple[str, ...]) -> list[Growth]:
    """Streams, turns and requests, ten times as many."""
    found = []
    socket = replace(target, wire=load.CHAT_SOCKET, keys=callers)
    for what, streams, at in (("streams over /v1", load.streams, target), ("chat turns over sockets", load.socket_turns, socket)):
        small = await bill.of(lambda streams=streams, at=at: streams(at, 20, STREAM_PROMPT, 0.5))
        large = await bill.of(lambda streams=streams, at=at: streams(at, 200, STREAM_PROMPT, 1.0))
        found.append(Growth(f"{what} (20, 200)", small, large))
    small = await bill.of(lambda: load.closed_loop(target, 16, 60, PROMPT, count=100))
    large = await bill.of(lambda: load.closed_loop(target, 16, 60, PROMPT, count=1000))
    return [*found, Growth("requests over /v1 (100, 1,000)", small, large)]


async def of_history(installed: Installation, bill: Bill, target: load.Target, callers: tuple[str, ...]) -> list[Growth]:
    """A turn in a conversation ten times as long, a read of its messages, and a list of ten times as many conversations."""
    found, turn = {}, replace(target, wire=load.CHAT_SEND)
    for length in (20, 200):
        ids = [
            installed.script("benchmarks.seeding", "conversations", raw, "15", str(length)) for raw in callers[:3]
        ]  # three rounds, each with conversations that no other round has extended
        rounds = iter(zip(callers[:3], ids, strict=True))

        async def ask(rounds: Any = rounds) -> load.Result:
            raw, some = next(rounds)
            return await load.each(replace(turn, keys=(raw,)), [{"conversation_id": one} for one in some], PROMPT)

        found[length] = await bill.of(ask)
        path = f"/api/v1/chat/conversations/{ids[0][0]}/messages?page_size=50"
        found[f"messages {length}"] = await bill.of(lambda path=path: load.gets(target, path, callers[0], 40))
    lists = {}
    for count, raw in ((100, callers[3]), (1000, callers[4])):
        installed.script("benchmarks.seeding", "conversations", raw, str(count), "2")
        lists[count] = await bill.of(lambda raw=raw: load.gets(target, _LIST, raw, 40))
    return [
        Growth("messages in a conversation, 15 turns (20, 200)", found[20], found[200]),
        Growth("messages in a conversation, a page of 50 (20, 200)", found["messages 20"], found["messages 200"]),
        Growth("conversations of a user, the list's first page (100, 1,000)", lists[100], lists[1000]),
    ]


async def of_users(installed: Installation, bill: Bill, target: load.Target) -> list[Growth]:
    """One request from each of ten times as many users that the process has not cached; then more users in the tables."""
    few = await bill.of(lambda: _once_each(target, installed.people(100)), rounds=1)
    first = await bill.of(lambda: _once_each(target, installed.people(1000)), rounds=1)
    installed.people(9000)
    crowded = await bill.of(lambda: _once_each(target, installed.people(1000)), rounds=1)
    return [
        Growth("users who ask for the first time (100, 1,000)", few, first),
        Growth("users in the tables, 1,000 of them ask (2,000, 12,000)", first, crowded),
    ]


async def _once_each(target: load.Target, keys: tuple[str, ...]) -> load.Result:
    return await load.each(replace(target, keys=keys), [{} for _ in keys], PROMPT, at_once=16)


async def of_rows(installed: Installation, bill: Bill, target: load.Target, rows: int) -> list[Growth]:
    """Calls and reports with ten times as many rows in the usage log."""
    reports = {
        "summary": "/api/v1/billing/summary",
        "usage list": "/api/v1/billing/usage?page_size=25",
        "usage by day": "/api/v1/billing/usage?group_by=day",
    }
    found: dict[str, list[float]] = {}
    have = 0
    for wanted in (rows // 10, rows):
        installed.script("benchmarks.seeding", "usage", target.keys[0], str(wanted - have))
        have = wanted
        await load.closed_loop(target, 4, 1, PROMPT)
        calls = await bill.of(lambda: load.closed_loop(target, 16, 60, PROMPT, count=400))
        found.setdefault("400 calls (hold and settle)", []).append(calls)
        for name, path in reports.items():
            found.setdefault(name, []).append(await bill.of(lambda path=path: load.gets(target, path, target.keys[0], 15)))
    label = f"({rows // 10:,}, {rows:,}; the user's own are 1 %)"
    return [Growth(f"rows in the usage log, {name} {label}", *pair) for name, pair in found.items()]


def take(installed: Installation, rows: int) -> dict[str, Any]:
    callers = installed.people(max(8, -(-200 // PER_USER)))
    target = load.Target("aiagents", installed.live.port, (installed.live.key,), MODEL)
    bill = Bill(installed)

    async def all_of_them() -> list[Growth]:
        await load.closed_loop(target, 16, 2, PROMPT)
        await load.socket_turns(replace(target, wire=load.CHAT_SOCKET, keys=callers), 50, STREAM_PROMPT)
        await bill.rest()
        found = await of_load(bill, target, callers)
        found += await of_history(installed, bill, target, callers)
        found += await of_users(installed, bill, target)
        return found + (await of_rows(installed, bill, target, rows) if rows else [])

    return {growth.what: growth.figures() for growth in uvloop.run(all_of_them())}


def table(found: dict[str, Any]) -> str:
    rows = [
        (what, number(one["small_ms"], 0), number(one["large_ms"], 0), number(one["times"], 2), "yes" if one["times"] <= LIMIT else "NO")
        for what, one in found.items()
    ]
    return markdown(("ten times the …", "CPU ms for the first", "for ten times as much", "times", f"at most {LIMIT:.0f}"), rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000, help="usage rows of the larger case; 0: skip it")
    arguments = parser.parse_args()
    began = time.monotonic()
    with installation() as installed:
        print(table(take(installed, arguments.rows)))
    print(f"\n{time.monotonic() - began:.0f} s")


if __name__ == "__main__":
    main()
