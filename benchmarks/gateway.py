"""What a call costs through us, beside calling the vendor directly and beside LiteLLM where it is installed.

    python -m benchmarks.gateway [--rounds 3] [--seconds 8] [--quick] [--litellm path/to/litellm]

Starts the vendor simulator, our server (Daphne, PostgreSQL, Valkey; accounting, budgets, limits, storage and logs on) and
LiteLLM with a database of its own, runs every scenario interleaved over several rounds in one go, and prints medians,
ratios and whether each target is met. Loopback only; bounded in count and time.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil

from aiagents import embedded
from benchmarks import load
from tests.live import Live, free_port, launch

PROMPT = "Say something short about rivers and bridges."
STREAM_PROMPT = "[[sim:chunks=100,pace=20]] Say something long about rivers and bridges."
MODEL = "gpt-4o-mini"


class Meter:
    """CPU seconds and memory of a set of processes with their children."""

    def __init__(self, pids: list[int]) -> None:
        self.processes = [psutil.Process(pid) for pid in pids]

    def cpu(self) -> float:
        """Of children that ended too, as far as their parents have waited for them."""
        return sum(self._of(lambda one: sum(one.cpu_times()[:4])))

    def memory(self) -> int:
        return sum(self._of(lambda one: one.memory_info().rss))

    def _of(self, read: Callable[[psutil.Process], float]) -> Iterator[Any]:
        for process in self.processes:
            for one in (process, *process.children(recursive=True)):
                with contextlib.suppress(psutil.NoSuchProcess):
                    yield read(one)


def postgres_pid(data_dir: Path) -> int:
    return int((data_dir / "postgres" / "postmaster.pid").read_text().splitlines()[0])


async def measure(target: load.Target, meter: Meter | None, scenario: str, amount: float) -> dict[str, Any]:
    """One scenario on one target: latencies, rate, and CPU milliseconds per request of the gateway's processes."""
    before = meter.cpu() if meter else 0.0
    kind, _, value = scenario.partition(" ")
    if kind == "json":
        result = await load.closed_loop(target, int(value), amount, PROMPT)
    elif kind == "rate":
        result = await load.fixed_rate(target, float(value), amount, PROMPT)
    else:
        # Arrivals are spread so that the opening itself does not queue: 1 s per 250 streams.
        result = await load.streams(target, int(value), STREAM_PROMPT, spread=max(0.5, int(value) / 250))
    done = len(result.latencies) or 1
    cpu = (meter.cpu() - before) * 1000 / done if meter else 0.0
    return {**result.summary(), "cpu_ms": cpu, "memory_mb": meter.memory() / 2**20 if meter else 0.0}


def start_litellm(command: str, folder: Path, sim_port: int, database: str) -> tuple[subprocess.Popen, load.Target]:
    """LiteLLM's proxy; with keys, spend and a database where `database` names one that its Prisma engine can reach."""
    port = free_port()
    config = folder / "litellm.yaml"
    config.write_text(
        f"model_list:\n  - model_name: {MODEL}\n    litellm_params:\n      model: openai/{MODEL}\n"
        f"      api_base: http://127.0.0.1:{sim_port}/v1\n      api_key: sk-sim\n"
        "general_settings:\n  master_key: sk-bench\nlitellm_settings:\n  num_retries: 0\n"
    )
    env = {name: value for name, value in os.environ.items() if name not in ("DATABASE_URL", "REDIS_URL")}
    env |= {"DATABASE_URL": database} if database else {}
    env |= {"LITELLM_LOG": "ERROR", "NO_PROXY": "*", "LITELLM_LOCAL_MODEL_COST_MAP": "True"}
    log = (folder / "litellm.log").open("wb")
    process = subprocess.Popen(
        [command, "--config", str(config), "--port", str(port), "--host", "127.0.0.1"],
        env=env,
        stdout=log,
        stderr=log,
        start_new_session=True,
    )
    return process, load.Target("litellm", port, "/v1/chat/completions", "sk-bench", MODEL)


