"""Compares this checkout with another one: the same load on both, interleaved in one run, and a verdict.

Both installations share one PostgreSQL and one Valkey (a database each); each has its own web process and its own simulator.
The order within a pair alternates from round to round, so that a drift of the machine affects both equally.

A figure's ratio is how much worse this checkout was in one pair: 1.02 is 2 % more time, memory or processor time, or a rate
lower by 2 %. The interval of the median comes from the order of the ratios (sign test, at least 95 %), so that one disturbed
round cannot decide. The run fails if the lower bound of a figure's interval is above 1.03.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import statistics
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from math import comb
from pathlib import Path
from typing import Any

import uvloop

from benchmarks.client import load
from benchmarks.client.load import Target
from benchmarks.gateway.scenarios import Runner, measure
from benchmarks.harness.installation import MODEL, PER_USER, PROMPT, SETTINGS, people, stores
from benchmarks.harness.meter import Meter, postgres_pid, valkey_pid
from benchmarks.harness.tables import markdown, number
from tests.kit.servers.live import ROOT, launch

SCENARIOS = ("json 1", "json 16", "rate 30", "stream 50", "send 16", "ws 50", "sse 50")
ROUNDS, SECONDS = 10, 3.0
ONE_OF_EACH_VENDOR = ("gpt-4o-mini", "claude-haiku-4-5", "gemini-2.5-flash")
# The largest slowdown that is allowed.
ALLOWED = 1.03
# Figure -> the kinds of scenario that it describes.
_FIGURES = {
    "rate": ("json", "send"),
    "p50_ms": ("json", "rate", "send"),
    "ttft_p50_ms": ("stream", "sse", "ws"),
    "cpu_ms": ("json", "rate", "send", "stream", "sse", "ws"),
    "memory_mb": ("json",),
}


@dataclass(frozen=True)
class Verdict:
    """One figure of one scenario: the medians of both checkouts, and the ratio with its interval."""

    scenario: str
    figure: str
    here: float
    there: float
    ratio: float
    low: float
    high: float

    @property
    def slower(self) -> bool:
        return self.low > ALLOWED


def interval(values: list[float]) -> tuple[float, float]:
    """Bounds of the median at 95 % or more, from the order of the values alone; needs at least six of them."""
    count, ordered = len(values), sorted(values)
    # The largest k for which fewer than k of `count` fair coins are heads in at most 2.5 % of all cases.
    k = max((k for k in range(1, count // 2 + 1) if sum(comb(count, heads) for heads in range(k)) / 2**count <= 0.025), default=0)
    if not k:
        raise ValueError(f"{count} values are too few for an interval")
    return ordered[k - 1], ordered[count - k]


def judge(scenario: str, here: list[dict[str, Any]], there: list[dict[str, Any]]) -> Iterator[Verdict]:
    """A verdict for each figure of the scenario; `here` and `there` are paired by round."""
    for figure, kinds in _FIGURES.items():
        if scenario.split()[0] not in kinds:
            continue
        pairs = [(float(ours[figure]), float(theirs[figure])) for ours, theirs in zip(here, there, strict=True)]
        if not all(ours > 0 and theirs > 0 for ours, theirs in pairs):
            raise RuntimeError(f"{scenario}: {figure} was not measured in every round: {pairs}")
        ratios = [theirs / ours if figure == "rate" else ours / theirs for ours, theirs in pairs]
        middle = [statistics.median(side) for side in zip(*pairs, strict=True)]
        yield Verdict(scenario, figure, middle[0], middle[1], statistics.median(ratios), *interval(ratios))


async def run(here: Runner, there: Runner, others: dict[str, Meter], scenarios: list[str], seconds: float, rounds: int) -> list[Verdict]:
    """Run all rounds of all scenarios. Raises if a request failed, because failed requests are fast."""
    for runner in (here, there):
        await _call_each_vendor(runner.target)
    found: dict[str, tuple[list[dict[str, Any]], list[dict[str, Any]]]] = {scenario: ([], []) for scenario in scenarios}
    for turn in range(-1, rounds):  # the first one warms both up and does not count
        for scenario in scenarios:
            sides = [(here, 0), (there, 1)]
            for runner, side in sides if turn % 2 else reversed(sides):
                row = await measure(runner, others, scenario, seconds if turn >= 0 else 1.0)
                if row["errors"]:
                    raise RuntimeError(f"{scenario} on {runner.target.name}: {row['errors']}")
                if turn >= 0:
                    found[scenario][side].append(row)
                await asyncio.sleep(0.3)
        print(f"round {turn + 1} of {rounds}" if turn >= 0 else "warmed up", file=sys.stderr, flush=True)
    return [verdict for scenario, sides in found.items() for verdict in judge(scenario, *sides)]


async def _call_each_vendor(target: Target) -> None:
    """One call to a model of each vendor, so that memory is compared with every SDK loaded, whether at start-up or by the first call."""
    for model in ONE_OF_EACH_VENDOR:
        answered = await load.closed_loop(replace(target, model=model), 1, 120.0, PROMPT, count=1)
        if answered.errors:
            raise RuntimeError(f"{model} on {target.name}: {answered.errors}")


def table(verdicts: list[Verdict]) -> str:
    """The verdicts as Markdown."""
    heads = ("scenario", "figure", "here", "there", "worse by a factor of", "95 % interval", "verdict")
    return markdown(
        heads,
        [
            (
                one.scenario, one.figure, number(one.here, 2), number(one.there, 2), f"{one.ratio:.3f}", f"{one.low:.3f} to {one.high:.3f}",
                "SLOWER" if one.slower else "ok",
            )
            for one in verdicts
        ],
    )  # fmt: skip


def main(arguments: argparse.Namespace) -> int:
    """Compare, print, and return the exit status: 1 if a figure is worse by more than is allowed."""
    tree: Path = arguments.against.resolve()
    if not (tree / "manage.py").exists():
        raise SystemExit(f"{tree} is no checkout of the product")
    scenarios = [one.strip() for one in arguments.only.split(",") if one.strip()] or list(SCENARIOS)
    rounds = arguments.rounds or ROUNDS
    if rounds < ROUNDS:
        raise SystemExit(f"--against needs {ROUNDS} rounds or more for an interval worth having")
    most = max((int(one.split()[1]) for one in scenarios if one.split()[0] in ("ws", "sse", "send")), default=0)
    with stores() as (folder, data), contextlib.ExitStack() as stack:
        runners = []
        for name, root in (("here", ROOT), ("there", tree)):
            (folder / name).mkdir()
            live = launch(folder / name, root=root, **SETTINGS)
            stack.callback(live.close)
            target = load.Target(name, live.port, (live.key,), MODEL)
            callers = people(live, -(-most // PER_USER)) if most else ()
            runners.append(Runner(target, Meter([live.processes["web"].pid]), callers))
        others = {"stores": Meter([postgres_pid(data), valkey_pid(data)])}
        verdicts = uvloop.run(run(runners[0], runners[1], others, scenarios, arguments.seconds or SECONDS, rounds))
    print(table(verdicts))
    if arguments.json:
        Path(arguments.json).write_text(json.dumps([vars(one) for one in verdicts], indent=1))
    slower = [f"{one.scenario} {one.figure}" for one in verdicts if one.slower]
    print(
        f"\nSlower by more than {ALLOWED - 1:.0%}: {', '.join(slower)}"
        if slower
        else f"\nNothing is slower by more than {ALLOWED - 1:.0%}."
    )
    return 1 if slower else 0
