"""Our server's WebSocket limits, with a real client, against a real server process."""

from __future__ import annotations

import contextlib
import socket

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect

from tests.kit.servers import server_process
from tests.kit.servers.server_process import ServerProcess, error, sent_before_it_waits, status, wait_for

MAX_FRAME = 256 * 1024


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory):
    process = server_process.start(tmp_path_factory.mktemp("server"))
    process.send(b"GET /state HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", timeout=30)  # all of it is loaded now
    yield process
    process.stop()


def open_socket(server: ServerProcess, path: str, **options) -> ClientConnection:
    return connect(f"ws://127.0.0.1:{server.port}{path}", max_size=None, compression=None, **options)


def close_code(client: ClientConnection, seconds: float = 10) -> int:
    with pytest.raises(ConnectionClosed) as closed:
        while True:
            client.recv(seconds)
    assert closed.value.rcvd is not None, "the socket was cut without a close frame"
    return closed.value.rcvd.code


def test_a_frame_at_the_limit_passes(server: ServerProcess):
    with open_socket(server, "/echo") as client:
        client.send("y" * MAX_FRAME)
        assert client.recv(5) == str(MAX_FRAME)


@pytest.mark.parametrize("size", [MAX_FRAME + 1, 5_000_000])
def test_a_frame_over_the_limit_is_closed_with_4413(server: ServerProcess, size: int):
    with open_socket(server, "/echo") as client:
        client.send("y" * size)
        assert close_code(client) == 4413


def test_fragments_that_add_up_over_the_limit_are_closed_with_4413(server: ServerProcess):
    with open_socket(server, "/echo") as client:
        with contextlib.suppress(ConnectionClosed):
            client.send(["y" * 100_000] * 4)
        assert close_code(client) == 4413


def raw_socket(server: ServerProcess, path: str) -> socket.socket:
    """An open WebSocket of which only we decide when it is read, small buffers."""
    raw = socket.create_connection(("127.0.0.1", server.port), 5)
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8192)
    raw.sendall(
        b"GET %s HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" % path.encode()
        + b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
    )
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        head += raw.recv(1)
    assert b" 101 " in head
    return raw


def test_a_reader_that_stops_is_waited_for_and_then_hung_up_on(server: ServerProcess):
    before = server.rss
    with raw_socket(server, "/loud") as raw:
        left = server.state["loud_left"]
        assert 0 < sent_before_it_waits(server) < 16 * 2**20  # unhindered it sends gigabytes
        assert server.rss - before < 16 * 2**20
        # VIEWER_STALL_SECONDS, then the close handshake's time-out.
        assert wait_for(lambda: server.state["loud_left"] > left)
        assert wait_for(lambda: _gone(raw), 12)


def _gone(raw: socket.socket) -> bool:
    raw.settimeout(0.1)
    try:
        while raw.recv(1 << 20):
            pass
        return True
    except TimeoutError:
        return False
    except ConnectionError:
        return True


def flood(raw: socket.socket, frame: bytes, most: int) -> int:
    """Send frames until the server takes no more; how many bytes it took."""
    raw.settimeout(1)
    sent = 0
    with contextlib.suppress(OSError):
        while sent < most:
            sent += raw.send(frame)
    return sent


def test_a_flood_to_a_slow_consumer_is_not_read_and_then_closed_with_4429(server: ServerProcess):
    before = server.rss
    with raw_socket(server, "/deaf") as raw:
        frame = b"\x82\xff" + (200_000).to_bytes(8, "big") + bytes(4) + b"y" * 200_000
        assert flood(raw, frame, 100_000_000) < 20_000_000  # what the kernels' buffers hold, not what our memory could
        assert server.rss - before < 16 * 2**20
        raw.settimeout(20)
        assert raw.recv(4)[:4] == b"\x88\x02" + (4429).to_bytes(2, "big")


def test_a_flood_of_tiny_frames_is_bounded_too(server: ServerProcess):
    before = server.rss
    with raw_socket(server, "/deaf") as raw:
        assert flood(raw, b"\x82\x81\0\0\0\0x" * 10_000, 40_000_000) < 20_000_000
        assert server.rss - before < 24 * 2**20


def test_a_consumer_that_fails_closes_with_1011(server: ServerProcess):
    with open_socket(server, "/broken") as client:
        assert close_code(client) == 1011


def test_bad_utf8_closes_with_1007(server: ServerProcess):
    with open_socket(server, "/echo") as client:
        client.socket.sendall(b"\x81\x82\0\0\0\0\xff\xff")
        assert close_code(client) == 1007


def test_a_refused_handshake_answers_403_in_our_shape(server: ServerProcess):
    with pytest.raises(InvalidStatus) as refused:
        open_socket(server, "/refused")
    response = refused.value.response
    assert response.status_code == 403
    raw = b"HTTP/1.1 403 x\r\ncontent-type: " + response.headers["content-type"].encode() + b"\r\n\r\n" + response.body
    assert error(raw)["type"] == "permission_denied"


def test_a_handshake_that_is_none_answers_400_in_our_shape(server: ServerProcess):
    answer = server.send(b"GET /echo HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n", timeout=2)
    assert status(answer) == 400
    assert error(answer)["code"] == "invalid_handshake"
