"""A user's chat socket on which a test waits for news."""

from __future__ import annotations

import json
import queue
import threading
import time
from contextlib import ExitStack
from typing import Any

from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect
from websockets.typing import Subprotocol

from tests.kit.servers.live import Live

PROTOCOLS = [Subprotocol("aiagents.v1"), Subprotocol("aiagents-news")]


class NewsSocket:
    """`with NewsSocket(live, token) as socket`: its news with the time at which each arrived, read by a thread."""

    def __init__(self, live: Live, token: str) -> None:
        self.live, self.token = live, token
        self.frames: queue.Queue[tuple[float, dict[str, Any]]] = queue.Queue()
        self._pongs = 0
        self._open = ExitStack()

    def __enter__(self) -> NewsSocket:
        address, headers = f"ws://127.0.0.1:{self.live.port}/api/v1/chat/ws", {"Authorization": f"Bearer {self.token}"}
        self.connection: ClientConnection = self._open.enter_context(
            connect(address, additional_headers=headers, subprotocols=PROTOCOLS, ping_interval=None)
        )
        threading.Thread(target=self._read, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

    def _read(self) -> None:
        try:
            for raw in self.connection:
                frame = json.loads(raw)
                if frame["type"] == "pong":
                    self._pongs += 1
                else:
                    self.frames.put((time.monotonic(), frame))
        except ConnectionClosed:
            return

    def until(self, kind: str, id: str | None, seconds: float = 10) -> float:
        """Wait for this news, past any other; the time at which it arrived."""
        deadline = time.monotonic() + seconds
        while True:
            at, frame = self.frames.get(timeout=max(0.01, deadline - time.monotonic()))
            if frame == {"type": "news", "kind": kind, "id": id}:
                return at

    def heard(self) -> list[dict[str, Any]]:
        """Every frame that has arrived since the last call."""
        return [self.frames.get()[1] for _ in range(self.frames.qsize())]

    def answers(self, seconds: float = 10) -> None:
        """Assert that the socket is open and answers a ping."""
        before = self._pongs
        self.connection.send(json.dumps({"type": "ping"}))
        deadline = time.monotonic() + seconds
        while self._pongs == before:
            assert time.monotonic() < deadline, "no pong"
            time.sleep(0.01)

    def joined(self, seconds: float = 20) -> None:
        """Wait until the socket is in the group of its user: it hears of a conversation that is made for this."""
        deadline = time.monotonic() + seconds
        while True:
            made = self.live.call("POST", "/api/v1/chat/conversations", {"title": "joined?"}, key=self.token).json
            try:
                self.until("conversation.changed", made["id"], 1)
                self.heard()
                return
            except queue.Empty:
                assert time.monotonic() < deadline, "the socket hears nothing"
