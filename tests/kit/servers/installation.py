"""An installation as `manage.py up` starts it: a folder with its data, and the terminal in which it runs."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path

import psutil

from tests.kit.servers import preloaded
from tests.kit.servers.server_process import ROOT, free_port, wait_for

INHERITED = (
    "ENVIRONMENT",
    "HOST",
    "SITE_URL",
    "DATABASE_URL",
    "REDIS_URL",
    "SECRET_KEY",
    "DJANGO_SETTINGS_MODULE",
    "SIMULATOR",
    "PROMETHEUS_MULTIPROC_DIR",
    "STATIC_ROOT",
)


class Installation:
    """A folder with its data, and the terminal in which it runs."""

    def __init__(self, folder: Path) -> None:
        self.data, self.port = folder / "data", free_port()
        vendors = ("OPENAI_", "ANTHROPIC_", "GOOGLE_", "PYTEST_")
        self.env = {name: value for name, value in os.environ.items() if name not in INHERITED and not name.startswith(vendors)}
        self.env |= {"DATA_DIR": str(self.data), "PORT": str(self.port), "DRAIN_SECONDS": "3", "RATE_LIMIT_REQUESTS": "100000"}
        self.env["LOG_FILE"] = str(self.data / "logs" / "aiagents.log")
        self.process: subprocess.Popen | None = None
        self.lines: list[str] = []

    def command(self, *arguments: str) -> subprocess.Popen:
        return subprocess.Popen(
            [sys.executable, "manage.py", "up", *arguments], cwd=ROOT, env=self.env, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True,
        )  # fmt: skip

    def start(self, seconds: float = 90, process: subprocess.Popen | None = None) -> float:
        """Start it (or take `process`, which does) and wait for its banner; how long that took."""
        begun = time.monotonic()
        self.begin(process)
        self.is_up(seconds)
        return time.monotonic() - begun

    def begin(self, process: subprocess.Popen | None = None) -> None:
        """Start it (or take `process`, which does)."""
        self.lines, self.process = [], process or self.command()
        threading.Thread(target=self._read, args=(self.process,), daemon=True).start()

    def is_up(self, seconds: float = 90) -> None:
        """Wait for its banner."""
        if not wait_for(lambda: self.said("Ctrl-C stops everything") or self.process.poll() is not None, seconds) or self.process.poll():
            raise AssertionError("it did not come up:\n" + "\n".join(self.lines))

    @property
    def runs(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def _read(self, process: subprocess.Popen) -> None:
        for line in process.stdout:
            self.lines.append(line.rstrip())

    def said(self, pattern: str) -> bool:
        return any(re.search(pattern, line) for line in list(self.lines))

    def everyone(self) -> list[psutil.Process]:
        """Itself, its children, theirs, and the embedded servers with theirs."""
        found = [psutil.Process(self.process.pid)]  # make's or our own: its children are among them
        for name, line in (("valkey/valkey.pid", 0), ("postgres/postmaster.pid", 0)):
            found.append(psutil.Process(int((self.data / name).read_text().splitlines()[line])))
        return [member for process in found for member in [process, *process.children(recursive=True)]]

    def child(self, name: str) -> psutil.Process:
        marks = {"web": "aiagents.server", "beat": "beat", "worker": "worker@%h", "keeper": "keeper@%h", "simulator": "agents.simulator"}
        return next(child for child in self._main().children() if marks[name] in child.cmdline())

    def lives(self, name: str) -> bool:
        try:
            return self.child(name).is_running()
        except (StopIteration, psutil.NoSuchProcess):
            return False

    def _main(self) -> psutil.Process:
        """`manage.py up` itself, which may be a child of make."""
        started = psutil.Process(self.process.pid)
        return next((child for child in started.children() if "up" in child.cmdline()), started) if started.name() == "make" else started

    def stop(self, sign: int = signal.SIGINT) -> int:
        self.process.send_signal(sign)
        return self.process.wait(60)

    def server(self, name: str) -> psutil.Process:
        """The embedded server's first process."""
        file = {"PostgreSQL": "postgres/postmaster.pid", "Valkey": "valkey/valkey.pid"}[name]
        return psutil.Process(int((self.data / file).read_text().split()[0]))

    def status(self) -> str:
        """The status in the answer of /health/ready."""
        try:
            return self.call("/health/ready")[1]["status"]
        except OSError:
            return "away"

    def call(self, path: str, body: dict | None = None, key: str = "") -> tuple[int, dict]:
        data = json.dumps(body).encode() if body is not None else None
        headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {key}"} if key else {})
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}{path}", data, headers)
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as exc:
            return exc.code, json.load(exc)

    def login(self, email: str, password: str) -> int:
        return self.call("/api/v1/auth/login", {"email": email, "password": password})[0]

    def manage(self, *arguments: str) -> str:
        done = preloaded.run(sys.executable, "manage.py", *arguments, cwd=ROOT, env=self.env, timeout=60)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def password_of(self, email: str) -> str:
        """What the banner shows behind this e-mail."""
        return next(line.partition(email)[2].strip() for line in list(self.lines) if email in line)
