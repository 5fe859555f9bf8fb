"""A client that resets its connection, before the server's first read or later: nothing stays open, no vendor goes on answering."""

from __future__ import annotations

import json
import os
import signal
import socket
import struct
import time
import urllib.request
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import psutil
import pytest

from tests.kit.servers.live import Live, launch
from tests.kit.servers.server_process import ServerProcess, read_all, start, wait_for

pytestmark = pytest.mark.long
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


def sent_ahead(client: socket.socket, raw: bytes) -> None:
    """Send `raw`, or as much of it as the buffers between take from a client whose server does not read."""
    client.setblocking(False)
    view = memoryview(raw)
    try:
        while view:
            view = view[client.send(view) :]
    except BlockingIOError:
        pass


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


# Bytes that a client sends behind its first request. From 16 KiB on the server reads no further until that request is answered.
AHEAD = [0, 1, 15, 17, 64, 1024]


# A client that closes with more under way than the buffers take sends no FIN before the server reads on: only its reset arrives.
@pytest.mark.parametrize(
    ("kilobytes", "how"), [(size, how) for size in AHEAD for how in ("reset", "closed") if (size, how) != (1024, "closed")]
)
def test_the_end_of_a_client_is_noticed_whatever_it_had_sent_ahead(server: ServerProcess, kilobytes: int, how: str):
    process = psutil.Process(server.process.pid)
    assert wait_for(lambda: not process.net_connections("tcp")[1:], 60)
    before, held = process.num_fds(), server.state["held"]
    clients = []
    for _ in range(10):
        client = server.connect()
        client.sendall(WHOLE["POST"])
        clients.append(client)
    assert wait_for(lambda: server.state["held"] == held + len(clients), 30)
    for client in clients:
        sent_ahead(client, (WHOLE["GET"] * (kilobytes * 1024 // len(WHOLE["GET"]) + 1))[: kilobytes * 1024])
    time.sleep(0.3)  # the server reads what it is going to read
    for client in clients:
        if how == "reset":
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        client.close()
    assert wait_for(lambda: process.num_fds() <= before, 10), f"{process.num_fds() - before} descriptors stay open"
    assert wait_for(lambda: server.state["held"] == server.state["left"], 10), server.state


def test_what_was_sent_ahead_is_answered_once_the_first_request_is(server: ServerProcess):
    """Looking for a reset takes nothing away: every request behind a slow one is answered, in order."""
    slow, quick = request("GET", "/slow?1.2"), request("POST", "/body", b"x" * 900)
    with server.connect(20) as client:
        client.sendall(slow + quick * 40 + request("GET", "/state", b"", "Connection: close"))
        answers = read_all(client)
    assert answers.index(b"begin ") < answers.index(b'"size": 900') and answers.count(b'"size": 900') == 40, answers[-2000:]


def test_a_socket_that_is_not_read_because_it_floods_is_noticed_when_it_resets(server: ServerProcess):
    process = psutil.Process(server.process.pid)
    before = process.num_fds()
    client = server.connect()
    client.sendall(WHOLE["handshake"].replace(b"/echo", b"/deaf"))
    assert b"101" in client.recv(65536)
    sent_ahead(client, b"\x81\xfe\x03\xe8\0\0\0\0" + b"x" * 1000 + (b"\x81\x81\0\0\0\0x" * 1000))
    time.sleep(0.5)  # the server reads what it is going to read
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.close()
    assert wait_for(lambda: process.num_fds() <= before, 5), "the descriptor of a socket that was reset stays open"


def record(live: Live) -> list[dict[str, Any]]:
    asked = urllib.request.Request(f"http://127.0.0.1:{live.sim_port}/__sim/requests")
    asked.add_header("Authorization", f"Bearer {live.env['SIMULATOR_TOKEN']}")
    with urllib.request.urlopen(asked, timeout=20) as answer:
        return [one for one in json.loads(answer.read()) if "chat/completions" in one["path"]]


def reset_after(live: Live, raw: bytes, ahead: bytes, arrived: int) -> None:
    """Have ten clients send `raw` with `ahead` behind it, and reset once the vendor has `arrived` requests in its record."""
    clients = []
    for _ in range(10):
        client = socket.create_connection(("127.0.0.1", live.port), 5)
        client.sendall(raw)
        sent_ahead(client, ahead)
        clients.append(client)
    assert wait_for(lambda: len(record(live)) >= arrived, 60)
    for client in clients:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        client.close()


def established(live: Live) -> list[Any]:
    process = psutil.Process(live.processes["web"].pid)
    return [one for one in process.net_connections("tcp") if one.status == "ESTABLISHED" and one.laddr[1] == live.port]


@pytest.mark.parametrize("kilobytes", AHEAD)
@pytest.mark.parametrize("stream", [True, False], ids=["streamed", "whole"])
def test_a_call_whose_client_resets_ends_at_the_vendor_whatever_was_sent_ahead(live: Live, stream: bool, kilobytes: int):
    question = "[[sim:chunks=400,pace=50]] Go on for twenty seconds"
    body = {"model": "gpt-4o-mini", "stream": stream, "messages": [{"role": "user", "content": question}]}
    raw = request("POST", "/v1/chat/completions", json.dumps(body).encode(), f"Authorization: Bearer {live.key}")
    before = len(record(live))
    reset_after(live, raw, request("GET", "/health", b"", f"X-Pad: {'x' * 900}") * kilobytes, before + 10)
    began = time.monotonic()
    assert wait_for(lambda: not established(live), 10), "descriptors stay open"
    assert wait_for(lambda: all(one["ended_at"] for one in record(live)[before:]), 10), "a vendor still answers"
    assert all(one["client_gone"] for one in record(live)[before:]), (
        f"the answers ended by themselves after {time.monotonic() - began:.1f} s"
    )
    assert wait_for(lambda: not live.query("SELECT 1 FROM billing_hold WHERE status = 'open'"), 30)


@pytest.mark.parametrize("path", ["send", "stream"])
@pytest.mark.parametrize("kilobytes", [0, 17, 1024])
def test_a_turn_whose_client_resets_keeps_no_descriptor(live: Live, path: str, kilobytes: int):
    """The turn itself goes on, as the chat's contract says: its reader may come back."""
    body = {"model": "gpt-4o-mini", "content": "[[sim:chunks=40,pace=50]] Go on for two seconds"}
    raw = request("POST", f"/api/v1/chat/{path}", json.dumps(body).encode(), f"Authorization: Bearer {live.key}")
    before = len(record(live))
    reset_after(live, raw, request("GET", "/health", b"", f"X-Pad: {'x' * 900}") * kilobytes, before + 10)
    assert wait_for(lambda: not established(live), 10), "descriptors stay open"
    assert wait_for(lambda: not live.query("SELECT 1 FROM billing_hold WHERE status = 'open'"), 60)


@pytest.mark.parametrize("stream", [True, False], ids=["streamed", "whole"])
def test_a_call_whose_client_reset_is_ended_at_the_vendor_and_charged_as_far_as_it_came(live: Live, stream: bool):
    process = psutil.Process(live.processes["web"].pid)
    question = "[[sim:chunks=400,pace=50]] Go on for twenty seconds"
    body = {"model": "gpt-4o-mini", "stream": stream, "messages": [{"role": "user", "content": question}]}
    before, rows = len(record(live)), "SELECT status, cost_usd, output_tokens FROM billing_usagelog WHERE surface = 'openai' ORDER BY id"
    charged = len(live.query(rows))
    raw = request("POST", "/v1/chat/completions", json.dumps(body).encode(), f"Authorization: Bearer {live.key}")
    reset_unread(process.pid, live.port, raw)
    assert wait_for(lambda: not established(live), 15)
    assert wait_for(lambda: all(one["ended_at"] for one in record(live)[before:]), 60), "a vendor still answers"
    assert all(one["client_gone"] for one in record(live)[before:])
    assert wait_for(lambda: not live.query("SELECT 1 FROM billing_hold WHERE status = 'open'"), 60)
    for status, cost, output in live.query(rows)[charged:]:
        assert status in ("cancelled", "interrupted") and output < 400 and Decimal(cost) < Decimal("0.001"), (status, cost, output)
    assert live.call("GET", "/health").status == 200
