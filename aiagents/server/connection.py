"""One client's TCP connection: it writes once per event loop iteration, and polls for writability only after a full buffer.

It detects a reset that arrives together with data. libuv stops watching a descriptor whose first event is "readable" and
"error" at once: it calls the reader a last time, which reads the data, and the error would never be reported. While reading
is paused, unread.py detects the end of the connection.

Twisted registers every write with the poller and unregisters it after the one `send` that mostly takes all of it: two
system calls more, and a turn of the loop later. What is written in one turn (head and body, several events) goes out as one.
"""

from __future__ import annotations

import asyncio
from socket import SO_ERROR, SOL_SOCKET
from typing import Any

from twisted.internet.main import CONNECTION_LOST
from twisted.internet.tcp import Server
from twisted.web.http import HTTPChannel

from aiagents.server.unread import UNREAD


class Connection(Server):
    """Twisted's connection with another way to start writing. `reactor` is the asyncio reactor."""

    _due = False
    _unread: int | None = None

    def doRead(self) -> Any:
        why = super().doRead()
        if why is None and self.connected and self.fileno() != -1 and self.socket.getsockopt(SOL_SOCKET, SO_ERROR):
            return CONNECTION_LOST
        return why

    def pauseProducing(self) -> None:
        super().pauseProducing()
        if self._unread is None and self.connected and not self.disconnecting and self.fileno() != -1:
            self._unread = self.fileno()
            UNREAD.add(self._unread, self)

    def resumeProducing(self) -> None:
        self._read_again()
        super().resumeProducing()

    def connectionLost(self, reason: Any) -> None:
        self._read_again()
        super().connectionLost(reason)

    def _read_again(self) -> None:
        if self._unread is not None:
            UNREAD.discard(self._unread)
            self._unread = None

    def ended_unread(self, by_reset: bool) -> None:
        """End the connection after a reset, or after the client closed its side of an HTTP connection and got all data.

        Data sent to a client that is gone causes a reset later. A WebSocket may still have frames to read before its end.
        """
        if by_reset or (isinstance(self.protocol, HTTPChannel) and not self._holds_data()):
            self.reactor._disconnectSelectable(self, CONNECTION_LOST, False)

    def _holds_data(self) -> bool:
        return bool(self._tempDataLen or self.offset < len(self.dataBuffer))

    def startWriting(self) -> None:
        if not self._due and self not in self.reactor._writers:
            self._due = True
            asyncio.get_running_loop().call_soon(self._flush)

    def flush(self) -> None:
        """Send pending data at once, so that a complete response does not wait for the rest of this loop iteration."""
        self._flush()

    def _flush(self) -> None:
        due, self._due = self._due, False
        if not due or not self.connected or self.fileno() == -1:
            return
        self.reactor._readOrWrite(self, False)
        if self.connected and self._holds_data():
            super().startWriting()
