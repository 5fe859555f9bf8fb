"""Python programs that start as forks of a process which has imported the libraries: three seconds of processor less for each.

A fork reads its settings and imports the product like any other program. What it shares with its parent are modules of
libraries, none of which has read a setting. tests/test_up.py, tests/test_deploy.py and others start programs from nothing.

When the tests' process dies, even by SIGKILL, its end of the control socket closes. The parent of the forks then ends them
and itself. When the parent dies, the kernel kills its forks (Linux).
"""

from __future__ import annotations

import ctypes
import gc
import json
import os
import runpy
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from importlib import import_module
from pathlib import Path
from typing import IO, Any

ROOT = Path(__file__).resolve().parents[3]
# Neither a reactor (a process's own) nor prometheus_client (it reads the environment) may be among what these import.
LIBRARIES = (
    "django.core.management.commands.shell", "django.core.management.commands.migrate", "django.contrib.admin.options",
    "django.contrib.staticfiles.storage", "django.core.asgi", "django.db.backends.postgresql.base", "django.test.client", "psycopg_pool",
    "redis.asyncio", "celery.bin.celery", "celery.apps.worker", "celery.apps.beat", "celery.concurrency.prefork",
    "celery.worker.consumer", "kombu.transport.redis", "openai.resources.chat", "openai.resources.responses",
    "openai.resources.embeddings", "anthropic.resources.messages", "google.genai", "aiohttp", "pydantic_settings",
    "autobahn.twisted.websocket", "twisted.web.http", "twisted.internet.asyncioreactor", "jwt", "cryptography.fernet",
    "channels_redis.core", "rest_framework.serializers", "whitenoise.storage", "psutil", "referencing", "jsonschema", "orjson",
)  # fmt: skip
# The names that a running interpreter can still obey; a program with another one is started from nothing.
_OBEYED = {"PYTHONUNBUFFERED"}
# Seconds for programs to end in their own way once the tests' process has gone; then they are killed.
GRACE = 3.0
_PR_SET_PDEATHSIG = 1


class Fork:
    """The part of `subprocess.Popen` that tests use, for a program that is a child of another process."""

    def __init__(self, parent: _Parent, pid: int) -> None:
        self._parent, self.pid = parent, pid
        self.returncode: int | None = None

    def poll(self) -> int | None:
        if self.returncode is None:
            self.returncode = self._parent.ask({"ended": self.pid})
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        deadline = None if timeout is None else time.monotonic() + timeout
        while self.poll() is None:
            if deadline is not None and time.monotonic() > deadline:
                raise subprocess.TimeoutExpired("a forked program", timeout or 0)
            time.sleep(0.01)
        return self.returncode

    def send_signal(self, sign: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, sign)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


Started = subprocess.Popen | Fork


