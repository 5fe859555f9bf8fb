"""Sign-ins per second. They are slow by design: the password's hash takes almost all of the time."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import uvloop

from benchmarks.client import load
from benchmarks.harness.installation import MODEL, PROMPT, Installation
from benchmarks.harness.meter import Span
from benchmarks.harness.tables import markdown, number
from tests.kit.servers.live import PASSWORD

_LOGIN = replace(load.CHAT_SEND, path="/api/v1/auth/login", body=lambda email, *_: {"email": email, "password": PASSWORD})


async def _sign_in(installed: Installation, emails: list[str], at_once: int, seconds: float) -> dict[str, Any]:
    """Sign in in a closed loop, with 30 chat completions per second at the same time."""
    ours = load.Target("aiagents", installed.live.port, (installed.live.key,), MODEL)
    alone = await load.fixed_rate(ours, 30, seconds, PROMPT)
    targets = [replace(ours, wire=_LOGIN, model=email) for email in emails[:at_once]]
    with Span(web=installed.web) as span:
        *signed, beside = await asyncio.gather(
            *(load.closed_loop(target, 1, seconds, "") for target in targets), load.fixed_rate(ours, 30, seconds, PROMPT)
        )
    every = [latency for one in signed for latency in one.latencies]
    errors = {what: count for one in signed for what, count in one.errors.items()}
    return {
        "at_once": at_once,
        "rate": len(every) / span.seconds,
        "p50_ms": load.percentile(every, 50) * 1000,
        "cores": span.cpu["web"] / span.seconds,
        "calls_alone_p50_ms": load.percentile(alone.latencies, 50) * 1000,
        "calls_beside_p50_ms": load.percentile(beside.latencies, 50) * 1000,
        "errors": errors,
    }


def take(installed: Installation, seconds: float = 4) -> dict[str, Any]:
    prepared = installed.script("benchmarks.seeding", "passwords", "8", PASSWORD)
    return {
        "hash_ms": prepared["hash_ms"],
        "runs": [uvloop.run(_sign_in(installed, prepared["emails"], at_once, seconds)) for at_once in (1, 4)],
    }


def table(found: dict[str, Any]) -> str:
    rows = [
        (
            one["at_once"], number(one["rate"]), number(one["p50_ms"]), number(one["cores"], 2), number(one["calls_alone_p50_ms"]),
            number(one["calls_beside_p50_ms"]), one["errors"] or "",
        )
        for one in found["runs"]
    ]  # fmt: skip
    heads = ("sign-ins at once", "per second", "p50 ms", "web's cores", "a call's p50 ms without them", "beside them", "errors")
    return f"One hash (bcrypt, cost 12, of SHA-256) takes {found['hash_ms']:.0f} ms of a core here, on purpose.\n\n" + markdown(heads, rows)
