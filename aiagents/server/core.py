"""The server of one process: Daphne's, on a socket that is given, ending by a drain.

Import this only where it runs: it installs Twisted's reactor on a uvloop event loop.
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
# Seconds for which an application may clean up after its client left, or after a drain that was not enough.
CLOSE_SECONDS = 10
CANCEL_SECONDS = 5
LAG_WORTH_SAYING = 1.0
# Python's 700 objects are reached many times in one turn of a busy loop.
COLLECTOR_THRESHOLDS = (10_000, 10, 10)


def _spare_the_collector() -> None:
    """What is loaded by now stays for the process's life: it is not looked through again; and young objects die by count."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(*COLLECTOR_THRESHOLDS)


class Server(DaphneServer):
    """Serves `application` on the listening socket until SIGTERM or SIGINT, then drains; a second signal ends at once."""

    def __init__(self, application: Callable[..., Awaitable[None]], listener: socket.socket) -> None:
        super().__init__(
            application,
            endpoints=["adopted"],  # Daphne insists on one; ours is `listener`
            signal_handlers=False,
            # One message for a whole body: it is bounded by MAX_BODY_BYTES when it comes here.
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
        # Twisted's own log goes nowhere; ours is `logging`.
        globalLogBeginner.beginLoggingTo([lambda _: None], redirectStandardIO=False, discardBuffer=True)
        reactor.callLater(1, self.application_checker)
        reactor.callLater(2, self.timeout_checker)
        self.listener.setblocking(False)
        self.port = reactor.adoptStreamPort(self.listener.fileno(), self.listener.family, self.http_factory)
        self.port.transport = Connection
        loop = reactor._asyncioEventloop
        asyncio.set_event_loop(loop)
        for sign in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(sign, self._signalled)
        loop.call_soon(self._start_lifespan)
        loop.call_soon(self._watch_loop, loop.time())
        _spare_the_collector()
        reactor.run(installSignalHandlers=False)
        for sign in (signal.SIGTERM, signal.SIGINT):
            signal.signal(sign, signal.SIG_IGN)  # we are on our way out; a late repetition changes nothing

    def _start_lifespan(self) -> None:
        """Tell the application that it has started: what it does beside requests begins now, not with the first one."""
        inbox: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        inbox.put_nowait({"type": "lifespan.startup"})

        async def heard(message: dict[str, Any]) -> None:
            log.debug("%s", message["type"])

        self._lifespan = asyncio.get_running_loop().create_task(self._live(inbox, heard))

    async def _live(self, inbox: asyncio.Queue[dict[str, Any]], heard: Callable[[dict[str, Any]], Awaitable[None]]) -> None:
        try:
            await self.application({"type": "lifespan", "asgi": {"version": "3.0"}}, inbox.get, heard)
        except Exception:  # an application need not know of it
            log.debug("the application has no lifespan", exc_info=True)

    def _watch_loop(self, due: float) -> None:
        """How late this call is, is how long something kept the loop from everybody."""
        loop = asyncio.get_running_loop()
        lag = max(0.0, loop.time() - due)
        LOOP_LAG.set(lag)
        if lag > LAG_WORTH_SAYING:
            log.warning("the event loop stood still for %.1f s", lag)
        loop.call_later(1, self._watch_loop, loop.time() + 1)

    # --- applications ---------------------------------------------------------------------------

    def create_application(self, protocol: Any, scope: dict[str, Any]) -> asyncio.Queue | None:
        """Start the application of one request or socket; its queue is where the protocol puts what comes in."""
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
            # At once, not when Daphne's checker comes by; and also after a half-sent answer, where Daphne would hang.
            if "disconnected" not in self.connections.get(protocol, {"disconnected": 0}):
                protocol.application_ended()

    async def handle_reply(self, protocol: Any, message: dict[str, Any]) -> None:
        """What `send` is: waits while the client is behind, then writes."""
        if protocol.flow is not None:
            await protocol.flow.ready()
        if "disconnected" in self.connections.get(protocol, {"disconnected": 0}):
            # To nobody. An application that has not noticed must not spin until it is cancelled.
            await asyncio.sleep(0.05)
            return
        await super().handle_reply(protocol, message)

    # --- the end --------------------------------------------------------------------------------

    def _signalled(self) -> None:
        if self._draining is not None:
            # One Ctrl-C may come twice, from the terminal and from a parent that passes it on.
            if time.monotonic() - self._signalled_at > 1:
                log.warning("second signal: leaving without waiting")
                self.stop()
            return
        self._signalled_at = time.monotonic()
        draining.begin()
        self._draining = asyncio.get_running_loop().create_task(self._drain())

    async def _drain(self) -> None:
        """New turns are refused by the doors now (they see the flag); the port stays open so that they can say so."""
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
            log.info("drained; %d had to be cut", len(overdue))
        except Exception:
            log.exception("the drain failed")
        finally:
            self._lifespan.cancel()
            self.stop()

    def _running(self, kind: type | None = None) -> dict[Any, asyncio.Task]:
        """The applications that still run, by their protocol."""
        found = {}
        for protocol, details in self.connections.items():
            task = details.get("application_instance")
            if task is not None and not task.done() and (kind is None or isinstance(protocol, kind)):
                found[protocol] = task
        return found

    async def _ended(self, kind: type | None, seconds: float) -> None:
        """Wait until those that run now have ended, at most `seconds`."""
        if tasks := self._running(kind).values():
            await asyncio.wait(tasks, timeout=max(seconds, 0))