class _Parent:
    """The process that has imported the libraries, seen from the tests' process."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        command = [sys.executable, "-m", "tests.kit.servers.preloaded", str(theirs.fileno())]
        env = {name: value for name, value in os.environ.items() if name != "DJANGO_SETTINGS_MODULE"}
        with theirs:
            self._process = subprocess.Popen(
                command, cwd=ROOT, env=env, pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL, start_new_session=True
            )

    def ask(self, what: dict[str, Any], *outputs: int) -> Any:
        with self._lock:
            socket.send_fds(self._socket, [json.dumps(what).encode()], outputs)
            return json.loads(self._socket.recv(1000))


_parent: _Parent | None = None
_made = threading.Lock()


def enable() -> None:
    """Let `popen` fork from now on. Not where each program is measured by itself, as coverage does."""
    global _enabled
    _enabled = sys.platform == "linux" and "coverage" not in sys.modules


_enabled = False


def enabled() -> bool:
    return _enabled


def popen(python: str, *arguments: str, cwd: Path, env: dict[str, str], stdout: IO[Any], stderr: IO[Any], new_session: bool) -> Started:
    """Start `python <arguments>`: a fork where that is the same, or a new interpreter."""
    forks = _enabled and python == sys.executable and cwd == ROOT and arguments[0] in ("-m", "manage.py")
    if not forks or any(name.startswith("PYTHON") and name not in _OBEYED and value != os.environ.get(name) for name, value in env.items()):
        return subprocess.Popen(
            [python, *arguments], cwd=cwd, env=env, stdout=stdout, stderr=stderr, stdin=subprocess.DEVNULL, start_new_session=new_session
        )
    global _parent
    with _made:
        _parent = _parent or _Parent()
    wanted = {"arguments": arguments, "env": env, "new_session": new_session}
    return Fork(_parent, _parent.ask(wanted, stdout.fileno(), stderr.fileno()))


def run(python: str, *arguments: str, cwd: Path, env: dict[str, str], timeout: float = 120) -> subprocess.CompletedProcess[str]:
    """Run a program to its end, with what it wrote."""
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        process = popen(python, *arguments, cwd=cwd, env=env, stdout=out, stderr=err, new_session=False)
        try:
            process.wait(timeout)
        except subprocess.TimeoutExpired:
            process.kill()
            raise
        return subprocess.CompletedProcess([python, *arguments], process.wait(), *map(_text, (out, err)))


def _text(file: IO[bytes]) -> str:
    file.seek(0)
    return file.read().decode(errors="replace")


# --- the process that has imported the libraries ----------------------------------------------


def _serve(control: socket.socket) -> dict[str, Any] | None:
    """Fork at each request. Returns in each fork with what it is to run, and with None once the tests' process has gone."""
    running: set[int] = set()
    own_pid = os.getpid()
    while True:
        message, descriptors, *_ = socket.recv_fds(control, 1 << 20, 2)
        if not message:
            _end(running)
            return None
        asked = json.loads(message)
        if "ended" in asked:
            pid, status = os.waitpid(asked["ended"], os.WNOHANG)
            answer = os.waitstatus_to_exitcode(status) if pid else None
            running.discard(pid)
        else:
            ready, begun = os.pipe()
            answer = os.fork()
            if not answer:
                control.close()
                _die_with(own_pid)
                _become(asked, descriptors)
                os.close(ready)
                os.close(begun)
                return asked
            running.add(answer)
            for descriptor in (begun, *descriptors):
                os.close(descriptor)
            os.read(ready, 1)  # nothing comes: it is closed once the fork has a session of its own
            os.close(ready)
        control.send(json.dumps(answer).encode())


def _end(running: set[int]) -> None:
    """Ask the programs to end and wait up to GRACE seconds. Those that go on are killed when this process ends."""
    for pid in running:
        os.kill(pid, signal.SIGTERM)
    deadline = time.monotonic() + GRACE
    while running and time.monotonic() < deadline:
        running -= {pid for pid in running if os.waitpid(pid, os.WNOHANG)[0]}
        time.sleep(0.02)


def _die_with(parent: int) -> None:
    """Let the kernel kill this process when its parent ends."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it ended before the call
        os._exit(1)


def _become(asked: dict[str, Any], descriptors: list[int]) -> None:
    if asked["new_session"]:
        os.setsid()
    for number, descriptor in enumerate(descriptors, 1):
        os.dup2(descriptor, number)
    for descriptor in set(descriptors):
        os.close(descriptor)
    os.environ.clear()
    os.environ.update(asked["env"])
    if os.environ.get("PYTHONUNBUFFERED"):
        for stream in (sys.stdout, sys.stderr):
            stream.reconfigure(write_through=True)


def _run(arguments: list[str]) -> None:
    """As the interpreter does with `-m module …` and `manage.py …`."""
    if arguments[0] == "-m":
        sys.argv = arguments[1:]
        runpy.run_module(arguments[1], run_name="__main__", alter_sys=True)
    else:
        sys.argv = list(arguments)
        runpy.run_path(arguments[0], run_name="__main__")


def main() -> None:
    control = socket.socket(fileno=int(sys.argv[1]))
    for name in LIBRARIES:
        import_module(name)
    assert not {"twisted.internet.reactor", "prometheus_client", "aiagents.settings"} & set(sys.modules)
    gc.collect()
    gc.freeze()
    if asked := _serve(control):
        _run(asked["arguments"])


if __name__ == "__main__":
    main()
