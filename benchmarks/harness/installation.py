"""The setup of every benchmark: separate servers, one running installation of the product, users with keys, and meters."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aiagents.local import embedded
from benchmarks.harness.meter import Meter, postgres_pid, valkey_pid
from tests.kit.servers.live import Live, launch
from tests.kit.servers.server_process import ROOT, free_port

PROMPT = "Say something short about rivers and bridges."
STREAM_PROMPT = "[[sim:chunks=100,pace=20]] Say something long about rivers and bridges."
MODEL = "gpt-4o-mini"
# One user may run 20 turns and open 20 sockets at a time.
PER_USER = 16
# Accounting, budgets, limits, storage and logs are on; the limits are so high that no request of the load is refused.
# Titles are off: a title is one more (short) model call after the first turn of a conversation, and is not the turn's cost.
# The system's budget is set although it has a default: older checkouts have none, and a second budget per call costs time.
SETTINGS = {
    "RATE_LIMIT_REQUESTS": "1000000000", "NEW_USER_MONTHLY_LIMIT": "1000000", "MONTHLY_COST_LIMIT": "1000000", "LOG_LEVEL": "INFO",
    "CHAT_TITLES": "false", "SIMULATOR_STRICT": "0",
}  # fmt: skip


@dataclass
class Installation:
    """An installation with a meter for each of its processes. `stores`: PostgreSQL and Valkey together."""

    folder: Path
    data: Path
    live: Live
    web: Meter
    postgres: Meter
    valkey: Meter
    vendor: Meter
    others: list[subprocess.Popen] = field(default_factory=list)

    @property
    def stores(self) -> Meter:
        return Meter([*self.postgres.pids, *self.valkey.pids])

    def people(self, count: int) -> tuple[str, ...]:
        """API keys of `count` fresh users."""
        return people(self.live, count)

    def script(self, module: str, *arguments: str) -> Any:
        """Run a module with the installation's settings; return the JSON that it prints."""
        return script(self.live, module, *arguments)

    def together(self, module: str, verb: str, several: list[dict[str, Any]]) -> list[Any]:
        """Run a module with each of `several` as its JSON argument, each in a process of its own, all at the same time."""
        started = [
            subprocess.Popen(
                [sys.executable, "-m", module, verb, json.dumps(one)],
                cwd=ROOT, env=self.live.env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            )
            for one in several
        ]  # fmt: skip
        found = []
        for process in started:
            output, errors = process.communicate(timeout=600)
            if process.returncode:
                raise RuntimeError(errors[-4000:])
            found.append(json.loads(output.splitlines()[-1]))
        return found

    def second_server(self) -> tuple[int, Meter]:
        """Another web process of the same installation, on another port."""
        port = free_port()
        self.live.spawn("web2", "-m", "aiagents.server", "--port", str(port))
        wait_for_port(port, 30)
        return port, Meter([self.live.processes["web2"].pid])

    def restart(self, **settings: str) -> None:
        """Restart the web server with these settings."""
        self.live.stop()
        self.live.env |= settings
        self.live.start()
        self.web = Meter([self.live.processes["web"].pid])


def people(live: Live, count: int) -> tuple[str, ...]:
    """Create `count` users directly in the database (a registration costs a password hash). Returns their API keys."""
    return tuple(script(live, "benchmarks.seeding", "people", str(count)))


def script(live: Live, module: str, *arguments: str) -> Any:
    """Run a module of the installation's checkout with the installation's settings. Returns the JSON that it prints."""
    command = [live.python, "-m", module, *arguments]
    done = subprocess.run(command, cwd=live.root, env=live.env, capture_output=True, text=True, timeout=1800)
    if done.returncode:
        raise RuntimeError(done.stdout[-2000:] + done.stderr[-4000:])
    return json.loads(done.stdout.splitlines()[-1])


def wait_for_port(port: int, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while True:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        if time.monotonic() > deadline:
            raise TimeoutError(f"nothing listens on {port}")
        time.sleep(0.05)


@contextlib.contextmanager
def installation(*, pin: bool = False, **settings: str) -> Iterator[Installation]:
    """A running installation with temporary servers and a temporary folder.

    `pin`: the web process runs alone on the first core; stores, vendor and load share the second.
    """
    with stores() as (folder, data):
        live = launch(folder, **(SETTINGS | settings))
        installed = Installation(
            folder, data, live, Meter([live.processes["web"].pid]), Meter([postgres_pid(data)]), Meter([valkey_pid(data)]),
            Meter([live.processes["simulator"].pid]),
        )  # fmt: skip
        try:
            if pin:
                installed.web.pin([0])
                for meter in (installed.postgres, installed.valkey, installed.vendor, Meter([os.getpid()])):
                    meter.pin([1])
            yield installed
        finally:
            for process in installed.others:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGINT)
                process.wait(30)
            live.close()


@contextlib.contextmanager
def stores() -> Iterator[tuple[Path, Path]]:
    """Start PostgreSQL and Valkey and set their URLs in the environment. Yields (a folder for the run, the servers' folder)."""
    with tempfile.TemporaryDirectory(prefix="aiagents-bench-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        data = folder / "servers"
        kept = {key: os.environ.get(key) for key in ("DATABASE_URL", "REDIS_URL")}
        try:
            os.environ["DATABASE_URL"] = embedded.start_postgres(data)
            os.environ["REDIS_URL"] = embedded.start_valkey(data)
            yield folder, data
        finally:
            embedded.remove(data)
            for key, value in kept.items():
                if value is None:
                    os.environ.pop(key, None)
                else:
                    os.environ[key] = value
