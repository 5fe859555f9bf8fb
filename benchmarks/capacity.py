"""Capacity planning: the resources for a number of concurrent turns, from the measured costs of one turn.

    python -m benchmarks.capacity [--turns 10000,1000000] [--seconds 10] [--chunks 300] [--figures figures.json]

Arithmetic and two small simulations; it starts nothing. `--figures` reads the unit costs from the file that `python -m
benchmarks --json` wrote; the default is the costs in docs/scaling.md. A core is one of the machine that measured them.
"""

from __future__ import annotations

import argparse
import json
import random
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.harness.tables import markdown, number

# The planned utilisation of a core, and the share of a month's hours at peak load.
BUSY, MONTH = 0.6, 0.3
PROCESS_MB, SOCKET_KB = 175, 28
# Milliseconds for which a hold locks the rows of its budgets; a settlement the same, without its wait for the disk.
LOCKED_MS = 0.3
# The unit costs of docs/scaling.md (measured by benchmarks/workloads/unit_costs.py).
COSTS = {
    "web_turn_ms": 7.02, "web_chunk_ms": 0.069, "postgres_turn_ms": 3.28, "postgres_chunk_ms": 0.0011,
    "valkey_turn_ms": 0.17, "memory_kb": 23.0, "bytes": 5133.0, "wal_bytes": 11882.0, "valkey_bytes": 4458.0,
}  # fmt: skip
# Microseconds of Valkey's core for one entry of an event log (measured by benchmarks/shared/stores.py).
ENTRY_US = 4.5


@dataclass(frozen=True)
class Design:
    """`batch`: seconds between two entries of a turn's log; `progress`: between two writes of its partial text to its row."""

    name: str
    batch: float
    progress: float
    wait_ms: float
    rows: int


NOW = Design("as it is", 0.03, 1.0, 0.0, 1)
WIDE = Design("set for many machines", 0.25, 5.0, 0.0, 16)


def needs(turns: int, seconds: float, chunks: int, costs: dict[str, float], design: Design) -> list[tuple[str, str]]:
    """The load of `turns` concurrent turns, each of `seconds` with `chunks` events, on every part."""
    begun = turns / seconds
    web = begun * (costs["web_turn_ms"] + chunks * costs["web_chunk_ms"]) / 1000
    processes = max(1, round(web / BUSY + 0.5))
    memory = processes * PROCESS_MB / 1024 + turns * (costs["memory_kb"] + SOCKET_KB) / 2**20
    # The chunk's share of PostgreSQL is the partial text, written each second where it was measured (50 chunks a second).
    postgres = begun * costs["postgres_turn_ms"] / 1000 + turns / design.progress * costs["postgres_chunk_ms"] * 50 / 1000
    entries = turns * min(1 / design.batch, chunks / seconds)
    valkey = begun * costs["valkey_turn_ms"] / 1000 + entries * ENTRY_US / 1e6
    row = 1000 / (2 * LOCKED_MS + design.wait_ms) * design.rows
    month = begun * 86400 * 30 * MONTH
    return [
        ("turns begun a second", number(begun, 0)),
        ("web: cores in use → processes of one core at 60 %", f"{number(web)} → {number(processes, 0)}"),
        ("web: memory of all processes", f"{number(memory, 0)} GB"),
        ("PostgreSQL: cores in use", number(postgres)),
        ("PostgreSQL: write-ahead log", f"{number(begun * costs['wal_bytes'] / 2**20)} MB/s"),
        ("PostgreSQL: partial texts written", f"{number(turns / design.progress, 0)}/s"),
        ("money: calls a second that the system's budget carries", f"{number(row, 0)} ({number(begun / row * 100, 0)} % used)"),
        ("Valkey: entries of logs", f"{number(entries, 0)}/s"),
        ("Valkey: cores in use → servers of one core at 60 %", f"{number(valkey)} → {number(max(1, round(valkey / BUSY + 0.5)), 0)}"),
        ("Valkey: memory of an hour's logs", f"{number(begun * 3600 * costs['valkey_bytes'] / 2**30)} GB"),
        ("rows a month (5 a turn)", f"{number(month * 5 / 1e6, 0)} million"),
        ("storage a month", f"{number(month * costs['bytes'] / 2**40, 2)} TB"),
    ]


