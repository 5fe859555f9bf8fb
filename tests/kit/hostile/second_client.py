"""A second client beside a hostile one: how long its requests for `/health` take meanwhile."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
import time
from collections.abc import Iterator

from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

GAP = 0.003  # seconds between two requests of the second client


class SecondClient:
    """Asks for `/health` over one kept-alive connection, again and again; `seconds` holds the time of each answer."""

    def __init__(self, port: int) -> None:
        self._port = port
        self.seconds: list[float] = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._ask, daemon=True)

    def __enter__(self) -> SecondClient:
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._stop.set()
        self._thread.join(60)

    def _ask(self) -> None:
        request = b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n"
        with socket.create_connection(("127.0.0.1", self._port)) as connection:
            while not self._stop.is_set():
                began = time.perf_counter()
                connection.sendall(request)
                answer = b""
                while not answer.endswith(b'{"status":"ok"}'):
                    part = connection.recv(65536)
                    if not part:
                        raise ConnectionError("the server hung up on /health")
                    answer += part
                self.seconds.append(time.perf_counter() - began)
                time.sleep(GAP)

    def percentile(self, share: float) -> float:
        """Seconds within which this share of the answers came."""
        ordered = sorted(self.seconds)
        return ordered[min(len(ordered) - 1, int(len(ordered) * share))]


def post(port: int, method: str, path: str, body: bytes, token: str = "") -> int:
    """Send one request on a connection of its own; its status, also where the server answers before it has the whole body."""
    head = f"{method} {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n"
    head += f"Authorization: Bearer {token}\r\n" if token else ""
    with socket.create_connection(("127.0.0.1", port), timeout=60) as connection:
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            connection.sendall(f"{head}Connection: close\r\n\r\n".encode() + body)
        answer = b""
        with contextlib.suppress(ConnectionResetError):
            while b"\r\n" not in answer and (part := connection.recv(65536)):
                answer += part
    return int(answer.split(b" ", 2)[1]) if answer else 0


@contextlib.contextmanager
def flooding(port: int, token: str, frames: list[bytes], sockets: int) -> Iterator[list[int]]:
    """So many sockets of one user send the frames as fast as they may; the list counts what was sent."""
    stop, sent = threading.Event(), [0]

    def flood() -> None:
        while not stop.is_set():
            with (
                contextlib.suppress(ConnectionClosed, OSError, TimeoutError),
                connect(
                    f"ws://127.0.0.1:{port}/api/v1/chat/ws", additional_headers={"Authorization": f"Bearer {token}"}, max_size=None
                ) as one,
            ):
                for frame in frames:
                    if stop.is_set():
                        return
                    one.send(frame.decode())
                    sent[0] += 1
                    time.sleep(0.05)  # 20 a second: what the server allows
                with contextlib.suppress(TimeoutError):
                    while True:
                        assert json.loads(one.recv(timeout=0.01))["type"] == "error"

    threads = [threading.Thread(target=flood, daemon=True) for _ in range(sockets)]
    for thread in threads:
        thread.start()
    try:
        yield sent
    finally:
        stop.set()
        for thread in threads:
            thread.join(30)
