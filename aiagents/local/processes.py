"""The child processes of `manage.py up`: it starts them, prints their output, restarts dead ones and ends them in order."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

import psutil

from aiagents.server.processes import BACKOFF_MAX, STEADY_SECONDS, spawn

COLOURS = {"web": 36, "worker": 33, "keeper": 34, "beat": 35, "simulator": 32, "up": 1}


def print_line(name: str, text: str) -> None:
    """Print one line on the terminal, labelled with the name of its process."""
    label = f"{name:<9} |"
    if sys.stdout.isatty():
        label = f"\033[{COLOURS.get(name, 0)}m{label}\033[0m"
    with contextlib.suppress(BrokenPipeError, ValueError):
        print(f"{label} {text}", flush=True)


@dataclass
class Child:
    """One process. `grace`: seconds between SIGTERM and SIGKILL. It gets SIGTERM after all of a lower `stage` have ended."""

    name: str
    command: Sequence[str]
    grace: float
    stage: int = 1
    orphaned: signal.Signals = signal.SIGTERM
    pass_fds: tuple[int, ...] = ()
    process: subprocess.Popen | None = None
    started: float = 0.0
    delay: float = 0.5
    not_before: float = 0.0
    terminated_at: float = 0.0

    @property
    def alive(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def start(self) -> None:
        """Start the process and print its output line by line. Call it from the main thread only (see `spawn`)."""
        self.process = spawn(
            self.command, self.orphaned, pass_fds=self.pass_fds, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            env=os.environ | {"PYTHONUNBUFFERED": "1"},
        )  # fmt: skip
        self.started = time.monotonic()
        assert self.process.stdout is not None
        threading.Thread(target=_print_output, args=(self.name, self.process.stdout), daemon=True).start()

    def terminate(self) -> None:
        """Send SIGTERM."""
        self.terminated_at = time.monotonic()
        if self.alive:
            assert self.process is not None
            self.process.terminate()

    def wait(self, impatient: Callable[[], bool]) -> None:
        """Wait for `grace` seconds (0.5 when `impatient`), then kill the process and its children."""
        while self.alive:
            assert self.process is not None
            if time.monotonic() - self.terminated_at > (0.5 if impatient() else self.grace):
                print_line("up", f"{self.name} did not end by itself; killing it")
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(self.process.pid, signal.SIGKILL)  # it leads a session: the group is the process and its children
                self.process.wait()
            time.sleep(0.02)


def _print_output(name: str, stream: IO[bytes]) -> None:
    for line in stream:
        print_line(name, line.decode("utf-8", "replace").rstrip())


@dataclass
class Children:
    """All child processes. A file in `folder` keeps their pids for the next start."""

    folder: Path
    children: list[Child] = field(default_factory=list)

    def add(self, child: Child) -> None:
        child.start()
        self.children.append(child)
        self.save_pids()

    def watch(self, until: Callable[[], bool], tick: Callable[[], None] = lambda: None) -> None:
        """Restart children that die, with growing delays, until `until()` is True."""
        while not until():
            for child in self.children:
                if child.process is not None and not child.alive:
                    lived, status = time.monotonic() - child.started, child.process.returncode
                    child.delay = 0.5 if lived > STEADY_SECONDS else min(child.delay * 2, BACKOFF_MAX)
                    child.not_before = time.monotonic() + child.delay
                    child.process = None
                    print_line("up", f"{child.name} died (exit {status}) after {lived:.0f} s; starting it again in {child.delay:.0f} s")
                if child.process is None and time.monotonic() >= child.not_before:
                    child.start()
                    self.save_pids()
            tick()
            time.sleep(0.1)

    def end(self, impatient: Callable[[], bool]) -> None:
        """End the children, one stage after another; those of one stage at the same time."""
        for stage in sorted({child.stage for child in self.children}):
            members = [child for child in self.children if child.stage == stage]
            for child in members:
                child.terminate()
            for child in members:
                child.wait(impatient)
        self._pid_file.unlink(missing_ok=True)

    # --- processes of a killed run --------------------------------------------------------------

    @property
    def _pid_file(self) -> Path:
        return self.folder / "children.json"

    def save_pids(self) -> None:
        pids = [child.process.pid for child in self.children if child.process is not None]
        self._pid_file.write_text(json.dumps([[pid, _born(pid)] for pid in pids]))

    def end_leftovers(self) -> int:
        """Kill the processes of an earlier run that was killed; return how many. It skips pids that other programs got since."""
        try:
            saved = json.loads(self._pid_file.read_text())
        except (OSError, ValueError):
            return 0
        found = 0
        for pid, born in saved:
            with contextlib.suppress(psutil.NoSuchProcess):
                process = psutil.Process(pid)
                if abs(process.create_time() - born) > 1:
                    continue
                found += 1
                for relative in [*process.children(recursive=True), process]:
                    relative.kill()
        self._pid_file.unlink(missing_ok=True)
        return found


def _born(pid: int) -> float:
    try:
        return psutil.Process(pid).create_time()
    except psutil.NoSuchProcess:
        return 0.0
