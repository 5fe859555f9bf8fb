"""Daphne's HTTP with a limit on every part of a request, and the contract's shape for every error."""

from __future__ import annotations

import logging
from io import BytesIO
from tempfile import SpooledTemporaryFile
from typing import Any

from daphne.http_protocol import HTTPFactory as DaphneHTTPFactory
from daphne.http_protocol import WebRequest as DaphneWebRequest
from django.conf import settings
from twisted.web import http

from aiagents.core.errors import AppError, InvalidRequest
from aiagents.core.http import body_limits
from aiagents.core.ids import uuid7
from aiagents.core.jsonio import dumps
from aiagents.server.flow import Flow

log = logging.getLogger(__name__)
# Bodies up to this size are buffered in memory, larger ones in an unlinked file.
SPOOL_BYTES = 256 * 1024
# Seconds within which a head and body must be complete after their first byte.
REQUEST_SECONDS = 120
# Seconds without a request after which a kept-alive connection is closed.
IDLE_SECONDS = 75
# After a refusal the client's data is discarded up to these limits. Closing at once would reset the connection, and the
# client could not read the error.
LINGER_SECONDS, LINGER_BYTES = 2.0, 4 * 1024 * 1024


class HeadersTooLarge(AppError):
    type, code, status = "invalid_request", "headers_too_large", 431
    message = "The request line or headers are too large."


def error_body(error: AppError) -> tuple[str, bytes]:
    """A new request id and the contract's error object as JSON, for errors outside the application."""
    request_id = uuid7().hex
    return request_id, dumps(error.body(request_id))


class WebRequest(DaphneWebRequest):
    """One request. Its body is counted while it arrives; its response waits for the client."""

    _received = 0
    flow: Flow | None = None

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        # Twisted would parse forms, and Django would parse them again.
        self._parsePOSTFormSubmission = False

    def gotLength(self, length: int | None) -> None:
        small = length is not None and length <= SPOOL_BYTES
        self.content = BytesIO() if small else SpooledTemporaryFile(SPOOL_BYTES)  # noqa: SIM115 - the request's end closes it

    def handleContentChunk(self, data: bytes) -> None:
        self._received += len(data)
        if self._received > body_limits.small() and self._received > self.channel.body_limit():
            self.channel.refuse(body_limits.too_large(self.channel.body_limit()))
        else:
            super().handleContentChunk(data)

    def process(self) -> Any:
        # With this header Daphne would let any client set the root path.
        self.requestHeaders.removeHeader(b"daphne-root-path")
        return super().process()

    def handle_reply(self, message: dict[str, Any]) -> None:
        if message.get("type") == "http.response.start" and self.flow is None and self.channel is not None:
            self.flow = Flow(self.channel.transport, self.abort)
            self.registerProducer(self.flow, True)
        super().handle_reply(message)

    def finish(self) -> None:
        if self.producer:
            self.unregisterProducer()
        transport = self.channel.transport if self.channel is not None else None
        super().finish()
        if transport is not None:
            transport.flush()
        self.flow = None  # breaks a reference cycle

    def connectionLost(self, reason: Any) -> None:
        super().connectionLost(reason)
        if self.flow is not None:
            self.flow.stopProducing()
            self.flow = None

    def abort(self) -> None:
        """Close the connection abruptly, so that the client of a half-sent response knows that it is incomplete."""
        if self.channel is not None:
            self.channel.transport.abortConnection()

    def application_ended(self) -> None:
        """The application returned or failed. Without a complete response send 500, or abort a half-sent one."""
        if self.finished or self._disconnected:
            return
        if self._response_started:
            self.abort()
        else:
            self.basic_error(500, b"Internal Server Error", "")

    def basic_error(self, status: int, status_text: bytes, body: str) -> None:
        error = AppError() if status >= 500 else InvalidRequest(body or None)
        request_id, content = error_body(error)
        headers = [
            (b"content-type", b"application/json"),
            (b"content-length", b"%d" % len(content)),
            (b"x-request-id", request_id.encode()),
        ]
        self.handle_reply({"type": "http.response.start", "status": status, "headers": headers})
        self.handle_reply({"type": "http.response.body", "body": content})


