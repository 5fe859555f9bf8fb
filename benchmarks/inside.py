"""Benchmarks that run with an installation's settings only: `python -m benchmarks.inside holds '{…}'` prints one line of JSON.

benchmarks/shared.py starts it, several at once where processes are to compete.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from collections.abc import Callable
from contextlib import nullcontext
from datetime import timedelta
from decimal import Decimal
from functools import partial
from typing import Any
from uuid import UUID

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "aiagents.settings")

import django

django.setup()

import uvloop  # noqa: E402
from django.db.models import Count  # noqa: E402
from django.utils import timezone  # noqa: E402

from accounts import keys  # noqa: E402
from accounts.authentication import authenticate  # noqa: E402
from accounts.models import ApiKey, User  # noqa: E402
from aiagents.core.db.calls import in_db  # noqa: E402
from aiagents.core.ids import uuid7  # noqa: E402
from aiagents.core.valkey import clients as valkey  # noqa: E402
from benchmarks.load import percentile  # noqa: E402
from billing.catalogue import snapshot as catalogue  # noqa: E402
from billing.ledger import postgres  # noqa: E402
from billing.ledger import service as ledger  # noqa: E402
from billing.models import UsageLog  # noqa: E402
from billing.pricing import Usage  # noqa: E402
from billing.reports import own_usage as reports_of_user  # noqa: E402
from billing.reports import staff as analytics  # noqa: E402
from chat.turns.stored import event_log  # noqa: E402

_SYSTEM = "(b.scope = 'system' AND b.scope_id IS NULL)"


async def holds(asked: dict[str, Any]) -> dict[str, Any]:
    """Holds and settlements by `tasks` at once for `seconds`, of the users of `keys` in turn.

    Designs that are tried by changing one condition of the product: `shard`, the call takes this sub-budget instead of the system's
    one; `apart`, each settlement waits for the disk in its own commit, its rows locked (`postgres.group_commit`).
    """
    if shard := asked.get("shard"):
        assert _SYSTEM in postgres._HOLD
        postgres._HOLD = postgres._HOLD.replace(_SYSTEM, f"(b.scope = 'system' AND b.scope_id = '{UUID(shard)}')")
    if asked.get("apart"):
        postgres.group_commit = lambda: nullcontext(True)
    rows = await in_db(_ids, asked["keys"])
    rates = (await catalogue.current()).get("gpt-4o-mini").rates
    assert rates is not None
    held_ms: list[float] = []
    settled_ms: list[float] = []
    stop = time.perf_counter() + asked["seconds"]

    async def worker(number: int) -> None:
        key_id, user_id = rows[number % len(rows)]
        while time.perf_counter() < stop:
            call_id = uuid7()
            call = ledger.Call(
                call_id, call_id, user_id, 0, key_id, None, None, None, None, "api", "openai", "bench-0000000000", 1, "gpt-4o-mini",
                "gpt-4o-mini", "openai", "balanced", True,
            )  # fmt: skip
            began = time.perf_counter()
            held = await ledger.hold(call, Decimal("0.0002"), rates, 20)
            halfway = time.perf_counter()
            await ledger.settle(held, ledger.Outcome("ok", Usage(20, 0, 0, 40, 0), 40, "stop", latency_ms=900, ttft_ms=300))
            held_ms.append((halfway - began) * 1000)
            settled_ms.append((time.perf_counter() - halfway) * 1000)

    began, cpu = time.perf_counter(), time.process_time()
    await asyncio.gather(*(worker(number) for number in range(asked["tasks"])))
    seconds = time.perf_counter() - began
    spread = {}
    for name, values in (("hold", held_ms), ("settle", settled_ms)):
        spread |= {f"{name}_p{part}_ms": percentile(values, part) for part in (50, 95)}
    return {"pairs": len(settled_ms), "seconds": seconds, "cpu_ms": (time.process_time() - cpu) * 1000 / max(len(settled_ms), 1), **spread}


def _ids(raws: list[str]) -> list[tuple[UUID, UUID]]:
    return list(ApiKey.objects.filter(digest__in=[keys.digest(raw) for raw in raws]).values_list("id", "user_id"))


async def log(asked: dict[str, Any]) -> dict[str, Any]:
    """Batches of `lines` events of `turns` turns, written in one round trip, over and over for `seconds`."""
    client = valkey.client()
    text = json.dumps({"text": " word" * 2}).encode()
    ids, seq = [uuid7() for _ in range(asked["turns"])], 0
    before = await client.info()
    trips: list[float] = []
    began, cpu = time.perf_counter(), time.process_time()
    while time.perf_counter() - began < asked["seconds"]:
        batch = [(seq + number, "content.delta", text) for number in range(asked["lines"])]
        started = time.perf_counter()
        await event_log.write({one: (batch, seq == 0) for one in ids})
        trips.append(time.perf_counter() - started)
        seq += asked["lines"]
    seconds, cpu = time.perf_counter() - began, time.process_time() - cpu
    after = await client.info()
    used = sum(after[name] - before[name] for name in ("used_cpu_user", "used_cpu_sys"))
    entries = len(trips) * asked["turns"]
    found = {
        "entries": entries / seconds,
        "lines": entries * asked["lines"] / seconds,
        "trip_p50_ms": percentile(trips, 50) * 1000,
        "valkey_us_per_entry": used * 1e6 / entries,
        "our_us_per_entry": cpu * 1e6 / entries,
        "bytes_per_line": (after["used_memory"] - before["used_memory"]) / (entries * asked["lines"]),
    }
    await client.delete(*(event_log.key(one) for one in ids))
    return found


async def sessions(asked: dict[str, Any]) -> dict[str, Any]:
    """Microseconds of CPU of one `authenticate`, with a cached key and without."""
    headers = [{"authorization": f"Bearer {raw}"} for raw in asked["keys"]]
    await authenticate(headers[0])
    found = {}
    for name, some in (("unknown", headers[1:]), ("remembered", [headers[0]] * 20_000)):
        wall, cpu = time.perf_counter(), time.process_time()
        for one in some:
            await authenticate(one)
        found[f"{name}_us"] = (time.process_time() - cpu) * 1e6 / len(some)
        found[f"{name}_wall_us"] = (time.perf_counter() - wall) * 1e6 / len(some)
    return found


async def reports(asked: dict[str, Any]) -> dict[str, Any]:
    """Milliseconds of each report over what is there, a year back: the first time in this process, and the median of five more."""
    return await in_db(_reports)


def _reports() -> dict[str, Any]:
    to = timezone.now()
    year, month = (to - timedelta(days=365), to), (to - timedelta(days=30), to)
    busiest = UsageLog.objects.values("user_id").annotate(calls=Count("pk")).order_by("-calls").first()
    assert busiest is not None
    mine = UsageLog.objects.filter(user_id=busiest["user_id"])
    user = User.objects.get(pk=busiest["user_id"])
    work: dict[str, Callable[[], Any]] = {
        "overview": analytics.overview,
        "usage of a year by model": partial(analytics.usage, *year, "model"),
        "usage of a year by user": partial(analytics.usage, *year, "user"),
        "usage of a month by purpose": partial(analytics.usage, *month, "purpose"),
        "cost optimisation, a year": partial(analytics.cost_optimization, *year),
        "model performance, a year": partial(analytics.model_performance, *year),
        "user activity, a year": partial(analytics.user_activity, *year),
        f"a user's month (of {busiest['calls']:,} calls)": partial(reports_of_user.month_of, user),
        "that user's usage, first page": lambda: list(mine.order_by("-created_at")[:26]),
    }
    found = {}
    for name, report in work.items():
        times = []
        for _ in range(6):
            began = time.perf_counter()
            report()
            times.append((time.perf_counter() - began) * 1000)
        found[name] = {"cold_ms": times[0], "warm_ms": percentile(times[1:], 50)}
    return found


WORK = {"holds": holds, "log": log, "sessions": sessions, "reports": reports}

if __name__ == "__main__":
    print(json.dumps(uvloop.run(WORK[sys.argv[1]](json.loads(sys.argv[2])))))
