"""The watch over the embedded servers, with servers that are only pretended."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest

from aiagents.local import embedded, watch_servers
from aiagents.local.watch_servers import ServerSupervisor
from aiagents.monitoring import supervised
from tests.kit.servers.server_process import wait_for


class Pretended:
    """A server that dies when it is asked to, and starts slowly, not at all, or at once."""

    def __init__(self) -> None:
        self.alive, self.fails, self.starts = True, False, 0
        self.may_start = threading.Event()
        self.may_start.set()

    def runs(self, folder: Path) -> bool:
        return self.alive

    def start(self, folder: Path) -> None:
        self.starts += 1
        self.may_start.wait(30)
        if self.fails:
            raise RuntimeError("no room\nsecond line")
        self.alive = True


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Pretended:
    found = Pretended()
    monkeypatch.setattr(embedded, "valkey_runs", found.runs)
    monkeypatch.setattr(embedded, "start_valkey", found.start)
    monkeypatch.setattr(watch_servers, "EVERY", 0.01)
    return found


def ticking(servers: ServerSupervisor, condition) -> bool:
    def look() -> bool:
        servers.tick()
        return condition()

    return wait_for(look, 20)


def test_attempts_to_start_come_later_and_later_until_one_succeeds(
    server: Pretended, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd
):
    monkeypatch.setattr(watch_servers, "BACKOFF_MAX", 2.0)
    servers = ServerSupervisor(tmp_path, postgres=False, valkey=True)
    server.alive, server.fails = False, True
    assert ticking(servers, lambda: server.starts == 2)
    assert supervised.read(tmp_path)["valkey"]["state"] == "restarting"
    server.fails = False
    assert ticking(servers, lambda: server.alive and supervised.read(tmp_path)["valkey"]["state"] == "running")
    assert supervised.read(tmp_path)["valkey"]["restarts"] == 1 and server.starts == 3
    shown = capfd.readouterr().out
    assert "Valkey did not start (no room)" in shown and "second line" not in shown and "Valkey runs again" in shown
    servers.end(lambda: False)
    assert supervised.read(tmp_path) == {}


def test_an_end_waits_for_a_start_until_the_operator_is_impatient(server: Pretended, tmp_path: Path):
    servers = ServerSupervisor(tmp_path, postgres=False, valkey=True)
    server.alive = False
    server.may_start.clear()
    assert ticking(servers, lambda: server.starts == 1)
    asked: list[float] = []

    def impatient() -> bool:
        asked.append(time.monotonic())
        return len(asked) > 5

    servers.end(impatient)
    assert len(asked) == 6, "it waited, and looked again and again whether to go on"
    server.may_start.set()
    servers.end(lambda: False)
    assert server.alive
