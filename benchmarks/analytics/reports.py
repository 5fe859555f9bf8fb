"""The time of each report of the admin site and of a user, over a long usage log that `manage.py demo_usage` writes.

A separate process without a web server times the functions that the API and the pages call (timing.py). pages.py times
the pages and the API over HTTP.
"""

from __future__ import annotations

import subprocess
import sys
import time
from typing import Any

from benchmarks.analytics import pages
from benchmarks.harness.installation import Installation
from benchmarks.harness.tables import markdown, number
from tests.kit.servers.live import ROOT


def take(installed: Installation, rows: int, users: int = 200) -> dict[str, Any]:
    """Milliseconds of every report over `rows` rows of a year: the first time and warm."""
    began = time.monotonic()
    command = [sys.executable, "manage.py", "demo_usage", "--rows", str(rows), "--days", "365", "--users", str(users), "--force"]
    done = subprocess.run(command, cwd=ROOT, env=installed.live.env, capture_output=True, text=True, timeout=7200)
    if done.returncode:
        raise RuntimeError(done.stdout[-1000:] + done.stderr[-3000:])
    filled = time.monotonic() - began
    installed.live.query("ANALYZE")
    found = installed.script("benchmarks.analytics.timing")
    sizes = installed.live.query("SELECT pg_total_relation_size('billing_usagelog'), pg_total_relation_size('billing_usagerollup')")[0]
    seen = pages.take(installed)
    return {
        "rows": rows,
        "pages": seen,
        "slowest_page_ms": seen[0]["warm_ms"],
        "filled_seconds": filled,
        "reports": found,
        "slowest_ms": max(one["warm_ms"] for one in found.values()),
        "log_mb": sizes[0] / 2**20,
        "bytes_per_row": sizes[0] / rows,
        "rollups_mb": sizes[1] / 2**20,
    }


def table(found: dict[str, Any]) -> str:
    rows = [(name, number(one["cold_ms"], 0), number(one["warm_ms"], 1)) for name, one in found["reports"].items()]
    summary = (
        f"{found['rows']:,} rows of a year, written with their rollups in {found['filled_seconds']:.0f} s: {found['log_mb']:,.0f} MB with "
        f"indexes ({found['bytes_per_row']:.0f} bytes a row), the rollups {found['rollups_mb']:,.0f} MB."
    )
    return f"{summary}\n\n{markdown(('report', 'first ms', 'warm ms, median of 5'), rows)}\n\n{pages.table(found['pages'])}"
