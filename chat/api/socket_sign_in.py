"""A WebSocket that belongs to a user: its sign-in, its limit per user, its error frames, and the end of its credential."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable
from contextlib import suppress
from typing import Any
from uuid import UUID

from channels.exceptions import StopConsumer

from accounts.authentication import Principal, authenticate, authenticate_ticket, require_scope
from aiagents.core import jsonio
from aiagents.core.errors import AppError, InvalidRequest, NotAuthenticated
from aiagents.core.http import url_secrets
from aiagents.core.http.close_codes import AUTH_TIMED_OUT, NOT_AUTHENTICATED, TOO_MANY, UNAVAILABLE
from aiagents.core.http.websocket import SocketConsumer
from aiagents.core.live import credential_watch
from aiagents.core.logs.context import accept_request_id, request_id, user_id
from aiagents.core.validation import parse
from chat.api import origins
from chat.api.frames import AuthFrame

AUTH_SECONDS = 10.0
MOST_SOCKETS_PER_USER = 20
# Seconds in which a client may read the last error frame before its socket is closed.
_GOODBYE_SECONDS = 1.0
# The open sockets of this process by user.
open_sockets: Counter[UUID] = Counter()


class Closing(Exception):
    """Close the socket with this code."""

    def __init__(self, code: int) -> None:
        self.code = code
        super().__init__(code)


class SignedInConsumer(SocketConsumer):
    """Signs in by header, by ticket or by the first frame. Subclasses implement `receive`, and the two hooks if they need them."""

    def __init__(self) -> None:
        super().__init__()
        self.principal: Principal | None = None
        self.sign_in_timer: asyncio.TimerHandle | None = None
        self.revoked = False

    def joined(self, principal: Principal) -> None:
        """Called after the sign-in."""

    def stop_views(self) -> None:
        """Called when the credential has ended."""

    async def connect(self) -> None:
        """Accept the handshake and sign in by header or ticket; without them, wait for the first frame."""
        self.headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in self.scope["headers"]}
        self.request_id = accept_request_id(self.headers.get("x-request-id"))
        if not origins.allowed(self.headers.get("origin"), self.headers.get("host", ""), _http(self.scope.get("scheme", "ws"))):
            await self.refuse()
        await self.accept_protocol()
        await self.or_close(self._sign_in())

    async def or_close(self, work: Awaitable[None]) -> None:
        """Await `work`; end the socket if it raises `Closing` or an error of the sign-in."""
        try:
            await work
        except Closing as closing:
            await self.close_with(closing.code)
            raise StopConsumer from closing
        except AppError as exc:  # the database is unreachable during the sign-in
            await self.send_error(exc)
            await self.close_with(UNAVAILABLE)
            raise StopConsumer from exc

    async def _sign_in(self) -> None:
        if url_secrets.holds_one(self.scope.get("query_string", b"")):
            raise Closing(NOT_AUTHENTICATED)
        ticket = next((name[7:] for name in self.scope.get("subprotocols", []) if name.startswith("ticket.")), None)
        if ticket is not None:
            await self.enter(authenticate_ticket(ticket))
        elif "authorization" in self.headers or "x-api-key" in self.headers:
            await self.enter(authenticate(self.headers))
        else:
            loop = asyncio.get_running_loop()
            self.sign_in_timer = loop.call_later(AUTH_SECONDS, lambda: self.spawn(self.close_with(AUTH_TIMED_OUT)))
            self.resources.callback(self.sign_in_timer.cancel)

    async def enter(self, authenticating: Awaitable[Principal]) -> None:
        """Sign the socket in as this principal. Raises `Closing` if the credential is refused or the user has too many sockets."""
        try:
            principal = await authenticating
            require_scope(principal, "chat")
        except AppError as exc:
            if exc.status not in (401, 403):
                raise
            await self.send_error(exc)
            raise Closing(NOT_AUTHENTICATED) from exc
        self.principal = principal
        user_id.set(str(principal.user_id))  # on every log line of this socket and of what it starts
        if open_sockets[principal.user_id] >= MOST_SOCKETS_PER_USER:
            raise Closing(TOO_MANY)
        open_sockets[principal.user_id] += 1
        self.resources.callback(_forget, principal.user_id)
        self.resources.enter_context(credential_watch.watched(principal, self._revoked))
        self.joined(principal)

    async def by_first_frame(self, frame: dict[str, Any] | None) -> Principal:
        """The principal of the frame `auth`; None stands for a frame that could not be read."""
        if frame is None:
            raise NotAuthenticated
        try:
            token = parse(AuthFrame, frame).token
        except InvalidRequest as exc:
            raise NotAuthenticated("The first frame is {type: auth, token}.") from exc
        return await authenticate({"authorization": f"Bearer {token}"})

    def _revoked(self) -> None:
        """The credential ended: show nothing more, and close the socket after an error frame."""
        self.revoked = True
        self.stop_views()
        self.spawn(self._say_goodbye())

    async def _say_goodbye(self) -> None:
        with suppress(TimeoutError):  # close a client that reads nothing, too
            async with asyncio.timeout(_GOODBYE_SECONDS):
                await self.send_error(credential_watch.CredentialEnded("Your credential has ended; sign in and resume."))
        await self.close_with(NOT_AUTHENTICATED)

    # --- frames out -----------------------------------------------------------------------------

    async def send_frame(self, frame: dict[str, Any]) -> None:
        await self.send_raw(jsonio.dumps(frame))

    async def send_raw(self, frame: bytes) -> None:
        """Waits while the client is behind; the server closes one that takes nothing (4429)."""
        if not self.closed:
            await self.base_send({"type": "websocket.send", "text": frame.decode()})

    async def send_error(self, error: AppError, ref: str | None = None, message_id: str | None = None) -> None:
        ids = {name: value for name, value in (("ref", ref), ("message_id", message_id)) if value is not None}
        retry = {} if error.retry_after is None else {"retry_after": error.retry_after}
        await self.send_frame({"type": "error", **ids, **retry, **error.body(request_id.get() or self.request_id)})


def _forget(user: UUID) -> None:
    """Count one socket of this user less."""
    open_sockets[user] -= 1
    if not open_sockets[user]:
        del open_sockets[user]


def _http(scheme: str) -> str:
    return "https" if scheme == "wss" else "http"
