"""Our server's HTTP limits, over raw sockets, against a real server process."""

from __future__ import annotations

import contextlib
import socket
import time
from pathlib import Path

import pytest

from tests.kit.servers import server_process
from tests.kit.servers.server_process import ServerProcess, body, error, sent_before_it_waits, status, wait_for
from tests.kit.servers.server_settings import MAX_BODY_BYTES

POST = b"POST /body HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory):
    process = server_process.start(tmp_path_factory.mktemp("server"))
    process.send(b"GET /state HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", timeout=30)  # all of it is loaded now
    yield process
    process.stop()


def chunked(size: int, piece: int = 60_000) -> bytes:
    pieces = [min(piece, size - start) for start in range(0, size, piece)]
    return b"".join(b"%x\r\n%s\r\n" % (count, b"y" * count) for count in pieces) + b"0\r\n\r\n"


def test_a_body_at_the_limit_passes_whole(server: ServerProcess):
    for request in (
        POST + b"Content-Length: %d\r\n\r\n" % MAX_BODY_BYTES + b"y" * MAX_BODY_BYTES,
        POST + b"Transfer-Encoding: chunked\r\n\r\n" + chunked(MAX_BODY_BYTES),
    ):
        answer = server.send(request)
        assert status(answer) == 200
        assert b'"size": %d' % MAX_BODY_BYTES in answer


def test_a_declared_body_over_the_limit_is_refused_before_it_is_sent(server: ServerProcess):
    answer = server.send(POST + b"Content-Length: 1073741824\r\nExpect: 100-continue\r\n\r\n")
    assert status(answer) == 413  # and not 100
    assert error(answer)["code"] == "payload_too_large"
    assert error(answer)["details"] == {"max_bytes": MAX_BODY_BYTES}


def test_a_chunked_body_is_counted_as_it_arrives(server: ServerProcess):
    server.send(POST + b"Content-Length: 2\r\n\r\n{}")  # what a first request loads is not the body's
    before = server.rss
    with server.connect() as client:
        client.sendall(POST + b"Transfer-Encoding: chunked\r\n\r\n")
        sent, block = 0, chunked(60_000)[:-5]
        try:
            while sent < 100_000_000:  # the server must hang up long before
                client.sendall(block)
                sent += 60_000
        except OSError:
            pass
        answer = server_process.read_all(client)
    assert sent < 20_000_000
    if answer:  # a client that ignores the answer while it sends may find the connection reset
        assert status(answer) == 413
    assert server.rss - before < 16 * 2**20


def test_a_client_that_reads_gets_the_413_of_a_chunked_body(server: ServerProcess):
    answer = server.send(POST + b"Transfer-Encoding: chunked\r\n\r\n" + chunked(MAX_BODY_BYTES + 1))
    assert status(answer) == 413
    assert error(answer)["type"] == "payload_too_large"


def test_an_understated_length_ends_the_body_there(server: ServerProcess):
    answer = server.send(POST.replace(b"Connection: close\r\n", b"") + b"Content-Length: 4\r\n\r\nabcd" + b"z" * 2_000 + b"\r\n\r\n")
    assert status(answer) == 200
    assert b'"size": 4' in answer
    # The rest is a second request, and no valid one.
    assert b"HTTP/1.1 400" in answer


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"rubbish\r\n\r\n",
        b"GET / HTTP/1.1\r\nno colon\r\n\r\n",
        b"POST /body HTTP/1.1\r\nHost: a\r\nContent-Length: x\r\n\r\n",
        b"POST /body HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"POST /body HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nnot hex\r\n",
        b"GET /\xff HTTP/1.1\r\nHost: a\r\n\r\n",
    ],
)
def test_what_is_not_http_gets_400_in_our_shape(server: ServerProcess, request_bytes: bytes):
    answer = server.send(request_bytes, timeout=2)
    assert status(answer) == 400
    assert error(answer)["type"] == "invalid_request"


@pytest.mark.parametrize(
    "headers",
    [b"X: " + b"a" * 64_000, b"\r\n".join(b"X-%d: a" % n for n in range(10_000)), b"\r\n".join(b"X: a" for _ in range(10_000))],
    ids=["64 KB value", "10000 names", "one name 10000 times"],
)
def test_too_many_or_too_large_headers_get_431(server: ServerProcess, headers: bytes):
    answer = server.send(b"GET /state HTTP/1.1\r\nHost: a\r\n" + headers + b"\r\n\r\n", timeout=2)
    assert status(answer) == 431
    assert error(answer)["code"] == "headers_too_large"


