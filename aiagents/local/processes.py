"""The processes of `manage.py up`: started, listened to, replaced when they die, and ended in order."""

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


def say(name: str, text: str) -> None:
    """One line on the terminal under the name of the process it belongs to."""
    label = f"{name:<9} |"
    if sys.stdout.isatty():
        label = f"\033[{COLOURS.get(name, 0)}m{label}\033[0m"
    with contextlib.suppress(BrokenPipeError, ValueError):
        print(f"{label} {text}", flush=True)


@dataclass
class Child:
    """One process. `grace`: seconds between SIGTERM and SIGKILL. Those of a lower `stage` have ended before it is asked."""

    name: str
    command: Sequence[str]
    grace: float
    stage: int = 1
    orphaned: signal.Signals = signal.SIGTERM
    pass_fds: tuple[int, ...] = ()
    process: subprocess.Popen | None = None
    started: float = 0.0
    patience: float = 0.5
    not_before: float = 0.0
    asked: float = 0.0

    @property
    def alive(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def start(self) -> None:
        """Start it, its output going to the terminal line by line. From the main thread only (see `spawn`)."""
        self.process = spawn(
            self.command, self.orphaned, pass_fds=self.pass_fds, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            env=os.environ | {"PYTHONUNBUFFERED": "1"},
        )  # fmt: skip
        self.started = time.monotonic()
        assert self.process.stdout is not None
        threading.Thread(target=_echo, args=(self.name, self.process.stdout), daemon=True).start()

    def ask_to_end(self) -> None:
        self.asked = time.monotonic()
        if self.alive:
            assert self.process is not None
            self.process.terminate()

    def await_end(self, impatient: Callable[[], bool]) -> None:
        """Patience (none when `impatient`), then SIGKILL: to the process and all that it started."""
        while self.alive:
            assert self.process is not None
            if time.monotonic() - self.asked > (0.5 if impatient() else self.grace):
                say("up", f"{self.name} did not end by itself; killing it")
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(self.process.pid, signal.SIGKILL)  # its own session: the group is it and its children
                self.process.wait()
            time.sleep(0.02)


def _echo(name: str, stream: IO[bytes]) -> None:
    for line in stream:
        say(name, line.decode("utf-8", "replace").rstrip())


@dataclass
class Family:
    """All children. `folder` keeps their pids for the next start."""

    folder: Path
    children: list[Child] = field(default_factory=list)

    def add(self, child: Child) -> None:
        child.start()
        self.children.append(child)
        self.note()

    def watch(self, until: Callable[[], bool], tick: Callable[[], None] = lambda: None) -> None:
        """Replace children that die, with growing patience, until told to stop."""
        while not until():
            for child in self.children:
                if child.process is not None and not child.alive:
                    lived, status = time.monotonic() - child.started, child.process.returncode
                    child.patience = 0.5 if lived > STEADY_SECONDS else min(child.patience * 2, BACKOFF_MAX)
                    child.not_before = time.monotonic() + child.patience
                    child.process = None
                    say("up", f"{child.name} died (exit {status}) after {lived:.0f} s; starting it again in {child.patience:.0f} s")
                if child.process is None and time.monotonic() >= child.not_before:
                    child.start()
                    self.note()
            tick()
            time.sleep(0.1)

    def end(self, impatient: Callable[[], bool]) -> None:
        """End them, stage after stage; those of one stage together."""
        for stage in sorted({child.stage for child in self.children}):
            members = [child for child in self.children if child.stage == stage]
            for child in members:
                child.ask_to_end()
            for child in members:
                child.await_end(impatient)
        self._pid_file.unlink(missing_ok=True)

    # --- left-overs of a run that was killed ----------------------------------------------------

    @property
    def _pid_file(self) -> Path:
        return self.folder / "children.json"

    def note(self) -> None:
        pids = [child.process.pid for child in self.children if child.process is not None]
        self._pid_file.write_text(json.dumps([[pid, _born(pid)] for pid in pids]))

    def end_leftovers(self) -> int:
        """Kill what a killed run left behind; how many. A pid that was given to another program since is left alone."""
        try:
            noted = json.loads(self._pid_file.read_text())
        except (OSError, ValueError):
            return 0
        found = 0
        for pid, born in noted:
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
