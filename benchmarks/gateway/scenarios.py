"""Measures one scenario of load on one target: `json N`, `send N`, `rate N`, `stream N`, `sse N`, `ws N`."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from benchmarks.client import load
from benchmarks.harness.installation import PROMPT, STREAM_PROMPT
from benchmarks.harness.meter import Meter, Span


@dataclass(frozen=True)
class Runner:
    """One gateway under load. `meter` is None for the vendor itself, without a gateway. `callers`: keys for chat turns."""

    target: load.Target
    meter: Meter | None
    callers: tuple[str, ...] = ()

    def chat(self, wire: load.Wire) -> load.Target:
        """The target's chat with many users, because each may have only a limited number of concurrent turns."""
        return replace(self.target, wire=wire, keys=self.callers)


async def measure(runner: Runner, others: dict[str, Meter], scenario: str, seconds: float) -> dict[str, Any]:
    """Run one scenario on one target. Returns latencies, rate, and CPU milliseconds per response of the gateway and its stores."""
    kind, _, amount = scenario.partition(" ")
    target, count = runner.target, int(amount)
    # Spread the arrivals, 1 s per 250 streams, so that connecting does not queue.
    spread = max(0.5, count / 250)
    meters = others | ({"gateway": runner.meter} if runner.meter else {})
    with Span(**meters) as span:
        match kind:
            case "json":
                result = await load.closed_loop(target, count, seconds, PROMPT)
            case "send":
                result = await load.closed_loop(runner.chat(load.CHAT_SEND), count, seconds, PROMPT)
            case "rate":
                result = await load.fixed_rate(target, count, seconds, PROMPT)
            case "stream":
                result = await load.streams(target, count, STREAM_PROMPT, spread)
            case "sse":
                result = await load.streams(runner.chat(load.CHAT_STREAM), count, STREAM_PROMPT, spread)
            case "ws":
                result = await load.socket_turns(runner.chat(load.CHAT_SOCKET), count, STREAM_PROMPT, spread)
            case _:
                raise ValueError(f"unknown scenario: {scenario}")
    done = len(result.latencies) or 1
    return {
        **result.summary(),
        "cpu_ms": span.cpu.get("gateway", 0.0) * 1000 / done,
        "stores_ms": span.cpu["stores"] * 1000 / done,
        "load_share": span.own,
        "memory_mb": runner.meter.memory() / 2**20 if runner.meter else 0.0,
    }
