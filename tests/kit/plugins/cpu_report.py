"""`--cpu-report N`: the N files that used the most processor time, with everything that they started.

Counted: the test's own process and its children, alive or ended. The database server's work is a line of its own.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--cpu-report", type=int, default=0, metavar="N", help="print the N files that used the most processor time")


def pytest_configure(config: pytest.Config) -> None:
    if config.getoption("--cpu-report"):
        config.pluginmanager.register(_Report(config), "cpu-report")


class _Report:
    def __init__(self, config: pytest.Config) -> None:
        self.config = config
        self.totals: dict[str, list[float]] = defaultdict(lambda: [0.0, 0.0, 0])
        self._file = ""
        self._cpu, self._clock = 0.0, 0.0
        self._own = psutil.Process()
        self._database = None if os.environ.get("PYTEST_XDIST_WORKER") else _database_server()
        self._database_before = _of_tree(self._database) if self._database else 0.0

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item, nextitem: pytest.Item | None) -> Iterator[None]:
        file = str(item.path.relative_to(self.config.rootpath))
        if file != self._file:
            self._file, self._cpu, self._clock = file, self._used(), time.monotonic()
        result = yield
        total = self.totals[file]
        total[2] += 1
        if nextitem is None or nextitem.path != item.path:
            total[0] += self._used() - self._cpu
            total[1] += time.monotonic() - self._clock
            self._file = ""
            with (Path(os.environ["DATA_DIR"]) / "cpu-report.txt").open("a") as lines:  # also of a run that is stopped
                lines.write(f"{total[0]:9.1f}{total[1]:9.1f}{total[2]:7.0f}  {file}\n")
        return result

    def _used(self) -> float:
        return _of_tree(self._own)

    def pytest_sessionfinish(self) -> None:
        output = getattr(self.config, "workeroutput", None)
        if output is not None:
            output["cpu-report"] = dict(self.totals)

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any) -> None:
        for file, values in getattr(node, "workeroutput", {}).get("cpu-report", {}).items():
            self.totals[file] = [old + new for old, new in zip(self.totals[file], values, strict=True)]

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        ordered = sorted(self.totals.items(), key=lambda pair: -pair[1][0])
        terminalreporter.write_line("    CPU s   wall s  tests  file")
        for file, (cpu, clock, tests) in ordered[: self.config.getoption("--cpu-report")]:
            terminalreporter.write_line(f"{cpu:9.1f}{clock:9.1f}{tests:7.0f}  {file}")
        cpu, clock, tests = (sum(values[at] for values in self.totals.values()) for at in range(3))
        terminalreporter.write_line(f"{cpu:9.1f}{clock:9.1f}{tests:7.0f}  all files")
        if self._database:
            terminalreporter.write_line(f"{_of_tree(self._database) - self._database_before:9.1f}{'':16}  the database")


def _of_tree(process: psutil.Process) -> float:
    seconds = 0.0
    for one in (process, *process.children(recursive=True)):
        with contextlib.suppress(psutil.Error):
            seconds += sum(one.cpu_times()[:4])  # its own and those of the children that it has waited for
    return seconds


def _database_server() -> psutil.Process | None:
    pid = Path(os.environ["DATA_DIR"]) / "postgres" / "postmaster.pid"
    with contextlib.suppress(OSError, ValueError, psutil.Error):
        return psutil.Process(int(pid.read_text().splitlines()[0]))
    return None
