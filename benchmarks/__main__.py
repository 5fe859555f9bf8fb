"""Runs all benchmarks with one command: `python -m benchmarks` (`make bench`). See benchmarks/README.md.

Each part starts an installation of its own. The figures of all parts go into one JSON file. At the end it prints every
performance target beside the measured value. Take final figures on a machine that does nothing else.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks import linear, targets
from benchmarks.analytics import reports
from benchmarks.gateway import calls as gateway
from benchmarks.harness.installation import installation
from benchmarks.harness.meter import machine
from benchmarks.shared import stores as shared
from benchmarks.workloads import hostile, idle, jobs, login, unit_costs

PARTS = ("gateway", "idle", "login", "jobs", "linear", "shared", "costs", "analytics", "hostile")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    gateway.options(parser)
    parser.add_argument("--parts", default=",".join(PARTS), help=f"by comma, of {', '.join(PARTS)}")
    parser.add_argument("--linear-rows", type=int, default=1_000_000, help="usage rows of the larger case of linear growth")
    parser.add_argument("--analytics-rows", type=int, default=1_000_000, help="usage rows under the reports; 10000000 takes long to write")
    parser.set_defaults(seconds=3.0)
    arguments = parser.parse_args()
    chosen = arguments.parts.split(",")
    if unknown := set(chosen) - set(PARTS):
        parser.error(f"no such part: {', '.join(sorted(unknown))}")
    work: dict[str, tuple[Callable[[Any], Any], Callable[[Any], str]]] = {
        "gateway": (lambda installed: gateway.take(installed, arguments), gateway.table),
        "idle": (idle.take, idle.table),
        "login": (login.take, login.table),
        "jobs": (jobs.take, jobs.table),
        "linear": (lambda installed: linear.take(installed, 0 if arguments.quick else arguments.linear_rows), linear.table),
        "shared": (shared.take, shared.table),
        "costs": (unit_costs.take, unit_costs.table),
        "analytics": (lambda installed: reports.take(installed, 100_000 if arguments.quick else arguments.analytics_rows), reports.table),
        "hostile": (hostile.take, hostile.table),
    }
    found: dict[str, Any] = {"machine": machine()}
    print(f"{found['machine']}\n")
    if found["machine"]["busy_percent"] > 20:
        print("Other processes keep this machine busy: the latencies below are inexact, the processor times less so.\n")
    for name in (part for part in PARTS if part in chosen):
        began = time.monotonic()
        take, table = work[name]
        try:
            with installation(pin=arguments.pin) as installed:
                found[name] = take(installed)
        except Exception as exc:  # a failed part does not stop the others
            print(f"## {name}\n\nfailed: {exc!r}\n", flush=True)
            continue
        print(f"## {name} ({time.monotonic() - began:.0f} s)\n\n{table(found[name])}\n", flush=True)
        if arguments.json:
            Path(arguments.json).write_text(json.dumps(found, indent=1))
    print(f"## targets\n\n{targets.table(found)}")


if __name__ == "__main__":
    main()
