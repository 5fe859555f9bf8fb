"""The coverage of a parallel run is written when its tests end.

Coverage writes at the exit of a process, and pytest-xdist kills a worker whose exit takes longer than ten seconds. So the
data of the worker with the most tests was lost, and the report showed well-tested files as untested.
"""

from __future__ import annotations

import sys


def pytest_sessionfinish() -> None:
    coverage = sys.modules.get("coverage")
    current = coverage.Coverage.current() if coverage else None
    if current is not None:
        current.save()
