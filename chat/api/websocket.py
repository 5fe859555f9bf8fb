"""The chat over one WebSocket: several turns at once, each watched by a task of its own."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter, deque
from collections.abc import AsyncGenerator, Awaitable
from contextlib import aclosing, suppress
from typing import Any
from uuid import UUID

from channels.exceptions import StopConsumer
from django.conf import settings

from accounts.authentication import Principal, authenticate, authenticate_ticket, require_scope
from agents.events import REWIND
from aiagents.core import jsonio
from aiagents.core.errors import AppError, InvalidRequest, NotAuthenticated, PayloadTooLarge, RateLimited
from aiagents.core.http import url_secrets
from aiagents.core.http.close_codes import AUTH_TIMED_OUT, NOT_AUTHENTICATED, SHUTTING_DOWN, TOO_LARGE, TOO_MANY, UNAVAILABLE
from aiagents.core.http.websocket import SocketConsumer
from aiagents.core.live import credential_watch, news
from aiagents.core.live.broadcast import Leave
from aiagents.core.live.event_log import Line
from aiagents.core.logs.context import accept_request_id, request_id, user_id
from aiagents.core.validation import parse
from chat.api import frames, origins
from chat.api.frames import AUTH_FIELDS, FIELDS, AuthFrame, CancelFrame, Frame, PingFrame, ResumeFrame, SendFrame
from chat.api.limits import count_request
from chat.api.news import NEWS_PROTOCOL, Unsent
from chat.turns import service as turns

__all__ = ["AUTH_FIELDS", "FIELDS", "ChatConsumer"]
logger = logging.getLogger(__name__)
AUTH_SECONDS = 10.0
# Frames of one socket per second, over a few seconds; above it the client is out of control.
FRAMES_PER_SECOND, FRAMES_WINDOW = 20, 5
MOST_SOCKETS_PER_USER = 20
# Bytes of a frame from a client that has not signed in yet: a token.
MOST_AUTH_BYTES = 16 * 1024
MOST_VIEWS = 64
# Seconds in which a client may take the last word before its socket is closed.
_GOODBYE_SECONDS = 1.0
_sockets: Counter[UUID] = Counter()


class Closing(Exception):
    """Close the socket with this code."""

    def __init__(self, code: int) -> None:
        self.code = code
        super().__init__(code)


class ChatConsumer(SocketConsumer):
    """The chat's WebSocket (docs/streaming.md). A turn's events come from the turn itself, from whatever process."""

    def __init__(self) -> None:
        super().__init__()
        self.principal: Principal | None = None
        self.leaves: set[Leave] = set()
        self.frames: deque[float] = deque()
        self.sign_in_timer: asyncio.TimerHandle | None = None
        self.unsent = Unsent()
        self.sending_news = self.revoked = False

    # --- the life of a socket -------------------------------------------------------------------

    async def connect(self) -> None:
        """Accept the handshake and sign in by header or ticket; without them, wait for the first frame."""
        self.headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in self.scope["headers"]}
        self.request_id = accept_request_id(self.headers.get("x-request-id"))
        if not origins.allowed(self.headers.get("origin"), self.headers.get("host", ""), _http(self.scope.get("scheme", "ws"))):
            await self.refuse()
        await self.accept_protocol()
        await self._or_close(self._sign_in())

    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        """Answer one frame, or start what it asks for."""
        if not self.closed:
            await self._or_close(self._receive(text_data, bytes_data))

    async def _or_close(self, work: Awaitable[None]) -> None:
        """Await `work`; end the socket where that fails for good."""
        try:
            await work
        except Closing as closing:
            await self.close_with(closing.code)
            raise StopConsumer from closing
        except AppError as exc:  # the database is away while the client signs in
            await self._say_error(exc)
            await self.close_with(UNAVAILABLE)
            raise StopConsumer from exc

    async def _sign_in(self) -> None:
        if url_secrets.holds_one(self.scope.get("query_string", b"")):
            raise Closing(NOT_AUTHENTICATED)
        ticket = next((name[7:] for name in self.scope.get("subprotocols", []) if name.startswith("ticket.")), None)
        if ticket is not None:
            await self._enter(authenticate_ticket(ticket))
        elif "authorization" in self.headers or "x-api-key" in self.headers:
            await self._enter(authenticate(self.headers))
        else:
            loop = asyncio.get_running_loop()
            self.sign_in_timer = loop.call_later(AUTH_SECONDS, lambda: self.spawn(self.close_with(AUTH_TIMED_OUT)))
            self.resources.callback(self.sign_in_timer.cancel)

    async def _enter(self, authenticating: Awaitable[Principal]) -> None:
        """Make the authenticated principal this socket's. Raises `Closing` for a credential that does not open it."""
        try:
            principal = await authenticating
            require_scope(principal, "chat")
        except AppError as exc:
            if exc.status not in (401, 403):
                raise
            await self._say_error(exc)
            raise Closing(NOT_AUTHENTICATED) from exc
        self.principal = principal
        user_id.set(str(principal.user_id))  # on every log line of this socket and of what it starts
        if _sockets[principal.user_id] >= MOST_SOCKETS_PER_USER:
            raise Closing(TOO_MANY)
        _sockets[principal.user_id] += 1
        self.resources.callback(_forget, principal.user_id)
        self.resources.enter_context(credential_watch.watched(principal, self._revoked))
        # Only for who offers it: a program with many sockets would get each turn's news on all of them.
        if NEWS_PROTOCOL in self.scope.get("subprotocols", []):
            self.join(news.user_group(principal.user_id))

    async def _by_first_frame(self, frame: dict[str, Any] | None) -> Principal:
        """The principal of the frame `auth`; None stands for a frame that could not be read."""
        if frame is None:
            raise NotAuthenticated
        try:
            token = parse(AuthFrame, frame).token
        except InvalidRequest as exc:
            raise NotAuthenticated("The first frame is {type: auth, token}.") from exc
        return await authenticate({"authorization": f"Bearer {token}"})

    def _revoked(self) -> None:
        """The credential ended: nothing more is shown. The turns go on for their owner."""
        self.revoked = True
        for leave in self.leaves:
            leave.now()
        self.spawn(self._say_goodbye())

    async def _say_goodbye(self) -> None:
        with suppress(TimeoutError):  # a client that reads nothing is closed all the same
            async with asyncio.timeout(_GOODBYE_SECONDS):
                await self._say_error(credential_watch.CredentialEnded("Your credential has ended; sign in and resume."))
        await self.close_with(NOT_AUTHENTICATED)

    # --- frames in ------------------------------------------------------------------------------

    async def _receive(self, text: str | None, data: bytes | None) -> None:
        if self.sign_in_timer is not None:
            self.sign_in_timer.cancel()
        self._count_frame()
        raw = (data or b"") if text is None else text.encode("utf-8", "surrogatepass")
        if len(raw) > (settings.MAX_FRAME_BYTES if self.principal is not None else MOST_AUTH_BYTES):
            raise Closing(TOO_LARGE)
        frame: dict[str, Any] | None = None
        try:
            if text is None:
                raise InvalidRequest("Frames are text: one JSON object each.", code="binary_frame")
            await asyncio.sleep(0)  # frames that wait already are read one by one, and other tasks run in between
            value = jsonio.loads(raw, most_values=settings.MAX_FRAME_VALUES)
            if not isinstance(value, dict):
                raise InvalidRequest("A frame is one JSON object.", code="invalid_json")
            frame = value
        except (InvalidRequest, PayloadTooLarge) as exc:
            if self.principal is not None:
                await self._say_error(exc)
                return
        if self.principal is None:
            await self._enter(self._by_first_frame(frame))
        elif frame is not None:
            await self._handle(frame)

    def _count_frame(self) -> None:
        now = time.monotonic()
        self.frames.append(now)
        while self.frames[0] < now - FRAMES_WINDOW:
            self.frames.popleft()
        if len(self.frames) > FRAMES_PER_SECOND * FRAMES_WINDOW:
            raise Closing(TOO_MANY)

    async def _handle(self, frame: dict[str, Any]) -> None:
        """Start what the frame asks for; never wait for it: the next frame may be its cancellation."""
        ref: str | None = None
        try:
            ref = frames.ref_of(frame)
            model = frames.model_of(frame)
            if model is PingFrame:
                parse(model, frame)
                await self._send({"type": "pong"} if ref is None else {"type": "pong", "ref": ref})
            elif self.running >= MOST_VIEWS:
                raise RateLimited("Too much is going on on this socket.", retry_after=1)
            else:
                self.spawn(self._guarded(model, frame, ref))
        except AppError as exc:
            await self._say_error(exc, ref)

    async def _guarded(self, model: type[Frame], frame: dict[str, Any], ref: str | None) -> None:
        """Do what the frame asks for, and answer its errors."""
        accept_request_id(None)  # each frame is a request of its own in logs and in the usage log
        try:
            await self._do(parse(model, frame))
        except AppError as exc:
            if exc.code == "shutting_down":
                await self.close_with(SHUTTING_DOWN)
            else:
                message_id = frame.get("message_id")
                await self._say_error(exc, ref, message_id if isinstance(message_id, str) and len(message_id) < 50 else None)
        except Exception:
            logger.exception("frame_failed")
            await self._say_error(AppError(), ref)

    async def _do(self, frame: Frame) -> None:
        match frame:
            case SendFrame():
                await self._turn(frame)
            case CancelFrame():
                await self._cancel(frame)
            case ResumeFrame():
                await self._resume(frame)

    # --- news of the channel layer ---------------------------------------------------------------

    async def user_news(self, message: dict[str, Any]) -> None:
        """Send the user's news. In a task: a client that reads slowly must not hold up its own frames."""
        assert self.principal  # a socket joins its group after it signed in
        self.unsent.add(self.principal, message["news"])
        if not self.sending_news:
            self.sending_news = True
            self.spawn(self._send_news())

    async def _send_news(self) -> None:
        try:
            while not self.revoked and (frame := self.unsent.next()) is not None:
                await self._send(frame)
        finally:
            self.sending_news = False

    def joined_again(self, group: str) -> None:
        """News may have been lost while the channel layer was away: the client reads everything again."""
        self.spawn(self.user_news({"news": [[news.Kind.NEWS_LOST, None]]}))

    # --- what a frame asks for ------------------------------------------------------------------

    async def _turn(self, frame: SendFrame) -> None:
        assert self.principal
        await count_request(self.principal)
        leave = Leave()
        turn = await turns.start(self.principal, frame.turn_request(), surface="ws", request_id=request_id.get())
        ids = {"message_id": str(turn.message_id), "conversation_id": str(turn.conversation_id)}
        await self._send({"type": "ack", "ref": frame.ref, **ids, "user_message_id": str(turn.opened.question.id)})
        await self._show(turn.message_id, turn.view(-1, leave), leave, frame.ref)

    async def _cancel(self, frame: CancelFrame) -> None:
        assert self.principal
        answer = await turns.cancel(self.principal, frame.message_id)
        await self._send({"type": "ack", "ref": frame.ref, "message_id": str(frame.message_id), "status": answer["status"]})

    async def _resume(self, frame: ResumeFrame) -> None:
        assert self.principal
        leave = Leave()
        lines = await turns.attach(self.principal, frame.message_id, frame.after, leave)
        await self._show(frame.message_id, lines, leave, frame.ref)

    async def _show(self, message_id: UUID, lines: AsyncGenerator[Line, None], leave: Leave, ref: str | None) -> None:
        """Send a turn's events. A slow reader holds up nothing but its own view: the turn's log is the buffer."""
        head = b"" if ref is None else b',"ref":' + jsonio.dumps(ref)
        named = head + b',"message_id":"%b"' % str(message_id).encode()
        self.leaves.add(leave)
        try:
            async with aclosing(lines):
                async for seq, kind, data in lines:
                    # The data is an object with at least one member; `message.start` names its message itself.
                    more = head if kind == "message.start" else named
                    place = b"" if kind == REWIND else b',"seq":%d' % seq  # a rewind's data holds its seq itself
                    await self._send_raw(b'{"type":"%b"%b%b,%b' % (kind.encode(), place, more, data[1:]))
        finally:
            self.leaves.discard(leave)

    # --- frames out -----------------------------------------------------------------------------

    async def _send(self, frame: dict[str, Any]) -> None:
        await self._send_raw(jsonio.dumps(frame))

    async def _send_raw(self, frame: bytes) -> None:
        """Waits while the client is behind; the server closes one that takes nothing (4429)."""
        if not self.closed:
            await self.base_send({"type": "websocket.send", "text": frame.decode()})

    async def _say_error(self, error: AppError, ref: str | None = None, message_id: str | None = None) -> None:
        ids = {name: value for name, value in (("ref", ref), ("message_id", message_id)) if value is not None}
        retry = {} if error.retry_after is None else {"retry_after": error.retry_after}
        await self._send({"type": "error", **ids, **retry, **error.body(request_id.get() or self.request_id)})


def _forget(user: UUID) -> None:
    """One socket of this user fewer."""
    _sockets[user] -= 1
    if not _sockets[user]:
        del _sockets[user]


def _http(scheme: str) -> str:
    return "https" if scheme == "wss" else "http"
