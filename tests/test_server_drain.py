"""How our server ends, and how several processes share its port."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from tests.kit.servers import server_process
from tests.kit.servers.server_process import ServerProcess, error, read_all, status, wait_for

pytestmark = pytest.mark.long


@pytest.fixture
def server(tmp_path: Path):
    process = server_process.start(tmp_path)
    yield process
    if process.process.poll() is None:
        process.process.kill()
        process.process.wait()


def ask(server: ServerProcess, path: str) -> socket.socket:
    client = server.connect(60)
    client.sendall(f"GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n".encode())
    assert b"begin" in client.recv(4096)
    return client


@pytest.mark.parametrize("sign", [signal.SIGTERM, signal.SIGINT])
def test_what_runs_is_finished_before_the_server_ends(server: ServerProcess, sign: int):
    with ask(server, "/slow?1") as client:
        server.process.send_signal(sign)
        assert b"end" in read_all(client)
    assert server.stop() == 0


SIGNALLED_EARLY = """
import os, signal, sys
from aiagents.server import __main__, core

prepare = core._tune_collector
core._tune_collector = lambda: (prepare(), os.kill(os.getpid(), signal.SIGTERM))
sys.exit(__main__.main())
"""


def test_a_signal_just_before_the_event_loop_runs_ends_the_server():
    """Such a process went on, and its parent killed it after DRAIN_SECONDS and 15 more."""
    options = ("--port", str(server_process.free_port()), "--application", "tests.kit.servers.raw_application:application")
    env = os.environ | {"DJANGO_SETTINGS_MODULE": "tests.kit.servers.server_settings"}
    server = subprocess.Popen([sys.executable, "-c", SIGNALLED_EARLY, *options], cwd=server_process.ROOT, env=env)
    try:
        assert server.wait(60) == -signal.SIGTERM
    finally:
        server.kill()


def test_what_takes_longer_than_the_grace_is_cut_and_may_clean_up(server: ServerProcess):
    begun = time.monotonic()
    with ask(server, "/slow?60") as client:
        server.process.send_signal(signal.SIGTERM)
        assert b"cut" in read_all(client)
    assert server.stop() == 0
    assert 2 <= time.monotonic() - begun < 40


def test_callbacks_run_and_the_port_answers_to_the_end(server: ServerProcess):
    with ask(server, "/slow?1"):
        server.process.send_signal(signal.SIGTERM)
        assert wait_for(lambda: server.state["drained"] == 2)
        assert server.get("/state")[0] == 200
        assert server.stop() == 0
    with pytest.raises(OSError):
        server.connect(0.5)


def test_sockets_are_closed_with_4503(server: ServerProcess):
    with connect(f"ws://127.0.0.1:{server.port}/echo") as client:
        client.send("x")
        client.recv(5)
        server.process.send_signal(signal.SIGTERM)
        with pytest.raises(ConnectionClosed) as closed:
            client.recv(10)
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 4503
    assert server.stop() == 0


def test_idle_servers_end_at_once_and_a_second_signal_ends_waiting(server: ServerProcess):
    with ask(server, "/slow?60"):
        server.process.send_signal(signal.SIGTERM)
        time.sleep(1.2)  # a signal within a second of another is the same one
        begun = time.monotonic()
        server.process.send_signal(signal.SIGTERM)
        server.process.wait(10)
        assert time.monotonic() - begun < 30  # and not 60


def test_a_taken_port_is_said_in_words(server: ServerProcess, tmp_path: Path):
    (tmp_path / "second").mkdir()
    with pytest.raises(AssertionError, match=f"Cannot listen on 127.0.0.1:{server.port}.*PORT="):
        _start_on(tmp_path / "second", server.port)


def _start_on(folder: Path, port: int) -> None:
    application = "tests.kit.servers.raw_application:application"
    command = [sys.executable, "-m", "aiagents.server", "--port", str(port), "--application", application]
    env = os.environ | {"DJANGO_SETTINGS_MODULE": "tests.kit.servers.server_settings"}
    done = subprocess.run(command, cwd=server_process.ROOT, env=env, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr


# --- several processes --------------------------------------------------------------------------


@pytest.fixture
def pair(tmp_path: Path):
    process = server_process.start(tmp_path, "tests.kit.servers.raw_application:application", "--processes", "2")
    yield process
    if process.process.poll() is None:
        process.stop(signal.SIGKILL)


def children(server: ServerProcess) -> list[psutil.Process]:
    return psutil.Process(server.process.pid).children()


def pids(server: ServerProcess) -> set[int]:
    """Of the processes that answer, two at most."""
    found: set[int] = set()
    for _ in range(60):
        if len(found) == 2:
            break
        with server.connect(30) as client:  # the parent listens before its children serve
            client.sendall(b"GET /state HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
            found.add(int(read_all(client).partition(b'"pid": ')[2].partition(b"}")[0]))
    return found


def test_two_processes_share_the_port_and_a_dead_one_is_replaced(pair: ServerProcess):
    assert wait_for(lambda: len(pids(pair)) == 2, 40)
    victim = children(pair)[0]
    victim.kill()
    assert wait_for(lambda: len(children(pair)) == 2 and victim.pid not in [child.pid for child in children(pair)], 10)
    assert wait_for(lambda: len(pids(pair)) == 2, 40)


def test_sigterm_drains_all_processes_and_leaves_none(pair: ServerProcess):
    assert wait_for(lambda: len(pids(pair)) == 2, 40)
    family = children(pair)
    with ask(pair, "/slow?1") as client:
        pair.process.send_signal(signal.SIGTERM)
        assert b"end" in read_all(client)
    assert pair.stop() == 0
    assert not any(child.is_running() for child in family)


@pytest.mark.skipif(not Path("/proc").exists(), reason="the kernel's notice of a parent's death is Linux")
def test_killing_the_parent_leaves_no_child(pair: ServerProcess):
    assert wait_for(lambda: len(pids(pair)) == 2, 40)
    family = children(pair)
    pair.process.kill()
    pair.process.wait()
    assert wait_for(lambda: not any(child.is_running() and child.status() != psutil.STATUS_ZOMBIE for child in family), 10)


# --- the product's application ------------------------------------------------------------------


def test_new_turns_get_503_while_the_product_drains(monkeypatch):
    """asgi.py's part, without a process: the flag is up, a token-carrying POST comes."""
    from asgiref.sync import async_to_sync

    from aiagents import asgi
    from aiagents.core import draining

    async def call(method: str, path: str) -> tuple[int, dict[bytes, bytes], bytes]:
        sent = []

        async def receive():
            return {"type": "http.request", "body": b"", "more_body": False}

        async def send(message):
            sent.append(message)

        scope = {
            "type": "http",
            "method": method,
            "path": path,
            "headers": [(b"host", b"localhost"), (b"x-request-id", b"drain-test-1")],
            "query_string": b"",
        }
        await asgi.application(scope, receive, send)
        return sent[0]["status"], dict(sent[0]["headers"]), sent[1]["body"]

    monkeypatch.setattr(asgi.endpoints.http, "matches", lambda scope: True)
    draining.begin()
    try:
        code, headers, content = async_to_sync(call)("POST", "/v1/chat/completions")
        assert code == 503
        assert int(headers[b"retry-after"]) > 0
        assert headers[b"x-request-id"] == b"drain-test-1"
        assert error(b"x\r\ncontent-type: application/json\r\n\r\n" + content)["code"] == "shutting_down"
        assert status(b"HTTP/1.1 %d x" % async_to_sync(call)("GET", "/health")[0]) == 200
    finally:
        draining.reset()


def test_a_callback_that_fails_or_hangs_holds_up_nobody():
    import asyncio

    from asgiref.sync import async_to_sync

    from aiagents.core import draining

    done = []

    async def fails(seconds: float) -> None:
        raise RuntimeError

    async def works(seconds: float) -> None:
        await asyncio.sleep(0)
        done.append(seconds)

    kept = list(draining.registered_callbacks)
    draining.registered_callbacks[:] = [fails, works]
    try:
        async_to_sync(draining.run)(0.5)
    finally:
        draining.registered_callbacks[:] = kept
    assert done == [0.5]
