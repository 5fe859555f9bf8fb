"""The chat over one WebSocket: several turns at once, each watched by a task of its own."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any
from uuid import UUID

from django.conf import settings

from accounts.authentication import Principal
from agents.events import REWIND
from aiagents.core import jsonio
from aiagents.core.errors import AppError, InvalidRequest, PayloadTooLarge, RateLimited
from aiagents.core.http.close_codes import SHUTTING_DOWN, TOO_LARGE, TOO_MANY
from aiagents.core.live import news
from aiagents.core.live.broadcast import Leave
from aiagents.core.live.event_log import Line
from aiagents.core.logs.context import accept_request_id, request_id
from aiagents.core.validation import parse
from chat.api import frames
from chat.api.frames import AUTH_FIELDS, FIELDS, CancelFrame, Frame, PingFrame, ResumeFrame, SendFrame
from chat.api.limits import count_request
from chat.api.news import NEWS_PROTOCOL, Unsent
from chat.api.socket_sign_in import Closing, SignedInConsumer
from chat.turns import service as turns

__all__ = ["AUTH_FIELDS", "FIELDS", "ChatConsumer"]
logger = logging.getLogger(__name__)
# Frames of one socket per second, over a few seconds; above it the client is out of control.
FRAMES_PER_SECOND, FRAMES_WINDOW = 20, 5
# Bytes of a frame from a client that has not signed in yet: a token.
MOST_AUTH_BYTES = 16 * 1024
MOST_VIEWS = 64


class ChatConsumer(SignedInConsumer):
    """The chat's WebSocket (docs/streaming.md). A turn's events come from the turn itself, from whatever process."""

    def __init__(self) -> None:
        super().__init__()
        self.leaves: set[Leave] = set()
        self.frames: deque[float] = deque()
        self.unsent = Unsent()
        self.sending_news = False

    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        """Answer one frame, or start what it asks for."""
        if not self.closed:
            await self.or_close(self._receive(text_data, bytes_data))

    def joined(self, principal: Principal) -> None:
        """Receive the user's news, where the client offers the protocol: a program with many sockets would get all on each."""
        if NEWS_PROTOCOL in self.scope.get("subprotocols", []):
            self.join(news.user_group(principal.user_id))

    def stop_views(self) -> None:
        """Show no more events. The turns continue for their owner."""
        for leave in self.leaves:
            leave.now()

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
                await self.send_error(exc)
                return
        if self.principal is None:
            await self.enter(self.by_first_frame(frame))
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
                await self.send_frame({"type": "pong"} if ref is None else {"type": "pong", "ref": ref})
            elif self.running >= MOST_VIEWS:
                raise RateLimited("Too much is going on on this socket.", retry_after=1)
            else:
                self.spawn(self._guarded(model, frame, ref))
        except AppError as exc:
            await self.send_error(exc, ref)

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
                await self.send_error(exc, ref, message_id if isinstance(message_id, str) and len(message_id) < 50 else None)
        except Exception:
            logger.exception("frame_failed")
            await self.send_error(AppError(), ref)

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
                await self.send_frame(frame)
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
        await self.send_frame({"type": "ack", "ref": frame.ref, **ids, "user_message_id": str(turn.opened.question.id)})
        await self._show(turn.message_id, turn.view(-1, leave), leave, frame.ref)

    async def _cancel(self, frame: CancelFrame) -> None:
        assert self.principal
        answer = await turns.cancel(self.principal, frame.message_id)
        await self.send_frame({"type": "ack", "ref": frame.ref, "message_id": str(frame.message_id), "status": answer["status"]})

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
                    await self.send_raw(b'{"type":"%b"%b%b,%b' % (kind.encode(), place, more, data[1:]))
        finally:
            self.leaves.discard(leave)
