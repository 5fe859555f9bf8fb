"""A conversation's endpoints beside Django, as the OpenAPI document shows them."""

from __future__ import annotations

from typing import Any

from django.conf import settings

from aiagents.core.drf import request_models
from aiagents.core.drf.schema import REFUSALS
from aiagents.core.http.sse import SCHEMA as EVENT
from aiagents.core.validation import RequestModel
from chat.api.openapi_route import ROUTE
from chat.turn_request import EditRequest, RegenerateRequest, SendRequest

JSON = dict[str, Any]


def _string(**more: Any) -> JSON:
    return {"type": "string", **more}


_UUID = _string(format="uuid")
_REFUSALS = {
    "content": "an image's or file's bytes are not what `media_type` says or not base64, a url is not allowed, or all texts are blank",
    "metadata": "it is larger than it may be",
    "max_cost_usd": "it is more than may be asked for",
    "model": "the model cannot be used any more, or cannot do what is asked",
    "fallbacks": "a model is unknown or cannot be used any more",
    "parent_id": "the message above is not an answer, or belongs to another conversation",
}
_MESSAGE: JSON = {"$ref": "#/components/schemas/Message"}
_ANSWER: JSON = {"type": "object", "properties": {"conversation_id": _UUID, "user_message": _MESSAGE, "message": _MESSAGE}}
_ERROR: JSON = {"description": "the error object", "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}}}
_ERRORS = {str(status): _ERROR for status in (400, 401, 402, 403, 404, 409, 413, 429, 502, 503)}
REWIND = (
    "Each event is stored in the event log within about 30 ms, plus the time of the write. A reader is never more than "
    f"{settings.TURN_LOG_MOST_AHEAD} events ahead of that log while it can be written; while it cannot, the text is stored every "
    f"{settings.PROGRESS_INTERVAL_SECONDS:g} s. If the server process dies, no more than that is lost of what a reader has seen. "
    "A client that re-attaches after an event that was lost gets `message.rewind` before anything else: `seq` is the last event that "
    "stands (-1: none), `length` the number of characters (Unicode code points) of all `content.delta` texts up to it, "
    "`reasoning_length` the same of `reasoning.delta`, `steps` the number of `tool.call` and `tool.result` events. The client cuts what "
    "it shows to that; the events after `seq` follow."
)
_EVENTS: JSON = {
    "description": (
        "message.start, route.fallback, content.delta, reasoning.delta, tool.call, tool.result; ends with message.end or error. "
        f"On re-attaching message.rewind may come first. {REWIND}"
    ),
    "content": {"text/event-stream": {"schema": EVENT}},
}
_KEY: JSON = {"name": "Idempotency-Key", "in": "header", "schema": _string(minLength=1, maxLength=255, pattern="^[!-~]+$")}
_ID: JSON = {"name": "id", "in": "path", "required": True, "schema": _UUID}


def _json(schema: JSON) -> JSON:
    return {"content": {"application/json": {"schema": schema}}}


def _operation(name: str, summary: str, *, body: type[RequestModel] | None, ok: JSON, parameters: list[JSON]) -> JSON:
    found: JSON = {"operationId": f"chat_{name}", "summary": summary, "responses": {"200": ok, **_ERRORS}}
    if parameters:
        found["parameters"] = parameters
    if body is not None:
        found[REFUSALS] = _REFUSALS
        found["requestBody"] = request_models.body(body)
    return found


_WHOLE: JSON = {"description": "the turn", **_json(_ANSWER)}
_EITHER: JSON = {
    "description": "the turn, whole or (Accept: text/event-stream) as events",
    "content": {**_WHOLE["content"], **_EVENTS["content"]},
}
_SEQ: JSON = {"type": "integer", "minimum": -1, "maximum": 999_999_999}
_LAST: JSON = {"name": "Last-Event-ID", "in": "header", "schema": _SEQ, "description": "resume after this event"}
_AFTER: JSON = {"name": "after", "in": "query", "schema": _SEQ, "description": "the same, where headers cannot be set"}
_CANCELLED: JSON = {"description": "the message as it ended", **_json({"type": "object", "properties": {"message": _MESSAGE}})}
_ROUTE: JSON = {"description": "every candidate with its probability, cost, time and value, and the reason", **_json(ROUTE)}

OPERATIONS: dict[str, JSON] = {
    "send": _operation("send", "One turn, answered whole", body=SendRequest, ok=_WHOLE, parameters=[_KEY]),
    "stream": _operation("stream", "The same turn as Server-Sent Events", body=SendRequest, ok=_EVENTS, parameters=[_KEY]),
    "reattach": _operation("reattach", "Re-attach to a turn, or replay it", body=None, ok=_EVENTS, parameters=[_ID, _LAST, _AFTER]),
    "cancel": _operation(
        "cancel", "Stop writing; what was written is kept, what was used is charged", body=None, ok=_CANCELLED, parameters=[_ID]
    ),
    "regenerate": _operation(
        "regenerate", "Another answer to the same question", body=RegenerateRequest, ok=_EITHER, parameters=[_ID, _KEY]
    ),
    "edit": _operation(
        "edit", "Another question in this one's place, with its answer", body=EditRequest, ok=_EITHER, parameters=[_ID, _KEY]
    ),
    "route": _operation("route", "Which model would answer, and why; nothing is called", body=SendRequest, ok=_ROUTE, parameters=[]),
}
