"""The files of the metrics: what a process counted stands in them once, whatever happened while they were written."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

# A process of its own: the metrics of this one are in use.
SCRIPT = """
import errno
import os
from pathlib import Path
from unittest import mock
from prometheus_client import CollectorRegistry, Counter
from prometheus_client.multiprocess import MultiProcessCollector
from aiagents.core.metrics import files as metric_files

metric_files.install()
folder = Path(os.environ["PROMETHEUS_MULTIPROC_DIR"])
counter = Counter("calls", "calls", registry=CollectorRegistry())

def total():
    families = MultiProcessCollector.merge(metric_files.readable(folder), accumulate=True)
    return sum(sample.value for family in families for sample in family.samples if sample.name == "calls_total")

counter.inc(5)
assert metric_files.write() and total() == 5
for failure in ("_write_all", "_write", "locked"):
    with mock.patch.object(metric_files, failure, side_effect=OSError(errno.ENOSPC, "No space left on device")):
        counter.inc()
        metric_files.write()
    counter.inc()
    assert metric_files.write()
    assert total() == counter._value.get(), (failure, total(), counter._value.get())
print("counted", total())
"""


def test_a_write_that_failed_is_made_up_for_once(tmp_path: Path):
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], env={"PROMETHEUS_MULTIPROC_DIR": str(tmp_path)}, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["counted", "11.0"]
