"""What a call costs through us, beside calling the vendor directly and beside LiteLLM where it is installed.

    python -m benchmarks.gateway [--rounds 3] [--seconds 8] [--quick] [--only "json 16,stream 200"] [--litellm PATH]

Starts the vendor simulator, our server (Daphne, PostgreSQL, Valkey; accounting, budgets, limits, storage and logs on) and
LiteLLM, runs every scenario interleaved over several rounds in one go, and prints medians, ratios and whether each target
is met. Loopback only; bounded in count and time.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import subprocess
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import uvloop

from benchmarks import load, rivals, targets
from benchmarks.ground import MODEL, PER_USER, PROMPT, STREAM_PROMPT, Ground, installation
from benchmarks.meter import Meter, Span
from benchmarks.tables import markdown, number

COUNTS = (1, 50, 200, 500)
# JSON at three loads, a fixed rate, streams over /v1; then turns of the chat over the socket, as SSE, and whole.
SCENARIOS = (
    *(f"json {count}" for count in (1, 16, 64)), "rate 30", *(f"stream {count}" for count in COUNTS),
    *(f"ws {count}" for count in COUNTS), *(f"sse {count}" for count in COUNTS), "send 16",
)  # fmt: skip
QUICK = tuple(one for one in SCENARIOS if one.split()[1] not in ("200", "500"))
# What has a counterpart elsewhere; a turn of the chat has none.
_SHARED = ("json", "rate", "stream")


@dataclass(frozen=True)
class Runner:
    """One gateway under load. `meter` is None for the vendor itself: there is nothing between. `callers`: keys for chat turns."""

    target: load.Target
    meter: Meter | None
    callers: tuple[str, ...] = ()

    def chat(self, wire: load.Wire) -> load.Target:
        """Its chat, asked by many users: each may only have so many turns at a time."""
        return replace(self.target, wire=wire, keys=self.callers)


async def measure(runner: Runner, others: dict[str, Meter], scenario: str, seconds: float) -> dict[str, Any]:
    """One scenario on one target: latencies, rate, CPU milliseconds each of the gateway and of what serves it."""
    kind, _, amount = scenario.partition(" ")
    target, count = runner.target, int(amount)
    # Arrivals are spread so that the opening itself does not queue: 1 s per 250 streams.
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


async def run(runners: list[Runner], others: dict[str, Meter], scenarios: list[str], seconds: float, rounds: int) -> dict[str, Any]:
    """Scenario -> target -> medians over the rounds; all targets of a round in the same minute."""
    found: dict[str, dict[str, list[dict[str, Any]]]] = {}
    for turn in range(rounds):
        for scenario in scenarios:
            for runner in runners:
                name = runner.target.name
                if name != "aiagents" and scenario.split()[0] not in _SHARED:
                    continue
                if name == "litellm" and scenario in ("stream 200", "stream 500") and turn:
                    continue  # half a minute each; one round says enough
                found.setdefault(scenario, {}).setdefault(name, []).append(await measure(runner, others, scenario, seconds))
                await asyncio.sleep(0.3)
    return {scenario: {name: _median(rows) for name, rows in by_name.items()} for scenario, by_name in found.items()}


def _median(rows: list[dict[str, Any]]) -> dict[str, Any]:
    merged: dict[str, Any] = {key: statistics.median(row[key] for row in rows) for key in rows[0] if key != "errors"}
    merged["errors"] = {key: value for row in rows for key, value in row["errors"].items()}
    return merged


def table(found: dict[str, Any]) -> str:
    """The figures as Markdown. `load` is the share of a core that the load generator itself used."""
    heads = (
        "scenario", "target", "requests/s", "p50 ms", "p95 ms", "first token p50 ms", "p95 ms", "CPU ms each", "stores' CPU ms each",
        "RSS MB", "load", "errors",
    )  # fmt: skip
    rows = []
    for scenario, by_name in found.items():
        streamed = scenario.split()[0] in ("stream", "ws", "sse")
        for name, row in by_name.items():
            ours = name == "aiagents"
            rows.append(
                (
                    scenario, name, number(row["rate"]), number(row["p50_ms"]), number(row["p95_ms"]),
                    number(row["ttft_p50_ms"]) if streamed else "", number(row["ttft_p95_ms"]) if streamed else "",
                    "" if name == "direct" else number(row["cpu_ms"], 2), number(row["stores_ms"], 2) if ours else "",
                    "" if name == "direct" else number(row["memory_mb"], 0), f"{row['load_share']:.0%}", row["errors"] or "",
                )
            )  # fmt: skip
    return markdown(heads, rows)


def take(ground: Ground, asked: argparse.Namespace) -> dict[str, Any]:
    """The scenarios of the command line on a running installation."""
    scenarios = [one.strip() for one in asked.only.split(",") if one.strip()] or list(QUICK if asked.quick else SCENARIOS)
    most = max((int(one.split()[1]) for one in scenarios if one.split()[0] in ("ws", "sse", "send")), default=0)
    live = ground.live
    callers = ground.people(-(-most // PER_USER)) if most else ()
    runners = [
        Runner(load.Target("direct", live.sim_port, ("sk-sim",), MODEL), None),
        Runner(load.Target("aiagents", live.port, (live.key,), MODEL), ground.web, callers),
    ]
    if asked.litellm and (started := rivals.litellm(ground, asked.litellm)):
        runners.append(Runner(*started))
    seconds, rounds = (3.0, 1) if asked.quick else (asked.seconds, asked.rounds)
    with _profiled(ground, asked.profile):
        return uvloop.run(run(runners, {"stores": ground.stores}, scenarios, seconds, rounds))


def _profiled(ground: Ground, path: str) -> AbstractContextManager[Any]:
    if not path:
        return nullcontext()
    spy = ["py-spy", "record", "-p", str(ground.live.processes["web"].pid), "-o", path, "-d", "600", "-r", "200", "-f", "speedscope"]
    process = subprocess.Popen(spy, start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    ground.others.append(process)
    return nullcontext()


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=8, help="of each closed loop and each fixed rate")
    parser.add_argument("--quick", action="store_true", help="one short round without the largest scenarios")
    parser.add_argument("--only", default="", help="scenarios, by comma: json N, rate N, stream N, ws N, sse N, send N")
    parser.add_argument("--litellm", default="", help="path of a litellm command; empty: leave it out")
    parser.add_argument("--json", default="", help="write the figures to this file, too")
    parser.add_argument("--profile", default="", help="record the server with py-spy into this file during the run")
    parser.add_argument("--pin", action="store_true", help="our web process alone on the first core, all else on the second")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options(parser)
    asked = parser.parse_args()
    with installation(pin=asked.pin) as ground:
        found = take(ground, asked)
    print(table(found), "\n")
    print(targets.table({"gateway": found}))
    if asked.json:
        Path(asked.json).write_text(json.dumps({"gateway": found}, indent=1))


if __name__ == "__main__":
    main()
