"""The server of one process: Daphne's server on a given socket, with a drain at the end.

Import this only in a server process: it installs Twisted's reactor on a uvloop event loop.
"""

from __future__ import annotations

import sys

import uvloop
from twisted.internet import asyncioreactor

if "twisted.internet.reactor" not in sys.modules:  # before Daphne installs one on the plain loop
    asyncioreactor.install(uvloop.new_event_loop())

import asyncio
import gc
import logging
import signal
import socket
import time
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

from daphne.server import Server as DaphneServer
from django.conf import settings
from twisted.internet import reactor
from twisted.logger import globalLogBeginner

from aiagents.core import draining
from aiagents.core.http.close_codes import SHUTTING_DOWN
from aiagents.core.metrics.counters import LOOP_LAG
from aiagents.server.connection import Connection
from aiagents.server.http import HTTPFactory, WebRequest
from aiagents.server.websocket import WebSocketFactory, WebSocketProtocol

log = logging.getLogger(__name__)
# Seconds that an application may clean up after its client disconnected, and after its cancellation at the end of a drain.
CLOSE_SECONDS = 10
CANCEL_SECONDS = 5
LOGGED_LAG_SECONDS = 1.0
# Python's threshold of 700 objects is reached many times in one iteration of a busy event loop.
COLLECTOR_THRESHOLDS = (10_000, 10, 10)


