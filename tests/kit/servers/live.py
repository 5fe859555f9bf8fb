"""A real installation for tests that need one: server process, simulator process, a database of its own.

Nothing is patched and nothing is shared with the test's process but the wire.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from dataclasses import dataclass, field, replace
from itertools import count
from pathlib import Path
from typing import Any

import redis

from tests.kit import databases
from tests.kit.people import PASSWORD
from tests.kit.servers import preloaded
from tests.kit.servers.server_process import ROOT, free_port


@dataclass
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Live:
    """`url` is the product's address, `key` an API key of `email`; processes are restarted by `kill` and `start`.

    `root` is the checkout that runs, `python` the interpreter that it runs with.
    """

    folder: Path
    env: dict[str, str]
    port: int
    sim_port: int
    processes: dict[str, preloaded.Started] = field(default_factory=dict)
    email: str = "ada@example.com"
    key: str = ""
    access: str = ""
    root: Path = ROOT
    python: str = sys.executable

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def manage(self, *arguments: str, **env: str) -> str:
        done = self.command(*arguments, **env)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def command(self, *arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
        """`manage.py <arguments>`, which may fail."""
        return preloaded.run(self.python, "manage.py", *arguments, cwd=self.root, env=self.env | env)

    def invariants_hold(self, seconds: float = 60) -> None:
        """Assert that `manage.py invariants` ends with 0, once what a dead process left was swept."""
        deadline = time.monotonic() + seconds
        while True:
            done = self.command("invariants")
            if done.returncode == 0:
                return
            assert time.monotonic() < deadline, done.stdout + done.stderr
            time.sleep(1)

    def spawn(self, name: str, *arguments: str) -> None:
        with (self.folder / f"{name}.log").open("ab") as log:
            self.processes[name] = preloaded.popen(
                self.python, *arguments, cwd=self.root, env=self.env, stdout=log, stderr=log, new_session=True
            )

    def start(self, timeout: float = 120) -> None:
        """Start the web server and wait until it answers."""
        self.spawn("web", "-m", "aiagents.server")
        deadline = time.monotonic() + timeout
        while True:
            try:
                if self.call("GET", "/health").status == 200:
                    return
            except OSError:
                pass
            assert self.processes["web"].poll() is None, (self.folder / "web.log").read_text()[-4000:]
            assert time.monotonic() < deadline, "the server did not start: " + (self.folder / "web.log").read_text()[-4000:]
            time.sleep(0.05)

    def beside(self, name: str = "second", timeout: float = 30) -> Live:
        """Start another web process of this installation. The answer is the installation as it is reached through that one."""
        other = replace(self, port=free_port())
        self.spawn(name, "-m", "aiagents.server", "--port", str(other.port))
        deadline = time.monotonic() + timeout
        while True:
            with contextlib.suppress(OSError):
                if other.call("GET", "/health").status == 200:
                    return other
            assert self.processes[name].poll() is None and time.monotonic() < deadline, f"{name} did not start"
            time.sleep(0.05)

    def stop(self, name: str = "web", sign: int = signal.SIGTERM, timeout: float = 30) -> None:
        process = self.processes.pop(name, None)
        if process is None:
            return
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, sign)
        try:
            process.wait(timeout)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            raise

    def kill(self) -> None:
        """What a power cut does to the web process."""
        self.stop(sign=signal.SIGKILL)

    def call(self, method: str, path: str, body: Any = None, key: str | None = None, headers: dict[str, str] | None = None) -> Answer:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, data=data, method=method)
        request.add_header("Content-Type", "application/json")
        request.add_header("Accept", "application/json")
        token = self.key if key is None else key
        if token:
            request.add_header("Authorization", f"Bearer {token}")
        for name, value in (headers or {}).items():
            request.add_header(name, value)
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return Answer(answer.status, {k.lower(): v for k, v in answer.headers.items()}, answer.read())
        except urllib.error.HTTPError as exc:
            return Answer(exc.code, {k.lower(): v for k, v in exc.headers.items()}, exc.read())

    def query(self, sql: str, *values: Any) -> list[tuple]:
        """Rows straight from the database, past every layer under test. Placeholders are %s."""
        url = self.env["DATABASE_URL"]
        if url.startswith("sqlite"):
            import sqlite3

            with sqlite3.connect("/" + url.removeprefix("sqlite:////"), timeout=20) as connection:
                return connection.execute(
                    sql.replace("%s", "?"), [str(value).replace("-", "") if len(str(value)) == 36 else value for value in values]
                ).fetchall()
        import psycopg

        with psycopg.connect(url, autocommit=True) as connection:
            cursor = connection.execute(sql, values)
            return cursor.fetchall() if cursor.description else []

    def new_user(self, email: str, **key_options: Any) -> tuple[str, str]:
        """(access token, API key) of a fresh account, made through the API as a person would."""
        answer = self.call("POST", "/api/v1/auth/register", {"email": email, "password": PASSWORD}, key="")
        assert answer.status == 201, answer.body
        access = answer.json["access"]
        made = self.call(
            "POST", "/api/v1/auth/api-keys", {"name": "test", "scopes": ["chat", "billing", "read"], **key_options}, key=access
        )
        assert made.status == 201, made.body
        return access, made.json["key"]

    def close(self) -> None:
        for name in list(self.processes):
            self.stop(name, signal.SIGTERM)


def launch(folder: Path, worker: str = "", root: Path = ROOT, **settings: str) -> Live:
    """A running installation under `folder`, its database named after the xdist worker.

    `root`: another checkout to run instead of this one, with its own `.venv` where it has one.
    """
    port, sim_port = free_port(), free_port()
    env = {
        key: value
        for key, value in os.environ.items()
        if not key.startswith(("OPENAI_", "ANTHROPIC_", "GOOGLE_", "PYTEST_", "PROMETHEUS_"))
    }
    env |= {
        # Benchmarks and other checkouts run with the product's own.
        "DJANGO_SETTINGS_MODULE": "tests.kit.servers.live_settings" if preloaded.enabled() and root == ROOT else "aiagents.settings",
        "DATA_DIR": str(folder / "data"),
        "DATABASE_URL": _database(folder, worker),
        "REDIS_URL": _valkey_database(os.environ["REDIS_URL"]),
        "SECRET_KEY": "live-tests-" + "s" * 50,
        "PORT": str(port),
        "SIMULATOR": "true",
        "SIMULATOR_PORT": str(sim_port),
        "RATE_LIMIT_REQUESTS": "100000",
        "LOGIN_LIMIT_IP": "1000/m",
        "LOGIN_LIMIT_ACCOUNT": "1000/m",
        "REGISTRATION": "open",
        "SIMULATOR_PACE_MS": "0",
        "SIMULATOR_TOKEN": secrets.token_urlsafe(32),
        **settings,
    }
    with redis.Redis.from_url(env["REDIS_URL"]) as valkey:
        valkey.flushdb()
    own = root / ".venv/bin/python"
    live = Live(folder, env, port, sim_port, root=root, python=str(own) if root != ROOT and own.exists() else sys.executable)
    if env["DATABASE_URL"].startswith("sqlite"):
        _fill(live)
    else:
        _copy_of_filled(live)
    live.spawn("simulator", "-m", "agents.simulator", str(sim_port))
    live.start()
    live.access, live.key = live.new_user(live.email)
    return live


def _fill(live: Live) -> None:
    live.manage("migrate", "-v0")
    live.manage("catalogue", "load")


def _database(folder: Path, worker: str) -> str:
    url = os.environ["DATABASE_URL"]
    if url.startswith("sqlite"):
        return f"sqlite:////{str(folder / 'live.sqlite3').lstrip('/')}"
    return _named(f"aiagents_live_{worker or 'main'}_{os.getpid()}_{free_port()}")


def _named(name: str) -> str:
    """The suite's server, another database."""
    head, _, query = os.environ["DATABASE_URL"].partition("?")
    return f"{head.rsplit('/', 1)[0]}/{name}" + (f"?{query}" if query else "")


def _copy_of_filled(live: Live) -> None:
    """Make the installation's database as a copy of one that is migrated and filled once for all of the suite's processes."""
    target = live.env["DATABASE_URL"].partition("?")[0].rpartition("/")[2]

    def fill(name: str) -> None:
        _fill(replace(live, env=live.env | {"DATABASE_URL": _named(name)}))

    databases.copy(os.environ["DATABASE_URL"], "live", live.root, target, fill)


_launched = count()


def _valkey_database(url: str) -> str:
    """A numbered database that neither a worker's suite flushes nor another installation of this process counts itself in."""
    base, _, query = url.partition("?")
    worker = int(dict(pair.split("=") for pair in query.split("&") if pair).get("db", "0"))
    with redis.Redis.from_url(base) as valkey:
        plenty = int(valkey.config_get("databases")["databases"]) >= 256
    return f"{base}?db={16 + worker + 16 * (next(_launched) % 15) if plenty else 8 + worker}"
