"""Benchmarks that need an installation's settings: `python -m benchmarks.shared.inside holds '{…}'` prints one line of JSON.

stores.py starts it, several times at once where processes compete.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from contextlib import nullcontext
from decimal import Decimal
from typing import Any
from uuid import UUID

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "aiagents.settings")

import django

django.setup()

import uvloop  # noqa: E402 - after django.setup()

from accounts import keys  # noqa: E402 - after django.setup()
from accounts.authentication import authenticate  # noqa: E402 - after django.setup()
from accounts.models import ApiKey  # noqa: E402 - after django.setup()
from aiagents.core.db.calls import in_db  # noqa: E402 - after django.setup()
from aiagents.core.ids import uuid7  # noqa: E402 - after django.setup()
from aiagents.core.valkey import clients as valkey  # noqa: E402 - after django.setup()
from benchmarks.client.load import percentile  # noqa: E402 - after django.setup()
from billing.catalogue import snapshot as catalogue  # noqa: E402 - after django.setup()
from billing.ledger import postgres  # noqa: E402 - after django.setup()
from billing.ledger import service as ledger  # noqa: E402 - after django.setup()
from billing.pricing import Usage  # noqa: E402 - after django.setup()
from chat.turns.stored import event_log  # noqa: E402 - after django.setup()

_SYSTEM = "(b.scope = 'system' AND b.scope_id IS NULL)"


async def holds(arguments: dict[str, Any]) -> dict[str, Any]:
    """Hold and settle in `tasks` concurrent loops for `seconds`, for the users of `keys` in turn.

    Two other designs, each by one change of the product: with `shard` a call uses this sub-budget instead of the system's;
    with `apart` each settlement waits for the disk in its own commit while its rows are locked (`postgres.group_commit`).
    """
    if shard := arguments.get("shard"):
        assert _SYSTEM in postgres._HOLD
        postgres._HOLD = postgres._HOLD.replace(_SYSTEM, f"(b.scope = 'system' AND b.scope_id = '{UUID(shard)}')")
    if arguments.get("apart"):
        postgres.group_commit = lambda: nullcontext(True)
    rows = await in_db(_ids, arguments["keys"])
    rates = (await catalogue.current()).get("gpt-4o-mini").rates
    assert rates is not None
    held_ms: list[float] = []
    settled_ms: list[float] = []
    stop = time.perf_counter() + arguments["seconds"]

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
    await asyncio.gather(*(worker(number) for number in range(arguments["tasks"])))
    seconds = time.perf_counter() - began
    spread = {}
    for name, values in (("hold", held_ms), ("settle", settled_ms)):
        spread |= {f"{name}_p{part}_ms": percentile(values, part) for part in (50, 95)}
    return {"pairs": len(settled_ms), "seconds": seconds, "cpu_ms": (time.process_time() - cpu) * 1000 / max(len(settled_ms), 1), **spread}


def _ids(raws: list[str]) -> list[tuple[UUID, UUID]]:
    return list(ApiKey.objects.filter(digest__in=[keys.digest(raw) for raw in raws]).values_list("id", "user_id"))


async def log(arguments: dict[str, Any]) -> dict[str, Any]:
    """Write batches of `lines` events for each of `turns` turns, one round trip per batch, for `seconds`."""
    client = valkey.client()
    text = json.dumps({"text": " word" * 2}).encode()
    ids, seq = [uuid7() for _ in range(arguments["turns"])], 0
    before = await client.info()
    trips: list[float] = []
    began, cpu = time.perf_counter(), time.process_time()
    while time.perf_counter() - began < arguments["seconds"]:
        batch = [(seq + number, "content.delta", text) for number in range(arguments["lines"])]
        started = time.perf_counter()
        await event_log.write({one: (batch, seq == 0) for one in ids})
        trips.append(time.perf_counter() - started)
        seq += arguments["lines"]
    seconds, cpu = time.perf_counter() - began, time.process_time() - cpu
    after = await client.info()
    used = sum(after[name] - before[name] for name in ("used_cpu_user", "used_cpu_sys"))
    entries = len(trips) * arguments["turns"]
    found = {
        "entries": entries / seconds,
        "lines": entries * arguments["lines"] / seconds,
        "trip_p50_ms": percentile(trips, 50) * 1000,
        "valkey_us_per_entry": used * 1e6 / entries,
        "our_us_per_entry": cpu * 1e6 / entries,
        "bytes_per_line": (after["used_memory"] - before["used_memory"]) / (entries * arguments["lines"]),
    }
    await client.delete(*(event_log.key(one) for one in ids))
    return found


async def sessions(arguments: dict[str, Any]) -> dict[str, Any]:
    """Microseconds of CPU of one `authenticate`, with a cached key and without."""
    headers = [{"authorization": f"Bearer {raw}"} for raw in arguments["keys"]]
    await authenticate(headers[0])
    found = {}
    for name, some in (("unknown", headers[1:]), ("remembered", [headers[0]] * 20_000)):
        wall, cpu = time.perf_counter(), time.process_time()
        for one in some:
            await authenticate(one)
        found[f"{name}_us"] = (time.process_time() - cpu) * 1e6 / len(some)
        found[f"{name}_wall_us"] = (time.perf_counter() - wall) * 1e6 / len(some)
    return found


WORK = {"holds": holds, "log": log, "sessions": sessions}

if __name__ == "__main__":
    print(json.dumps(uvloop.run(WORK[sys.argv[1]](json.loads(sys.argv[2])))))
