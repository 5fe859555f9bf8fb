"""A client that resets its connection before the server's first read: nothing stays open, and no vendor goes on answering."""

from __future__ import annotations

import json
import os
import signal
import socket
import struct
import urllib.request
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import psutil
import pytest

from tests.live import Live, launch
from tests.server_process import ServerProcess, start, wait_for

pytestmark = pytest.mark.slow
CLIENTS = 40


@pytest.fixture(scope="module")
def server(tmp_path_factory) -> Iterator[ServerProcess]:
    found = start(tmp_path_factory.mktemp("resets"))
    assert wait_for(lambda: b"held" in found.send(request("GET", "/state", b"", "Connection: close")), 60)  # it listens before it runs
    yield found
    found.stop()


@pytest.fixture(scope="module")
def live(tmp_path_factory) -> Iterator[Live]:
    installation = launch(tmp_path_factory.mktemp("resets"), os.environ.get("PYTEST_XDIST_WORKER", "") + "r")
    yield installation
    installation.close()


def reset_unread(pid: int, port: int, raw: bytes, clients: int = CLIENTS) -> None:
    """Have so many clients send `raw` and reset, all while the server stands still: it reads the request after the reset."""
    os.kill(pid, signal.SIGSTOP)
    try:
        for _ in range(clients):
            client = socket.create_connection(("127.0.0.1", port), 5)
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            client.sendall(raw)
            client.close()
    finally:
        os.kill(pid, signal.SIGCONT)


def request(method: str, path: str, body: bytes = b"", *headers: str) -> bytes:
    head = [f"{method} {path} HTTP/1.1", "Host: localhost", f"Content-Length: {len(body)}", "Content-Type: application/json", *headers]
    return "\r\n".join(head).encode() + b"\r\n\r\n" + body


WHOLE = {
    "GET": request("GET", "/held"),
    "POST": request("POST", "/held", b"{}"),
    "POST of 300 kB": request("POST", "/held", b"x" * 300_000),
    "half a head": b"GET /held HTTP/1.1\r\nHost: loc",
    "half a body": request("POST", "/held", b"{}")[:-1],
    "two requests": request("GET", "/held") * 2,
    "handshake": b"GET /echo HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
    "nothing": b"",
}


@pytest.mark.parametrize("what", WHOLE)
def test_a_reset_before_the_first_read_returns_the_descriptor(server: ServerProcess, what: str):
    process = psutil.Process(server.process.pid)
    assert wait_for(lambda: not process.net_connections("tcp")[1:], 60)
    before = process.num_fds()
    # A backlog's worth at a time: what the kernel refuses tests nothing.
    reset_unread(process.pid, server.port, WHOLE[what], 4 if "300" in what else CLIENTS)
    assert wait_for(lambda: process.num_fds() <= before, 60), f"{process.num_fds() - before} descriptors stay open"
    assert wait_for(lambda: server.state["held"] == server.state["left"], 30), server.state


def record(live: Live) -> list[dict[str, Any]]:
    asked = urllib.request.Request(f"http://127.0.0.1:{live.sim_port}/__sim/requests")
    asked.add_header("Authorization", f"Bearer {live.env['SIMULATOR_TOKEN']}")
    with urllib.request.urlopen(asked, timeout=20) as answer:
        return [one for one in json.loads(answer.read()) if "chat/completions" in one["path"]]


@pytest.mark.parametrize("stream", [True, False], ids=["streamed", "whole"])
def test_a_call_whose_client_reset_is_ended_at_the_vendor_and_charged_as_far_as_it_came(live: Live, stream: bool):
    process = psutil.Process(live.processes["web"].pid)
    question = "[[sim:chunks=400,pace=50]] Go on for twenty seconds"
    body = {"model": "gpt-4o-mini", "stream": stream, "messages": [{"role": "user", "content": question}]}
    before, rows = len(record(live)), "SELECT status, cost_usd, output_tokens FROM billing_usagelog WHERE surface = 'openai' ORDER BY id"
    charged = len(live.query(rows))
    raw = request("POST", "/v1/chat/completions", json.dumps(body).encode(), f"Authorization: Bearer {live.key}")
    reset_unread(process.pid, live.port, raw)
    assert wait_for(
        lambda: not [one for one in process.net_connections("tcp") if one.status == "ESTABLISHED" and one.laddr[1] == live.port], 15
    )
    assert wait_for(lambda: all(one["ended_at"] for one in record(live)[before:]), 60), "a vendor still answers"
    assert all(one["client_gone"] for one in record(live)[before:])
    assert wait_for(lambda: not live.query("SELECT 1 FROM billing_hold WHERE status = 'open'"), 60)
    for status, cost, output in live.query(rows)[charged:]:
        assert status in ("cancelled", "interrupted") and output < 400 and Decimal(cost) < Decimal("0.001"), (status, cost, output)
    assert live.call("GET", "/health").status == 200
