"""One client's TCP connection: writes at the end of the loop's turn, and asks the kernel for room only when there was none.

A reset that arrives together with data is heard. libuv gives up a descriptor whose first event says "readable" and "error" at
once: it calls the reader one last time, which finds the data, and nothing would ever tell of the error. While reading is paused
the end of the connection is looked for (unread.py).

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
    """Twisted's, with another way to start writing. `reactor` is the asyncio reactor."""

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
        """End the connection, as a read would have done. A client that only closed its side is gone where it is HTTP and has taken all.

        What we still send to a client that is gone comes back as a reset. WebSocket frames before the end are still to be read.
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
        """Send what was written in this turn already now: a whole answer need not wait for what its application does after it."""
        self._flush()

    def _flush(self) -> None:
        due, self._due = self._due, False
        if not due or not self.connected or self.fileno() == -1:
            return
        self.reactor._readOrWrite(self, False)
        if self.connected and self._holds_data():
            super().startWriting()
