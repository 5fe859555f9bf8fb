"""The cost of a call through the product, compared with a direct call and with LiteLLM if it is installed.

    python -m benchmarks.gateway [--rounds 3] [--seconds 8] [--quick] [--only "json 16,stream 200"] [--litellm PATH]
    python -m benchmarks.gateway --against TREE [--rounds 10] [--seconds 3] [--only …]    # this checkout and another (against.py)

Starts the vendor simulator, our server (with PostgreSQL and Valkey; accounting, budgets, limits, storage and logs on) and
LiteLLM. Runs every scenario interleaved over several rounds, and prints medians, ratios and whether each target is met.
Uses loopback only, and bounds count and time.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import subprocess
import sys
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import uvloop

from benchmarks import targets
from benchmarks.client import load
from benchmarks.gateway import against, rivals
from benchmarks.gateway.scenarios import Runner, measure
from benchmarks.harness.installation import MODEL, PER_USER, Installation, installation
from benchmarks.harness.meter import Meter
from benchmarks.harness.tables import markdown, number

COUNTS = (1, 50, 200, 500)
# JSON at three loads, a fixed rate, streams over /v1; then turns of the chat over the socket, as SSE, and whole.
SCENARIOS = (
    *(f"json {count}" for count in (1, 16, 64)), "rate 30", *(f"stream {count}" for count in COUNTS),
    *(f"ws {count}" for count in COUNTS), *(f"sse {count}" for count in COUNTS), "send 16",
)  # fmt: skip
QUICK = tuple(one for one in SCENARIOS if one.split()[1] not in ("200", "500"))
# The scenarios that other gateways have as well; a chat turn has no counterpart.
_SHARED = ("json", "rate", "stream")


async def run(runners: list[Runner], others: dict[str, Meter], scenarios: list[str], seconds: float, rounds: int) -> dict[str, Any]:
    """Run all rounds. Returns scenario -> target -> medians; all targets of a round run in the same minute."""
    found: dict[str, dict[str, list[dict[str, Any]]]] = {}
    for turn in range(rounds):
        for scenario in scenarios:
            for runner in runners:
                name = runner.target.name
                if name != "aiagents" and scenario.split()[0] not in _SHARED:
                    continue
                if name == "litellm" and scenario in ("stream 200", "stream 500") and turn:
                    continue  # half a minute each; one round is enough
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


def take(installed: Installation, arguments: argparse.Namespace) -> dict[str, Any]:
    """The scenarios of the command line on a running installation."""
    scenarios = [one.strip() for one in arguments.only.split(",") if one.strip()] or list(QUICK if arguments.quick else SCENARIOS)
    most = max((int(one.split()[1]) for one in scenarios if one.split()[0] in ("ws", "sse", "send")), default=0)
    live = installed.live
    callers = installed.people(-(-most // PER_USER)) if most else ()
    runners = [
        Runner(load.Target("direct", live.sim_port, ("sk-sim",), MODEL), None),
        Runner(load.Target("aiagents", live.port, (live.key,), MODEL), installed.web, callers),
    ]
    if arguments.litellm and (started := rivals.litellm(installed, arguments.litellm)):
        runners.append(Runner(*started))
    seconds, rounds = (3.0, 1) if arguments.quick else (arguments.seconds or 8.0, arguments.rounds or 3)
    with _profiled(installed, arguments.profile):
        return uvloop.run(run(runners, {"stores": installed.stores}, scenarios, seconds, rounds))


def _profiled(installed: Installation, path: str) -> AbstractContextManager[Any]:
    if not path:
        return nullcontext()
    spy = ["py-spy", "record", "-p", str(installed.live.processes["web"].pid), "-o", path, "-d", "600", "-r", "200", "-f", "speedscope"]
    process = subprocess.Popen(spy, start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    installed.others.append(process)
    return nullcontext()


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--rounds", type=int, help="3, or 10 with --against")
    parser.add_argument("--seconds", type=float, help="of each closed loop and each fixed rate: 8, or 3 with --against")
    parser.add_argument("--quick", action="store_true", help="one short round without the largest scenarios")
    parser.add_argument("--only", default="", help="scenarios, by comma: json N, rate N, stream N, ws N, sse N, send N")
    parser.add_argument("--litellm", default="", help="path of a litellm command; empty: skip it")
    parser.add_argument("--json", default="", help="write the figures to this file, too")
    parser.add_argument("--profile", default="", help="record the server with py-spy into this file during the run")
    parser.add_argument("--pin", action="store_true", help="run our web process alone on the first core, everything else on the second")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options(parser)
    parser.add_argument("--against", type=Path, metavar="TREE", help="compare with another checkout; fails where this one is slower")
    arguments = parser.parse_args()
    if arguments.against:
        sys.exit(against.main(arguments))
    with installation(pin=arguments.pin) as installed:
        found = take(installed, arguments)
    print(table(found), "\n")
    print(targets.table({"gateway": found}))
    if arguments.json:
        Path(arguments.json).write_text(json.dumps({"gateway": found}, indent=1))
