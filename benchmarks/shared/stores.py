"""The throughput of everything that all processes share: budget rows, event logs, viewers, and sessions.

python -m benchmarks.shared [--only holds,log,viewers,sessions]
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from typing import Any

from benchmarks.harness.installation import Installation, installation
from benchmarks.harness.meter import Span
from benchmarks.harness.tables import markdown, number
from benchmarks.shared import viewers

# Milliseconds that a commit waits for the disk in the second half of the table; PostgreSQL's commit_delay simulates it.
SLOW_DISK_MS = 5
_SHARDS = """
WITH made AS (
    INSERT INTO billing_budget (id, scope, scope_id, limit_usd, time_zone, created_at, updated_at)
    SELECT gen_random_uuid(), 'system', gen_random_uuid(), 1000000, 'UTC', now(), now() FROM generate_series(1, {count})
    RETURNING id, scope_id
), windows AS (
    INSERT INTO billing_budgetwindow (budget_id, starts_at, ends_at, spent_usd, held_usd)
    SELECT id, date_trunc('month', now()), date_trunc('month', now()) + interval '1 month', 0, 0 FROM made
)
SELECT scope_id::text FROM made"""


# --- money --------------------------------------------------------------------------------------


def holds(installed: Installation, seconds: float = 2) -> dict[str, Any]:
    """Holds and settlements per second: one user, many users, and many users with sub-budgets instead of the system's one row."""
    many = list(installed.people(64))
    shards = [row[0] for row in installed.live.query(_SHARDS.format(count=4))]
    four = [{"keys": many, "tasks": 8} for _ in range(4)]
    split = [one | {"shard": shard} for one, shard in zip(four, shards, strict=True)]
    cases: list[tuple[str, list[dict[str, Any]]]] = [
        *((f"one user, {tasks} at once", [{"keys": many[:1], "tasks": tasks}]) for tasks in (1, 16)),
        *((f"64 users, {tasks} at once", [{"keys": many, "tasks": tasks}]) for tasks in (1, 16)),
        ("64 users, 4 processes of 8", four),
        ("the same, a system sub-budget for each process", split),
        ("64 users, 16 at once, each waiting for the disk by itself", [{"keys": many, "tasks": 16, "apart": True}]),
        ("64 users, 4 processes of 8, each waiting by itself", [one | {"apart": True} for one in four]),
        ("the same, and a system sub-budget for each process", [one | {"apart": True} for one in split]),
    ]
    found: dict[str, Any] = {"disk_ms": _disk(), "slow_ms": SLOW_DISK_MS, "rows": [], "slow": []}
    for slow in (False, True):
        if slow:
            installed.live.query(f"ALTER ROLE CURRENT_USER SET commit_delay = {SLOW_DISK_MS * 1000}")
            installed.live.query("ALTER ROLE CURRENT_USER SET commit_siblings = 0")
        for name, several in cases if not slow else cases[3:]:
            with Span(postgres=installed.postgres) as span:
                parts = installed.together("benchmarks.shared.inside", "holds", [one | {"seconds": seconds} for one in several])
            pairs = sum(part["pairs"] for part in parts)
            row = {"case": name, "per_second": sum(part["pairs"] / part["seconds"] for part in parts)}
            row |= {key: sum(part[key] for part in parts) / len(parts) for key in parts[0] if key.endswith("_ms")}
            found["slow" if slow else "rows"].append(row | {"postgres_ms": span.cpu["postgres"] * 1000 / max(pairs, 1)})
    for name in ("commit_delay", "commit_siblings"):
        installed.live.query(f"ALTER ROLE CURRENT_USER RESET {name}")
    return found


def _disk(tries: int = 200) -> float:
    """Milliseconds of one small synchronous write here."""
    with tempfile.TemporaryFile() as file:
        began = time.perf_counter()
        for _ in range(tries):
            file.write(b"x" * 500)
            file.flush()
            os.fdatasync(file.fileno())
        return (time.perf_counter() - began) * 1000 / tries


# --- the event logs of turns -----------------------------------------------------------------------


def log(installed: Installation, seconds: float = 1.5) -> dict[str, Any]:
    """Entries and events per second written to Valkey, by turns in one round trip and events in one entry."""
    rows = []
    for turns, lines in ((1, 1), (50, 1), (500, 1), (50, 2), (500, 2), (500, 10)):
        found = installed.together("benchmarks.shared.inside", "log", [{"turns": turns, "lines": lines, "seconds": seconds}])[0]
        rows.append({"turns": turns, "lines_each": lines} | found)
    return {"rows": rows}


# --- sessions ---------------------------------------------------------------------------------


def sessions(installed: Installation) -> dict[str, Any]:
    return installed.together("benchmarks.shared.inside", "sessions", [{"keys": list(installed.people(500))}])[0]


# --- the command ----------------------------------------------------------------------------------

PARTS = {"holds": holds, "log": log, "viewers": viewers.take, "sessions": sessions}


def take(installed: Installation, only: str = "") -> dict[str, Any]:
    return {name: part(installed) for name, part in PARTS.items() if not only or name in only.split(",")}


def table(found: dict[str, Any]) -> str:
    tables = {"holds": _holds_table, "log": _log_table, "viewers": viewers.table, "sessions": _sessions_table}
    return "\n\n".join(tables[name](figures) for name, figures in found.items())


def _holds_table(found: dict[str, Any]) -> str:
    heads = ("holds and settlements", "pairs/s", "hold p50 ms", "p95", "settle p50 ms", "p95", "our CPU ms a pair", "PostgreSQL's")
    keys = ("hold_p50_ms", "hold_p95_ms", "settle_p50_ms", "settle_p95_ms", "cpu_ms", "postgres_ms")
    rows = [
        (one["case"] + suffix, number(one["per_second"], 0), *(number(one[key], 2) for key in keys))
        for part, suffix in (("rows", ""), ("slow", f"; a disk of {found['slow_ms']} ms"))
        for one in found[part]
    ]
    return f"A synchronous write takes {found['disk_ms']:.2f} ms here.\n\n" + markdown(heads, rows)


def _log_table(found: dict[str, Any]) -> str:
    heads = (
        "turns in a round trip", "events an entry", "entries/s", "events/s", "trip p50 ms", "Valkey's CPU µs an entry", "ours",
        "Valkey's bytes an event",
    )  # fmt: skip
    keys = (("entries", 0), ("lines", 0), ("trip_p50_ms", 2), ("valkey_us_per_entry", 1), ("our_us_per_entry", 1), ("bytes_per_line", 0))
    return markdown(
        heads, [(one["turns"], one["lines_each"], *(number(one[key], digits) for key, digits in keys)) for one in found["rows"]]
    )


def _sessions_table(found: dict[str, Any]) -> str:
    rows = [(name, number(found[f"{name}_us"]), number(found[f"{name}_wall_us"])) for name in ("remembered", "unknown")]
    return markdown(("authenticate a key that is", "CPU µs", "wall µs"), rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", help="of holds, log, viewers, sessions; by comma")
    arguments = parser.parse_args()
    with installation() as installed:
        print(table(take(installed, arguments.only)))
