"""Measures the processor time and memory of processes, and sets the cores that they may use."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import psutil


class Meter:
    """CPU seconds and memory of a set of processes with their children."""

    def __init__(self, pids: list[int]) -> None:
        self.pids = pids
        self.processes = [psutil.Process(pid) for pid in pids]

    def cpu(self) -> float:
        """CPU seconds, including children that ended, if their parents have waited for them."""
        return sum(self._of(lambda one: sum(one.cpu_times()[:4])))

    def memory(self) -> int:
        """Resident bytes."""
        return sum(self._of(lambda one: one.memory_info().rss))

    def pin(self, cores: Iterable[int]) -> None:
        """Restrict the processes to these cores."""
        for process in self.processes:
            for one in (process, *process.children(recursive=True)):
                with contextlib.suppress(psutil.NoSuchProcess):
                    one.cpu_affinity(list(cores))

    def _of(self, read: Callable[[psutil.Process], float]) -> Iterator[Any]:
        for process in self.processes:
            with contextlib.suppress(psutil.NoSuchProcess):
                for one in (process, *process.children(recursive=True)):
                    with contextlib.suppress(psutil.NoSuchProcess):
                        yield read(one)


class Span:
    """CPU seconds of several meters, and of this process, between two moments; `with Span(web=…, stores=…) as span: …`."""

    def __init__(self, **meters: Meter) -> None:
        self.meters = meters
        self.cpu: dict[str, float] = {}
        self.seconds = 0.0
        # The share of one core that this process, the load generator, used.
        self.own = 0.0

    def __enter__(self) -> Span:
        self._before = {name: meter.cpu() for name, meter in self.meters.items()}
        self._began, self._own = time.perf_counter(), time.process_time()
        return self

    def __exit__(self, *exc: object) -> None:
        self.seconds = time.perf_counter() - self._began
        self.own = (time.process_time() - self._own) / self.seconds
        self.cpu = {name: meter.cpu() - self._before[name] for name, meter in self.meters.items()}


def postgres_pid(data_dir: Path) -> int:
    return int((data_dir / "postgres" / "postmaster.pid").read_text().splitlines()[0])


def valkey_pid(data_dir: Path) -> int:
    return int((data_dir / "valkey" / "valkey.pid").read_text())


def machine() -> dict[str, Any]:
    """Describes this machine, and how busy it is now."""
    busy = psutil.cpu_percent(1.0)
    model = next((line.partition(": ")[2].strip() for line in _cpuinfo() if line.startswith("model name")), "")
    return {"cores": os.cpu_count(), "model": model, "memory_gb": round(psutil.virtual_memory().total / 2**30), "busy_percent": busy}


def _cpuinfo() -> list[str]:
    try:
        return Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return []
