"""Daphne's WebSockets with a frame limit that is reported by a close code, and limits on queues in both directions."""

from __future__ import annotations

from typing import Any

from daphne.ws_protocol import WebSocketFactory as DaphneWebSocketFactory
from daphne.ws_protocol import WebSocketProtocol as DaphneWebSocketProtocol
from django.conf import settings
from twisted.internet import reactor

from aiagents.core.errors import AppError, InvalidRequest, PermissionDenied, Unavailable
from aiagents.core.http.close_codes import TOO_LARGE, TOO_MANY
from aiagents.server.flow import Flow, Inbox
from aiagents.server.http import error_body

# Seconds that reading from a flooding client may be paused before its socket is closed.
FLOOD_SECONDS = 10


class WebSocketProtocol(DaphneWebSocketProtocol):
    """One socket. Its close codes: 4413 frame too large, 4429 the client floods or does not read, 4503 shutting down."""

    flow: Flow | None = None
    _flooding: Any = None

    def onConnect(self, request: Any) -> Any:
        self.flow = Flow(self.transport, self.stalled)
        # Replaces the HTTP channel of the handshake.
        self.transport.unregisterProducer()
        self.transport.registerProducer(self.flow, True)
        return super().onConnect(request)

    def inbox(self) -> Inbox:
        return Inbox(self._pause_reading, self._resume_reading)

    def _pause_reading(self) -> None:
        self.transport.pauseProducing()
        self._flooding = reactor.callLater(FLOOD_SECONDS, self._flooded)

    def _resume_reading(self) -> None:
        if self._flooding is not None and self._flooding.active():
            self._flooding.cancel()
        self.transport.resumeProducing()

    def _flooded(self) -> None:
        self.serverClose(TOO_MANY)

    def stalled(self) -> None:
        """The client reads nothing: close the socket with a code, in case it reads again."""
        self.serverClose(TOO_MANY)

    def _max_message_size_exceeded(self, msg_size: int, max_msg_size: int, reason: str) -> None:
        self._fail_connection(TOO_LARGE, f"frame over {max_msg_size} bytes")

    def serverClose(self, code: int | None = None) -> None:
        # A socket with an unanswered handshake, or a closing one, cannot send a close frame.
        if self.state == self.STATE_OPEN:
            super().serverClose(code)

    def handle_reply(self, message: dict[str, Any]) -> None:
        if message.get("type") == "websocket.send" and self.state in (self.STATE_CLOSING, self.STATE_CLOSED):
            return
        super().handle_reply(message)

    def onClose(self, wasClean: bool, code: int | None, reason: str | None) -> None:
        if self._flooding is not None and self._flooding.active():
            self._flooding.cancel()
        if self.flow is not None:
            self.flow.stopProducing()
            self.flow = None  # breaks a reference cycle
        if hasattr(self, "server"):  # else the handshake never reached an application
            super().onClose(wasClean, code, reason)

    def application_ended(self) -> None:
        """The consumer returned or failed without closing: close with 1011, or answer an open handshake with 500."""
        if self.state in (self.STATE_CONNECTING, self.STATE_OPEN):
            self.handle_exception(RuntimeError("the application ended"))

    def sendHttpErrorResponse(self, code: int, reason: str, responseHeaders: Any = None) -> None:
        request_id, body = error_body(_handshake_error(code, reason))
        head = (
            f"HTTP/1.1 {code} {reason}\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\nx-request-id: {request_id}\r\n"
        )
        head += "".join(f"{name}: {value}\r\n" for name, value in responseHeaders or [])
        self.sendData(f"{head}connection: close\r\n\r\n".encode() + body)


def _handshake_error(code: int, reason: str) -> AppError:
    if code == 403:
        return PermissionDenied("This WebSocket may not be opened from here.", code="handshake_refused")
    if code == 503:
        return Unavailable()
    return AppError() if code >= 500 else InvalidRequest(f"The WebSocket handshake is not valid: {reason}", code="invalid_handshake")


class WebSocketFactory(DaphneWebSocketFactory):
    protocol = WebSocketProtocol

    def __init__(self, server: Any) -> None:
        super().__init__(server, server="")
        self.setProtocolOptions(
            autoPingTimeout=server.ping_timeout,
            allowNullOrigin=True,
            openHandshakeTimeout=server.websocket_handshake_timeout,
            maxMessagePayloadSize=settings.MAX_FRAME_BYTES,
            maxFramePayloadSize=settings.MAX_FRAME_BYTES,
            # False: violations are answered by a close frame with its code, not by a cut.
            failByDrop=False,
            closeHandshakeTimeout=5,
        )
