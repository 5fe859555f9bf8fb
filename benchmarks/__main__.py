"""Runs all benchmarks with one command: `python -m benchmarks` (`make bench`). See benchmarks/README.md.

Each part runs on an installation of its own; the figures of all parts go into one JSON file, and every target of the speed
work is printed with what was measured. Take final figures on a machine that does nothing else.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks import books, gateway, hostile, idle, jobs, linear, login, shared, targets, unit_costs
from benchmarks.ground import installation
from benchmarks.meter import machine

PARTS = ("gateway", "idle", "login", "jobs", "linear", "shared", "costs", "analytics", "hostile")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    gateway.options(parser)
    parser.add_argument("--parts", default=",".join(PARTS), help=f"by comma, of {', '.join(PARTS)}")
    parser.add_argument("--linear-rows", type=int, default=1_000_000, help="usage rows of the larger case of linear growth")
    parser.add_argument("--analytics-rows", type=int, default=1_000_000, help="usage rows under the reports; 10000000 takes long to write")
    parser.set_defaults(seconds=3.0)
    asked = parser.parse_args()
    chosen = asked.parts.split(",")
    if unknown := set(chosen) - set(PARTS):
        parser.error(f"no such part: {', '.join(sorted(unknown))}")
    work: dict[str, tuple[Callable[[Any], Any], Callable[[Any], str]]] = {
        "gateway": (lambda ground: gateway.take(ground, asked), gateway.table),
        "idle": (idle.take, idle.table),
        "login": (login.take, login.table),
        "jobs": (jobs.take, jobs.table),
        "linear": (lambda ground: linear.take(ground, 0 if asked.quick else asked.linear_rows), linear.table),
        "shared": (shared.take, shared.table),
        "costs": (unit_costs.take, unit_costs.table),
        "analytics": (lambda ground: books.take(ground, 100_000 if asked.quick else asked.analytics_rows), books.table),
        "hostile": (hostile.take, hostile.table),
    }
    found: dict[str, Any] = {"machine": machine()}
    print(f"{found['machine']}\n")
    if found["machine"]["busy_percent"] > 20:
        print("This machine is busy with something else: latencies below are rough, processor times less so.\n")
    for name in (part for part in PARTS if part in chosen):
        began = time.monotonic()
        take, table = work[name]
        try:
            with installation(pin=asked.pin) as ground:
                found[name] = take(ground)
        except Exception as exc:  # the other parts are worth having all the same
            print(f"## {name}\n\nfailed: {exc!r}\n", flush=True)
            continue
        print(f"## {name} ({time.monotonic() - began:.0f} s)\n\n{table(found[name])}\n", flush=True)
        if asked.json:
            Path(asked.json).write_text(json.dumps(found, indent=1))
    print(f"## targets\n\n{targets.table(found)}")


if __name__ == "__main__":
    main()
