"""A server process of our own entry on a free port, and raw sockets to it."""

from __future__ import annotations

import json
import os
import random
import signal
import socket
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from tests.kit.servers import preloaded
from tests.kit.waiting import wait_for

ROOT = Path(__file__).resolve().parents[3]


def free_port() -> int:
    """A port that was free a moment ago, below the range from which the kernel gives ports to outgoing connections.

    The kernel's own choice (port 0) lies in that range: any connection may take it before a server binds it. The choice is
    random because several test processes choose at the same time.
    """
    while True:
        port = random.SystemRandom().randrange(12_000, _first_ephemeral_port())
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        return port


def _first_ephemeral_port() -> int:
    try:
        return int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    except OSError:  # not Linux; 49152 is where IANA's dynamic range begins, and macOS's
        return 49_152


@dataclass
class ServerProcess:
    process: preloaded.Started
    port: int
    log: Path

    @property
    def rss(self) -> int:
        return psutil.Process(self.process.pid).memory_info().rss

    def connect(self, timeout: float = 5) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout)

    def send(self, raw: bytes, timeout: float = 5) -> bytes:
        """What comes back until the server closes, or nothing more comes for `timeout` seconds."""
        with self.connect(timeout) as client:
            client.sendall(raw)
            return read_all(client)

    def get(self, path: str) -> tuple[int, bytes]:
        answer = self.send(f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode(), timeout=60)
        return status(answer), body(answer)

    @property
    def state(self) -> dict[str, Any]:
        return json.loads(self.get("/state")[1])

    def stop(self, sign: int = signal.SIGTERM, timeout: float = 60) -> int:
        if self.process.poll() is None:
            self.process.send_signal(sign)
        return self.process.wait(timeout)


def start(folder: Path, application: str = "tests.kit.servers.raw_application:application", *arguments: str, **env: str) -> ServerProcess:
    """A server that answers."""
    port, log = free_port(), folder / "server.log"
    environment = os.environ | {"DJANGO_SETTINGS_MODULE": "tests.kit.servers.server_settings", "PYTHONUNBUFFERED": "1"} | env
    command = ("-m", "aiagents.server", "--port", str(port), "--application", application, *arguments)
    with log.open("wb") as output:
        process = preloaded.popen(sys.executable, *command, cwd=ROOT, env=environment, stdout=output, stderr=output, new_session=False)
    server = ServerProcess(process, port, log)
    if not wait_for(lambda: process.poll() is not None or _answers(server), 90) or process.poll() is not None:
        raise AssertionError(f"the server did not start:\n{log.read_text()}")
    return server


def _answers(server: ServerProcess) -> bool:
    """It listens, and so takes connections, seconds before its application is loaded."""
    try:
        return server.send(b"GET /state HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", 10).startswith(b"HTTP/1.1 ")
    except OSError:
        return False


def sent_before_it_waits(server: ServerProcess) -> int:
    """How many bytes a stream to a client that does not read had sent when it stopped. Fails if it never stops."""

    def stopped() -> int:
        first = server.state["sent"]
        time.sleep(0.2)
        return first if server.state["sent"] == first else 0

    sent = wait_for(stopped)
    assert sent, "the stream does not wait for its reader"
    return sent


def read_all(client: socket.socket) -> bytes:
    found = b""
    try:
        while chunk := client.recv(65536):
            found += chunk
    except (TimeoutError, ConnectionError):
        pass
    return found


def status(answer: bytes) -> int:
    return int(answer.split(b" ", 2)[1])


def body(answer: bytes) -> bytes:
    return answer.partition(b"\r\n\r\n")[2]


def error(answer: bytes) -> dict[str, Any]:
    """The error object, after checking that it is the contract's."""
    head = answer.partition(b"\r\n\r\n")[0].lower()
    assert b"content-type: application/json" in head, answer
    found = json.loads(body(answer))["error"]
    assert set(found) == {"type", "message", "code", "param", "details", "request_id"}
    return found