async def wait_for(target: load.Target, seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            if await load.Connection(target.port).json(target.request("Hi", False)) == 200:
                return True
        except (OSError, asyncio.IncompleteReadError):
            pass
        await asyncio.sleep(0.3)
    return False


async def run(targets: list[tuple[load.Target, Meter | None]], scenarios: list[tuple[str, float]], rounds: int) -> dict[str, Any]:
    found: dict[str, dict[str, list[dict[str, Any]]]] = {}
    for number in range(rounds):
        for scenario, amount in scenarios:
            for target, meter in targets:
                if target.name == "litellm" and scenario in ("stream 500",) and number:
                    continue  # half a minute each; one round says enough
                found.setdefault(scenario, {}).setdefault(target.name, []).append(await measure(target, meter, scenario, amount))
                await asyncio.sleep(0.5)
    return {scenario: {name: _median(rows) for name, rows in by_name.items()} for scenario, by_name in found.items()}


def _median(rows: list[dict[str, Any]]) -> dict[str, Any]:
    merged: dict[str, Any] = {key: statistics.median(row[key] for row in rows) for key in rows[0] if key != "errors"}
    merged["errors"] = {key: value for row in rows for key, value in row["errors"].items()}
    return merged


def table(found: dict[str, Any]) -> str:
    lines = [
        "| scenario | target | requests/s | p50 ms | p95 ms | first token p50 ms | p95 ms | CPU ms each | RSS MB | errors |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for scenario, by_name in found.items():
        for name, row in by_name.items():
            first = (f"{row['ttft_p50_ms']:.1f}", f"{row['ttft_p95_ms']:.1f}") if scenario.startswith("stream") else ("", "")
            lines.append(
                f"| {scenario} | {name} | {row['rate']:.1f} | {row['p50_ms']:.1f} | {row['p95_ms']:.1f} | {first[0]} | {first[1]} "
                f"| {row['cpu_ms']:.2f} | {row['memory_mb']:.0f} | {row['errors'] or ''} |"
            )
    return "\n".join(lines)


def targets_met(found: dict[str, Any]) -> str:
    """Each target of the speed issue with what was measured; those against LiteLLM only where it ran."""
    lines = ["| target | measured | met |", "|---|---|---|"]

    def row(what: str, value: float | None, good: bool | None, unit: str = "") -> None:
        shown = "not measured" if value is None else f"{value:.2f}{unit}"
        lines.append(f"| {what} | {shown} | {'' if good is None else 'yes' if good else 'NO'} |")

    def pick(scenario: str, name: str, key: str) -> float | None:
        value = found.get(scenario, {}).get(name, {}).get(key)
        return None if value is None or value != value else float(value)

    ours, theirs = pick("json 16", "aiagents", "rate"), pick("json 16", "litellm", "rate")
    if ours and theirs:
        row("requests/s at 16 >= 5 x LiteLLM", ours / theirs, ours >= 5 * theirs, " x")
    ours, theirs = pick("json 16", "aiagents", "cpu_ms"), pick("json 16", "litellm", "cpu_ms")
    if ours and theirs:
        row("CPU per request <= 1/6 of LiteLLM", ours / theirs, ours <= theirs / 6, " x")
    ours, direct = pick("rate 30", "aiagents", "p50_ms"), pick("rate 30", "direct", "p50_ms")
    if ours and direct:
        row("added p50 at 30 req/s <= 6 ms", ours - direct, ours - direct <= 6, " ms")
    for scenario, key, limit in (("stream 50", "ttft_p50_ms", 30), ("stream 500", "ttft_p50_ms", 250), ("stream 500", "ttft_p95_ms", 500)):
        value = pick(scenario, "aiagents", key)
        row(
            f"first token, {scenario.split()[1]} streams, {key[5:8]} <= {limit} ms", value, None if value is None else value <= limit, " ms"
        )
    value = pick("stream 200", "aiagents", "cpu_ms")
    row("CPU per stream of 100 chunks at 200 streams <= 12 ms", value, None if value is None else value <= 12, " ms")
    value = pick("json 16", "aiagents", "memory_mb")
    row("memory of the web process < 200 MB", value, None if value is None else value < 200, " MB")
    return "\n".join(lines)


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--rounds", type=int, default=3)
    options.add_argument("--seconds", type=float, default=8)
    options.add_argument("--quick", action="store_true", help="one short round without the largest scenarios")
    options.add_argument("--litellm", default="", help="path of a litellm command; empty: leave it out")
    options.add_argument("--json", default="", help="write the figures to this file, too")
    options.add_argument("--profile", default="", help="record the server with py-spy into this file during the run")
    asked = options.parse_args()
    with tempfile.TemporaryDirectory(prefix="aiagents-bench-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        data = folder / "servers"
        os.environ["DATABASE_URL"] = embedded.start_postgres(data)
        os.environ["REDIS_URL"] = embedded.start_valkey(data)
        live: Live | None = None
        others: list[subprocess.Popen] = []
        try:
            live = launch(folder, RATE_LIMIT_REQUESTS="1000000000", DEFAULT_USER_MONTHLY_LIMIT="1000000", LOG_LEVEL="INFO")
            web = live.processes["web"].pid
            targets: list[tuple[load.Target, Meter | None]] = [
                (load.Target("direct", live.sim_port, "/v1/chat/completions", "sk-sim", MODEL), None),
                (load.Target("aiagents", live.port, "/v1/chat/completions", live.key, MODEL), Meter([web])),
            ]
            if asked.litellm:
                process, target = start_litellm(asked.litellm, folder, live.sim_port, "")
                others.append(process)
                if asyncio.run(wait_for(target, 120)):
                    targets.append((target, Meter([process.pid])))
                else:
                    print("LiteLLM did not start:", (folder / "litellm.log").read_text()[-2000:], file=sys.stderr)
            seconds = 3.0 if asked.quick else asked.seconds
            scenarios = [("json 1", seconds), ("json 16", seconds), ("json 64", seconds), ("rate 30", seconds)]
            scenarios += [(f"stream {count}", 0.0) for count in ((1, 50) if asked.quick else (1, 50, 200, 500))]
            if asked.profile:
                spy = ["py-spy", "record", "-p", str(web), "-o", asked.profile, "-d", "600", "-r", "200", "-f", "speedscope"]
                others.append(subprocess.Popen(spy, start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL))
            stores = Meter([postgres_pid(data), int((data / "valkey" / "valkey.pid").read_text())])
            before, count = stores.cpu(), live.query("SELECT count(*) FROM billing_usagelog")[0][0]
            found = asyncio.run(run(targets, scenarios, 1 if asked.quick else asked.rounds))
            calls = live.query("SELECT count(*) FROM billing_usagelog")[0][0] - count
            print(table(found), "\n")
            print(targets_met(found), "\n")
            each = (stores.cpu() - before) * 1000 / max(calls, 1)
            print(f"PostgreSQL and Valkey: {each:.2f} CPU ms per call over {calls} calls, all scenarios")
            if asked.json:
                Path(asked.json).write_text(json.dumps(found, indent=1))
        finally:
            for process in others:
                os.killpg(process.pid, signal.SIGINT)
                process.wait(30)
            if live:
                live.close()
            embedded.remove(data)


if __name__ == "__main__":
    main()