def _tune_collector() -> None:
    """Exclude everything loaded so far from garbage collection, and collect less often."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(*COLLECTOR_THRESHOLDS)


class Server(DaphneServer):
    """Serves `application` on the listening socket until SIGTERM or SIGINT, then drains; a second signal ends at once."""

    def __init__(self, application: Callable[..., Awaitable[None]], listener: socket.socket) -> None:
        super().__init__(
            application,
            endpoints=["adopted"],  # Daphne requires one; the server uses `listener`
            signal_handlers=False,
            # One message for a whole body, which is limited to MAX_BODY_BYTES before.
            request_buffer_size=settings.MAX_BODY_BYTES + 1,
            websocket_handshake_timeout=10,
            application_close_timeout=CLOSE_SECONDS,
            server_name="",
        )
        self.listener = listener
        self._draining: asyncio.Task[None] | None = None
        self._signalled_at = 0.0

    def run(self) -> None:
        self.connections: dict[Any, dict[str, Any]] = {}
        self.http_factory = HTTPFactory(self)
        self.ws_factory = WebSocketFactory(self)
        # Discard Twisted's log; the server uses `logging`.
        globalLogBeginner.beginLoggingTo([lambda _: None], redirectStandardIO=False, discardBuffer=True)
        reactor.callLater(1, self.application_checker)
        reactor.callLater(2, self.timeout_checker)
        self.listener.setblocking(False)
        self.port = reactor.adoptStreamPort(self.listener.fileno(), self.listener.family, self.http_factory)
        self.port.transport = Connection
        loop = reactor._asyncioEventloop
        asyncio.set_event_loop(loop)
        # Not before the loop runs: uvloop loses a signal between its handler's registration and the loop's first iteration.
        # Until then a signal ends the process, which has served nothing.
        loop.call_soon(self._handle_signals, loop)
        loop.call_soon(self._start_lifespan)
        loop.call_soon(self._watch_loop, loop.time())
        _tune_collector()
        reactor.run(installSignalHandlers=False)
        for sign in (signal.SIGTERM, signal.SIGINT):
            signal.signal(sign, signal.SIG_IGN)  # the process is ending; ignore repeated signals

    def _handle_signals(self, loop: asyncio.AbstractEventLoop) -> None:
        for sign in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(sign, self._signalled)

    def _start_lifespan(self) -> None:
        """Start the application's lifespan, so that its background work begins now and not with the first request."""
        inbox: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        inbox.put_nowait({"type": "lifespan.startup"})

        async def send(message: dict[str, Any]) -> None:
            log.debug("%s", message["type"])

        self._lifespan = asyncio.get_running_loop().create_task(self._run_lifespan(inbox, send))

    async def _run_lifespan(self, inbox: asyncio.Queue[dict[str, Any]], send: Callable[[dict[str, Any]], Awaitable[None]]) -> None:
        try:
            await self.application({"type": "lifespan", "asgi": {"version": "3.0"}}, inbox.get, send)
        except Exception:  # the lifespan protocol is optional
            log.debug("the application has no lifespan", exc_info=True)

    def _watch_loop(self, due: float) -> None:
        """Measure the event loop's lag: this call is as late as something blocked the loop."""
        loop = asyncio.get_running_loop()
        lag = max(0.0, loop.time() - due)
        LOOP_LAG.set(lag)
        if lag > LOGGED_LAG_SECONDS:
            log.warning("the event loop was blocked for %.1f s", lag)
        loop.call_later(1, self._watch_loop, loop.time() + 1)

    # --- applications ---------------------------------------------------------------------------

    def create_application(self, protocol: Any, scope: dict[str, Any]) -> asyncio.Queue | None:
        """Start the application of one request or socket. Returns the queue for its incoming messages, or None."""
        if protocol not in self.connections:
            return None
        queue = protocol.inbox() if isinstance(protocol, WebSocketProtocol) else asyncio.Queue()
        scope.setdefault("asgi", {"version": "3.0"})
        self.connections[protocol]["application_instance"] = asyncio.get_running_loop().create_task(self._run(protocol, scope, queue))
        return queue

    async def _run(self, protocol: Any, scope: dict[str, Any], queue: asyncio.Queue) -> None:
        try:
            await self.application(scope, queue.get, partial(self.handle_reply, protocol))
        except asyncio.CancelledError:
            raise
        except Exception:
            log.exception("exception inside the application")
        finally:
            # At once, not at the next run of Daphne's checker; and also after a half-sent response, where Daphne would hang.
            if "disconnected" not in self.connections.get(protocol, {"disconnected": 0}):
                protocol.application_ended()

    async def handle_reply(self, protocol: Any, message: dict[str, Any]) -> None:
        """The application's `send`: it waits while the client is slow, then writes."""
        if protocol.flow is not None:
            await protocol.flow.ready()
        if "disconnected" in self.connections.get(protocol, {"disconnected": 0}):
            # The client is gone. The pause keeps an application that has not noticed it from spinning.
            await asyncio.sleep(0.05)
            return
        await super().handle_reply(protocol, message)

    # --- the end --------------------------------------------------------------------------------

    def _signalled(self) -> None:
        if self._draining is not None:
            # One Ctrl-C may arrive twice, from the terminal and from a parent that forwards it.
            if time.monotonic() - self._signalled_at > 1:
                log.warning("second signal: stopping without waiting")
                self.stop()
            return
        self._signalled_at = time.monotonic()
        draining.begin()
        self._draining = asyncio.get_running_loop().create_task(self._drain())

    async def _drain(self) -> None:
        """Wait for running work, then close. The flag makes endpoints refuse new turns; the port stays open so that they can answer."""
        deadline = time.monotonic() + settings.DRAIN_SECONDS
        log.info("draining: %d open connections, up to %d s", len(self._running()), settings.DRAIN_SECONDS)
        try:
            await draining.run(settings.DRAIN_SECONDS)
            await self._ended(WebRequest, deadline - time.monotonic())
            self.port.stopListening()
            for protocol in self._running(WebSocketProtocol):
                protocol.serverClose(SHUTTING_DOWN)
            await self._ended(None, 1.0)
            overdue = self._running()
            for task in overdue.values():
                task.cancel()
            await self._ended(None, CANCEL_SECONDS)
            log.info("drained; %d were cancelled", len(overdue))
        except Exception:
            log.exception("the drain failed")
        finally:
            self._lifespan.cancel()
            self.stop()

    def _running(self, kind: type | None = None) -> dict[Any, asyncio.Task]:
        """The running applications by their protocol."""
        found = {}
        for protocol, details in self.connections.items():
            task = details.get("application_instance")
            if task is not None and not task.done() and (kind is None or isinstance(protocol, kind)):
                found[protocol] = task
        return found

    async def _ended(self, kind: type | None, seconds: float) -> None:
        """Wait until the running applications have ended, at most `seconds`."""
        if tasks := self._running(kind).values():
            await asyncio.wait(tasks, timeout=max(seconds, 0))
