"""`manage.py up`, as `make run` starts it: from nothing to a login, through Ctrl-C, kill -9 and dying children."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path

import psutil
import pytest

from aiagents import demo, embedded
from tests.server_process import ROOT, free_port, wait_for

# One installation for the whole file: `--dist loadfile` keeps its tests together when the suite runs in parallel.
pytestmark = pytest.mark.slow
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
)


class Installation:
    """A folder with its data, and the terminal in which it runs."""

    def __init__(self, folder: Path) -> None:
        self.data, self.port = folder / "data", free_port()
        vendors = ("OPENAI_", "ANTHROPIC_", "GOOGLE_", "PYTEST_")
        self.env = {name: value for name, value in os.environ.items() if name not in INHERITED and not name.startswith(vendors)}
        self.env |= {"DATA_DIR": str(self.data), "PORT": str(self.port), "DRAIN_SECONDS": "3"}
        self.process: subprocess.Popen | None = None
        self.lines: list[str] = []

    def command(self) -> subprocess.Popen:
        return subprocess.Popen(
            [sys.executable, "manage.py", "up"], cwd=ROOT, env=self.env, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True,
        )  # fmt: skip

    def start(self, seconds: float = 60) -> float:
        """Start it and wait for its banner; how long that took."""
        begun = time.monotonic()
        self.lines, self.process = [], self.command()
        threading.Thread(target=self._read, args=(self.process,), daemon=True).start()
        if not wait_for(lambda: self.said("Ctrl-C stops everything") or self.process.poll() is not None, seconds) or self.process.poll():
            raise AssertionError("it did not come up:\n" + "\n".join(self.lines))
        return time.monotonic() - begun

    def _read(self, process: subprocess.Popen) -> None:
        for line in process.stdout:
            self.lines.append(line.rstrip())

    def said(self, pattern: str) -> bool:
        return any(re.search(pattern, line) for line in list(self.lines))

    def everyone(self) -> list[psutil.Process]:
        """Itself, its children, theirs, and the embedded servers with theirs."""
        found = [psutil.Process(self.process.pid)]
        for name, line in (("valkey/valkey.pid", 0), ("postgres/postmaster.pid", 0)):
            found.append(psutil.Process(int((self.data / name).read_text().splitlines()[line])))
        return [member for process in found for member in [process, *process.children(recursive=True)]]

    def child(self, name: str) -> psutil.Process:
        marks = {"web": "aiagents.server", "beat": "beat", "worker": "worker@%h", "keeper": "keeper@%h", "simulator": "agents.simulator"}
        return next(child for child in psutil.Process(self.process.pid).children() if marks[name] in child.cmdline())

    def stop(self, sign: int = signal.SIGINT) -> int:
        self.process.send_signal(sign)
        return self.process.wait(60)

    def call(self, path: str, body: dict | None = None) -> tuple[int, dict]:
        data = json.dumps(body).encode() if body is not None else None
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}{path}", data, {"Content-Type": "application/json"})
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as exc:
            return exc.code, json.load(exc)

    def login(self, email: str, password: str) -> int:
        return self.call("/api/v1/auth/login", {"email": email, "password": password})[0]

    def manage(self, *arguments: str) -> str:
        done = subprocess.run([sys.executable, "manage.py", *arguments], cwd=ROOT, env=self.env, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def password_of(self, email: str) -> str:
        """What the banner shows behind this e-mail."""
        return next(line.partition(email)[2].strip() for line in list(self.lines) if email in line)


@pytest.fixture(scope="module")
def installation():
    # Not under pytest's folder: every pytest that starts closes that to others, and as root PostgreSQL is another user.
    folder = Path(tempfile.mkdtemp(prefix="aiagents-up-"))
    made = Installation(folder)
    yield made
    if made.process is not None and made.process.poll() is None:
        made.stop(signal.SIGKILL)
    embedded.remove(made.data)
    shutil.rmtree(folder, ignore_errors=True)


def gone(processes: list[psutil.Process]) -> bool:
    return not any(process.is_running() and process.status() != psutil.STATUS_ZOMBIE for process in processes)


def test_from_nothing_to_a_login(installation: Installation):
    installation.start(120)
    for text in (f"http://localhost:{installation.port}/", "SIMULATED", "aia_"):
        assert installation.said(re.escape(text)), text
    for email in (demo.ADMIN, demo.USER):
        assert installation.login(email, installation.password_of(email)) == 200
    assert installation.password_of(demo.ADMIN) != installation.password_of(demo.USER)
    # The worker took beat's heartbeat from the queue: everything is connected with everything.
    assert wait_for(lambda: installation.call("/health/ready")[1]["status"] == "ok", 30), installation.call("/health/ready")


def test_the_same_folder_and_the_same_port_are_refused_in_words(installation: Installation):
    second = installation.command()
    assert f"already runs on {installation.data}" in second.communicate(timeout=30)[0]
    assert second.returncode == 1
    elsewhere = Installation(installation.data.parent / "elsewhere")
    elsewhere.env["PORT"] = str(installation.port)
    third = elsewhere.command()
    assert re.search(r"Cannot listen on .*PORT=", third.communicate(timeout=30)[0])
    assert third.returncode == 1
    assert installation.call("/health")[0] == 200


@pytest.mark.parametrize("name", ["web", "worker", "keeper", "beat", "simulator"])
def test_a_child_that_dies_is_said_and_replaced(installation: Installation, name: str):
    assert wait_for(lambda: _lives(installation, name), 20)  # another may have died before and be about to return
    victim = installation.child(name)
    victim.kill()
    assert wait_for(lambda: installation.said(rf"{name} died \(exit -9\)"), 5)

    def replaced() -> bool:
        try:
            return installation.child(name).pid != victim.pid
        except (StopIteration, psutil.NoSuchProcess):
            return False

    assert wait_for(replaced, 10)
    if name == "web":
        assert wait_for(lambda: _answers(installation), 15)


def _lives(installation: Installation, name: str) -> bool:
    try:
        return installation.child(name).is_running()
    except (StopIteration, psutil.NoSuchProcess):
        return False


def _answers(installation: Installation) -> bool:
    try:
        return installation.call("/health")[0] == 200
    except OSError:
        return False


def test_ctrl_c_ends_everything_and_the_next_start_finds_all_data_within_15_seconds(installation: Installation):
    status, _ = installation.call("/api/v1/auth/register", {"email": "kept@example.com", "password": "a-long-enough-secret"})
    assert status == 201
    shown = next(line for line in installation.lines if "API key" in line).split()[-1]
    family = installation.everyone()
    assert installation.stop(signal.SIGINT) == 0
    assert wait_for(lambda: gone(family), 2), [process for process in family if process.is_running()]
    order = [line for line in installation.lines if "drained" in line or "Warm shutdown" in line]
    assert "drained" in order[0]  # the web server first: what it started may still need the others

    shown_once = {email: installation.password_of(email) for email in (demo.ADMIN, demo.USER)}
    assert installation.start() < 15
    for email, password in shown_once.items():
        assert installation.password_of(email) == demo.HOW_TO_RESET and not installation.said(re.escape(password))
        assert installation.login(email, password) == 200
    assert installation.login("kept@example.com", "a-long-enough-secret") == 200
    assert next(line for line in installation.lines if "API key" in line).split()[-1] == shown


def test_after_kill_9_nothing_is_left_but_the_databases_and_the_next_start_recovers(installation: Installation):
    names = ("web", "worker", "keeper", "beat", "simulator")
    children = [installation.child(name) for name in names]
    servers = [process for process in installation.everyone() if process.name() in {"valkey-server", "postgres"}]
    assert len(servers) > 2
    stored = "bcrypt_sha256$$2b$04$BYAXkt.CHtgwZTRAvIoip.uiVVmu6hbohbcEhSnSxCsFZ9zLZ5oRi"  # of a password that was published once
    installation.manage(
        "shell", "-v0", "-c", f"from accounts.models import User; User.objects.filter(email={demo.ADMIN!r}).update(password={stored!r})"
    )
    installation.stop(signal.SIGKILL)
    assert wait_for(lambda: gone(children), 15), [child for child in children if child.is_running()]
    for server in servers:  # the power goes
        try:
            server.kill()
        except psutil.NoSuchProcess:
            continue
    installation.start()
    assert installation.login("kept@example.com", "a-long-enough-secret") == 200
    assert installation.said(f"disabled {demo.ADMIN}: its password stands in a public repository")
    assert "was disabled" in installation.manage("doctor")
    renewed = installation.manage("seed", "--new-passwords")
    assert installation.login(demo.ADMIN, re.search(rf"{demo.ADMIN}\s+(\S+)", renewed)[1]) == 200
    family = installation.everyone()
    assert installation.stop(signal.SIGTERM) == 0
    assert wait_for(lambda: gone(family), 2)
