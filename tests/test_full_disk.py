"""A disk without room: nothing is killed by it, what needs no room goes on, and all is well again once there is room.

`pytest tests/test_full_disk.py -s` is the whole proof, and prints what callers saw. It needs the right to mount a tmpfs.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.server_process import ROOT
from tests.small_disk import fill, small_disk

_COUNTING = """
from aiagents.monitoring import counting, metric_files, metrics
for number in range(400):
    counting.request(f"/api/v1/chat/{number}", 200 + number, 0.01)
    metrics.CALLS.labels("openai", f"model-{number}", "ok").inc()
    metrics.flush()
print("written" if metric_files.write() else "kept", metrics.exposition().count(b"model-"))
"""


@pytest.fixture
def metrics_disk() -> Iterator[Path]:
    with small_disk("64k") as folder:
        yield folder


def count(folder: Path) -> str:
    env = os.environ | {"PROMETHEUS_MULTIPROC_DIR": str(folder)}
    done = subprocess.run([sys.executable, "-c", _COUNTING], env=env, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, f"exit {done.returncode}\n{done.stderr[-2000:]}"
    return done.stdout


def test_a_full_disk_takes_metrics_and_not_the_process_that_counts(metrics_disk: Path):
    filler = fill(metrics_disk)
    assert count(metrics_disk).startswith("kept")
    filler.unlink()
    # Now there is room for some of it: the disk becomes full under files that exist and grow.
    assert count(metrics_disk).startswith("kept")


def test_dead_processes_sums_are_kept_when_there_is_no_room_to_merge_them(metrics_disk: Path):
    code = "from aiagents.monitoring import metrics; metrics.REPLAYS.inc(3)"
    env = os.environ | {"PROMETHEUS_MULTIPROC_DIR": str(metrics_disk)}
    subprocess.run([sys.executable, "-c", code], check=True, env=env, cwd=ROOT)
    filler = fill(metrics_disk)
    show = "from aiagents.monitoring import metrics; print(metrics.exposition().decode())"
    for _ in range(2):
        shown = subprocess.run([sys.executable, "-c", show], check=True, env=env, cwd=ROOT, capture_output=True, text=True).stdout
        assert "aiagents_replays_total 3.0" in shown
    filler.unlink()
    shown = subprocess.run([sys.executable, "-c", show], check=True, env=env, cwd=ROOT, capture_output=True, text=True).stdout
    assert "aiagents_replays_total 3.0" in shown
    assert (metrics_disk / "counter_gone.db").exists()
