"""The frames that a client sends over the chat's WebSocket."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from aiagents.core.errors import InvalidRequest
from aiagents.core.validation import Id, RequestModel, Whole, names, parse
from chat.turn_request import SendRequest


class AuthFrame(RequestModel):
    """The first frame of a client that did not sign in by header or ticket."""

    type: Literal["auth"]
    token: str = Field(pattern="^[!-~]+$")


class Frame(RequestModel):
    """What all other frames have: answers to a frame carry its `ref`."""

    ref: Annotated[str, Field(max_length=200)] | None = None


class SendFrame(SendRequest, Frame):
    """Start a turn and view it."""

    type: Literal["send"]

    def _given(self) -> dict[str, Any]:
        return {name: value for name, value in super()._given().items() if name not in ("type", "ref")}


class CancelFrame(Frame):
    """Stop a turn."""

    type: Literal["cancel"]
    message_id: Id


class ResumeFrame(Frame):
    """View a turn from the event after `after` on; from the first by default."""

    type: Literal["resume"]
    message_id: Id
    after: Annotated[int, Field(ge=-1, le=2**31 - 1), Whole] = -1


class PingFrame(Frame):
    """Get a frame `pong`."""

    type: Literal["ping"]


FRAMES: dict[str, type[Frame]] = {"send": SendFrame, "cancel": CancelFrame, "resume": ResumeFrame, "ping": PingFrame}
# The fields of each frame beside `type` and `ref`.
FIELDS = {kind: names(model) - {"type", "ref"} for kind, model in FRAMES.items()}
AUTH_FIELDS = names(AuthFrame)


def ref_of(frame: dict[str, Any]) -> str | None:
    """The frame's `ref`. Raises InvalidRequest if it is not a short text."""
    return parse(Frame, {"ref": frame.get("ref")}).ref


def model_of(frame: dict[str, Any]) -> type[Frame]:
    """The model of the frame's type. Raises InvalidRequest for another type."""
    kind = frame.get("type")
    if not isinstance(kind, str) or kind not in FRAMES:
        raise InvalidRequest(f"A frame's type is one of {', '.join(FRAMES)}.", param="type", code="unknown_frame")
    return FRAMES[kind]