def queue(pairs: float, wait_ms: float, rows: int, seconds: float = 20, seed: int = 1) -> float:
    """p95 of the milliseconds that a hold or settlement waits for its row: `pairs` per second over `rows` rows, serialized."""
    rng, waits = random.Random(seed), []
    rate = pairs * 2 / rows / 1000  # a row's statements in a millisecond
    moment = free = 0.0
    while moment < seconds * 1000:
        moment += rng.expovariate(rate)
        waits.append(max(0.0, free - moment))
        free = max(free, moment) + LOCKED_MS + (wait_ms if rng.random() < 0.5 else 0.0)
    return sorted(waits)[int(len(waits) * 0.95)]


def lease(processes: int, left: float, calls: int, part: int = 4, seed: int = 1) -> tuple[float, float]:
    """Simulate processes that lease sub-budgets from one row until its budget is used up.

    Returns the statements on that row per call, and the share of `left` that stays unused in other processes' leases when
    the first call is refused. A process leases 1/(part × processes) of the remaining budget, at least enough for one call.
    A call holds three times its cost.
    """
    rng = random.Random(seed)
    free, statements = [0.0] * processes, 0
    begun = left
    for number_of in range(calls):
        cost = rng.lognormvariate(-6.2, 0.8)
        at = rng.randrange(processes)
        if free[at] < 3 * cost:
            statements += 1
            take = min(left, max(left / (part * processes), 3 * cost - free[at]))
            left -= take
            free[at] += take
        if free[at] < 3 * cost:
            return statements / (number_of + 1), sum(free) / begun
        free[at] -= cost
    return statements / calls, sum(free) / begun


def report(turns: list[int], seconds: float, chunks: int, costs: dict[str, float]) -> str:
    blocks = []
    for count in turns:
        columns = [needs(count, seconds, chunks, costs, design) for design in (NOW, WIDE)]
        rows = [(what, now, wide) for (what, now), (_, wide) in zip(*columns, strict=True)]
        blocks.append(markdown((f"{count:,} turns at once, of {seconds:g} s and {chunks} chunks", NOW.name, WIDE.name), rows))
    waits = [
        (f"{pairs:,}", *(number(queue(pairs, wait, rows), 1) for wait, rows in ((3.1, 1), (0.0, 1), (0.0, 16))))
        for pairs in (100, 250, 300, 500, 1000, 1500, 5000, 20000)
    ]
    heads = ("calls a second", "each waiting by itself, 3.1 ms under the lock", "together, as it is", "and 16 sub-budgets")
    blocks.append(
        "p95 of the wait for the system's budget, ms (simulated; a queue that grows without end shows thousands):\n\n"
        + markdown(heads, waits)
    )
    leases = [
        (f"{processes:,}", *(_shown(*lease(processes, left, 2_000_000)) for left in (10.0, 100.0, 1000.0))) for processes in (10, 100, 1000)
    ]
    heads = ("processes", "$10 left", "$100 left", "$1,000 left")
    title = "Sub-budgets on lease until the first refusal: statements on the shared row for each call; money left unused elsewhere:\n\n"
    return "\n\n".join([*blocks, title + markdown(heads, leases)])


def _shown(statements: float, stranded: float) -> str:
    return f"{statements:.3f}; {stranded:.0%}"


def costs_of(figures: dict[str, Any]) -> dict[str, float]:
    """The unit costs in a run's figures."""
    turn, left = figures["costs"]["turn"], figures["costs"]["left"]
    return {name: turn[name] for name in COSTS if name in turn} | {
        "bytes": sum(left["bytes"].values()), "wal_bytes": left["wal_bytes"], "valkey_bytes": left["valkey_bytes"],
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--turns", default="10000,1000000")
    parser.add_argument("--seconds", type=float, default=10, help="duration of a turn")
    parser.add_argument("--chunks", type=int, default=300, help="chunks of a turn")
    parser.add_argument("--figures", default="", help="JSON of a run with the part `costs`")
    arguments = parser.parse_args()
    costs = costs_of(json.loads(Path(arguments.figures).read_text())) if arguments.figures else dict(COSTS)
    print(report([int(one) for one in arguments.turns.split(",")], arguments.seconds, arguments.chunks, costs))


if __name__ == "__main__":
    main()