class Channel(http.HTTPChannel):
    """One connection. `refuse` answers an invalid request without the application and closes the connection."""

    requestFactory = WebRequest
    timeOut = IDLE_SECONDS
    _refused = False
    _discarded = 0
    _limit: tuple[Any, int] | None = None
    _deadline: Any = None

    def dataReceived(self, data: bytes) -> None:
        if self._refused:
            self._discarded += len(data)
            if self._discarded > LINGER_BYTES:
                self.transport.abortConnection()
            return
        super().dataReceived(data)
        incomplete = bool(self.requests) and not self._handlingRequest and not self._refused
        if incomplete and self._deadline is None:
            self._deadline = self.callLater(REQUEST_SECONDS, self.forceAbortClient)
        elif not incomplete:
            self._forget_deadline()

    def lineReceived(self, line: bytes) -> None:
        if not self._refused:
            super().lineReceived(line)

    def rawDataReceived(self, data: bytes) -> None:
        if not self._refused:
            super().rawDataReceived(data)

    def lineLengthExceeded(self, line: bytes) -> None:
        self.refuse(HeadersTooLarge())

    def allHeadersReceived(self) -> None:
        if self.length is not None and self.length > body_limits.small() and self.length > self.body_limit():
            self.refuse(body_limits.too_large(self.body_limit()))
        elif not self._refused:
            super().allHeadersReceived()

    def body_limit(self) -> int:
        """The maximum bytes of the arriving request's body, which the application declares for its endpoint."""
        request = self.requests[-1] if self.requests else None
        if self._limit is None or self._limit[0] is not request:
            declared = getattr(self.factory.server.application, "body_limit", None)
            limit = settings.MAX_BODY_BYTES if declared is None else declared(self._command.decode("latin-1"), self._path.decode("latin-1"))
            self._limit = (request, limit)
        return self._limit[1]

    def allContentReceived(self) -> None:
        if not self._refused:
            super().allContentReceived()

    def _respondToBadRequestAndDisconnect(self) -> None:
        large = self._receivedHeaderSize > self.totalHeadersSize or self._receivedHeaderCount > self.maxHeaders
        self.refuse(HeadersTooLarge() if large else InvalidRequest("The request is not valid HTTP.", code="invalid_http"))

    def refuse(self, error: AppError) -> None:
        """Answer with `error`, close our side, and close the connection after at most LINGER_SECONDS."""
        if self._refused:
            return
        self._refused = True
        self._forget_deadline()
        self.setTimeout(None)
        request_id, body = error_body(error)
        head = (
            f"HTTP/1.1 {error.status} {http.RESPONSES.get(error.status, b'Error').decode()}\r\ncontent-type: application/json\r\n"
            f"content-length: {len(body)}\r\nx-request-id: {request_id}\r\nconnection: close\r\n\r\n"
        )
        self.transport.write(head.encode() + body)
        self._networkProducer.unregisterProducer()
        self.transport.loseWriteConnection()
        self._abortingCall = self.callLater(LINGER_SECONDS, self.forceAbortClient)

    def connectionLost(self, reason: Any) -> None:
        self._forget_deadline()
        super().connectionLost(reason)

    def _forget_deadline(self) -> None:
        if self._deadline is not None and self._deadline.active():
            self._deadline.cancel()
        self._deadline = None


class HTTPFactory(DaphneHTTPFactory):
    """Creates our channels, with HTTP/1.1 only; a proxy may offer HTTP/2."""

    def __init__(self, server: Any) -> None:
        super().__init__(server)
        self.timeOut = IDLE_SECONDS

    def buildProtocol(self, addr: Any) -> Channel:
        channel = Channel()
        channel.factory = self
        channel.callLater = self.reactor.callLater
        channel.timeOut = self.timeOut
        return channel

    def log(self, request: Any) -> None:
        """Do nothing: the application writes the access log (aiagents/core/logs/access.py)."""

    def acceptableProtocols(self) -> list[bytes]:
        return [b"http/1.1"]