@pytest.mark.parametrize("byte", [b"\x0b", b"\x0c", b"\x1c", b"\x1d", b"\x1e", b"\x85"])
@pytest.mark.parametrize("upgrade", [b"", b"Upgrade: websocket\r\n"], ids=["http", "websocket"])
def test_bytes_that_split_headers_are_refused(server: ServerProcess, byte: bytes, upgrade: bytes):
    """CVE-2026-44546: on upgrade Daphne split such values into further headers."""
    head = b"GET /state HTTP/1.1\r\nHost: a\r\nConnection: Upgrade, close\r\n" + upgrade
    answer = server.send(head + b"X-A: b" + byte + b"X-Forwarded-For: 6.6.6.6\r\n\r\n", timeout=2)
    assert status(answer) == 400
    assert error(answer)["type"] == "invalid_request"


def test_headers_that_lie_about_us_do_not_arrive(server: ServerProcess):
    answer = server.send(POST + b"Daphne-Root-Path: /evil\r\nX_Real_IP: 6.6.6.6\r\nContent-Length: 0\r\n\r\n")
    assert status(answer) == 200
    assert b'"root_path": ""' in answer
    assert b"evil" not in answer and b"x_real_ip" not in answer.lower()


def test_nothing_names_the_server(server: ServerProcess):
    for request in (b"GET /state HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", b"rubbish\r\n\r\n"):
        head = server.send(request, timeout=2).partition(b"\r\n\r\n")[0].lower()
        assert b"server:" not in head and b"daphne" not in head and b"twisted" not in head


def test_a_reader_that_stops_holds_up_its_stream_and_not_our_memory(server: ServerProcess):
    before = server.rss
    with server.connect() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8192)
        client.sendall(b"GET /endless HTTP/1.1\r\nHost: a\r\n\r\n")
        cancelled = server.state["cancelled"]
        assert 0 < sent_before_it_waits(server) < 16 * 2**20  # what the kernels' buffers hold; unhindered it sends gigabytes
        assert server.rss - before < 16 * 2**20
        # After VIEWER_STALL_SECONDS without progress the server closes the connection and cancels the application.
        assert wait_for(lambda: server.state["cancelled"] > cancelled)
        assert wait_for(lambda: _closed(client), 6)


def _closed(client: socket.socket) -> bool:
    client.settimeout(0.2)
    try:
        return client.recv(1 << 20) == b""
    except TimeoutError:
        return False
    except ConnectionError:
        return True


def test_a_slow_reader_that_reads_gets_everything_in_its_time(server: ServerProcess):
    with server.connect() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8192)
        client.sendall(b"GET /endless HTTP/1.1\r\nHost: a\r\n\r\n")
        got, until = 0, time.monotonic() + 3  # longer than the stall that ends a dead reader
        while time.monotonic() < until:
            got += len(client.recv(4096))
            time.sleep(0.01)  # a slow reader
        assert got > 100_000
        sent = server.state["sent"]
        assert sent - got < 8 * 2**20


def test_an_application_hears_at_once_that_its_client_left(server: ServerProcess):
    with server.connect() as client:
        client.sendall(b"GET /waiting HTTP/1.1\r\nHost: a\r\n\r\n")
        client.recv(1000)
    left = time.time()
    assert wait_for(lambda: server.state["gone_after"] is not None)
    assert server.state["gone_after"] - left < 3


def test_a_crash_before_the_answer_is_500_in_our_shape_and_says_nothing(server: ServerProcess):
    begun = time.monotonic()
    answer = server.send(b"GET /crash HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
    assert status(answer) == 500
    assert error(answer)["code"] == "internal_error"
    assert b"before the answer" not in answer
    assert time.monotonic() - begun < 4


def test_a_crash_inside_an_answer_cuts_it_so_that_the_client_knows(server: ServerProcess):
    begun = time.monotonic()
    answer = server.send(b"GET /crash-late HTTP/1.1\r\nHost: a\r\n\r\n")
    assert b"half" in body(answer) or answer == b""
    assert not answer.endswith(b"0\r\n\r\n")  # a chunked answer that is whole ends so
    assert time.monotonic() - begun < 4


def test_an_application_that_forgets_to_answer_leaves_nobody_waiting(server: ServerProcess):
    answer = server.send(b"GET /silent HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
    assert status(answer) == 500


def test_several_requests_share_a_connection(server: ServerProcess):
    with server.connect(2) as client:
        for _ in range(3):
            client.sendall(b"POST /body HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc")
            assert b'"size": 3' in client.recv(4096)


def test_uploads_leave_no_file_behind(server: ServerProcess):
    descriptors = f"/proc/{server.process.pid}/fd"
    if not Path(descriptors).exists():
        pytest.skip("needs /proc")
    with server.connect() as client:
        client.sendall(POST + b"Content-Length: 500000\r\n\r\n" + b"y" * 400_000)
        assert wait_for(lambda: any("(deleted)" in target for target in _targets(descriptors)))
    assert wait_for(lambda: not any("(deleted)" in target for target in _targets(descriptors)))


def _targets(folder: str) -> list[str]:
    found = []
    for link in Path(folder).iterdir():
        with contextlib.suppress(FileNotFoundError):
            found.append(str(link.readlink()))
    return found
