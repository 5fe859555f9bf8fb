"""A conversation's endpoints beside Django, as the OpenAPI document shows them."""

from __future__ import annotations

from typing import Any

from django.conf import settings

from agents.routing.candidates import GOALS
from aiagents.core.drf.schema import MONEY, REFUSALS
from aiagents.core.http.sse import SCHEMA as EVENT
from chat import content_parts, turn_request
from chat.api.openapi_route import ROUTE

JSON = dict[str, Any]


def _string(**more: Any) -> JSON:
    return {"type": "string", **more}


_UUID = _string(format="uuid")
_OBJECT: JSON = {"type": "object", "additionalProperties": True}
_DATA = _string(minLength=1, contentEncoding="base64")


def _part(kind: str, required: list[str], **properties: JSON) -> JSON:
    return {
        "type": "object",
        "additionalProperties": False,
        "required": ["type", *required],
        "properties": {"type": _string(enum=[kind]), **properties},
    }


_PART: JSON = {
    "oneOf": [
        _part("text", ["text"], text=_string(maxLength=content_parts.MOST_TEXT)),
        _part("image", ["url"], url=_string(format="uri")),
        _part("image", ["data", "media_type"], data=_DATA, media_type=_string(enum=["image/png", "image/jpeg", "image/gif", "image/webp"])),
        _part("file", ["data", "media_type"], data=_DATA, media_type=_string(), name=_string(minLength=1, maxLength=255)),
    ]
}
_MODEL: JSON = _string(minLength=1, maxLength=100, pattern=r"\S")
_OPTIONS: JSON = {
    "model": {**_MODEL, "description": "`auto`, `auto:goal` or a model id"},
    "goal": _string(enum=list(GOALS)),
    "agent_id": _string(
        format="uuid",
        description=(
            "The agent that answers. Its model, goal, tools and limits hold; what it leaves open (`auto`, no goal) the request decides. "
            "`system_prompt` is added after the agent's; `temperature` and `max_output_tokens` replace the agent's; of two "
            "`max_cost_usd` the smaller holds."
        ),
    ),
    "system_prompt": _string(maxLength=turn_request.MOST_SYSTEM_PROMPT),
    "temperature": {"type": "number", "minimum": 0, "maximum": 2},
    "max_output_tokens": {"type": "integer", "minimum": 1, "maximum": turn_request.MOST_OUTPUT_TOKENS},
    "max_cost_usd": {**MONEY, "description": "US dollars"},
    "fallbacks": {"type": "array", "maxItems": turn_request.MOST_FALLBACKS, "items": _MODEL},
    "metadata": {**_OBJECT, "description": f"at most {turn_request.MOST_METADATA_BYTES} bytes as JSON"},
}
# null is as if the field were not there.
_OPTIONS = {name: {"anyOf": [schema, {"type": "null"}]} for name, schema in _OPTIONS.items()}
_ID_OR_NULL: JSON = {"anyOf": [_UUID, {"type": "null"}]}
_CONTENT: JSON = {
    "oneOf": [
        _string(minLength=1, maxLength=content_parts.MOST_TEXT, pattern=r"\S"),
        {"type": "array", "minItems": 1, "maxItems": content_parts.MOST_PARTS, "items": _PART},
    ]
}
_REFUSALS = {
    "content": "an image's or file's bytes are not what `media_type` says or not base64, a url is not allowed, or all texts are blank",
    "metadata": "it is larger than it may be",
    "max_cost_usd": "it is more than may be asked for",
    "model": "the model cannot be used any more, or cannot do what is asked",
    "fallbacks": "a model is unknown or cannot be used any more",
    "parent_id": "the message above is not an answer, or belongs to another conversation",
}
_SEND: JSON = {
    "type": "object",
    "required": ["content"],
    "additionalProperties": False,
    "properties": {"content": _CONTENT, "conversation_id": _ID_OR_NULL, "parent_id": _ID_OR_NULL, **_OPTIONS},
}
_EDIT: JSON = {**_SEND, "properties": {"content": _CONTENT, **_OPTIONS}}
_REGENERATE: JSON = {
    "type": "object",
    "additionalProperties": False,
    "properties": {
        **_OPTIONS,
        "continue": {"type": ["boolean", "null"], "description": "begin with the text that is there and go on from it"},
    },
}
_MESSAGE: JSON = {"$ref": "#/components/schemas/Message"}
_ANSWER: JSON = {"type": "object", "properties": {"conversation_id": _UUID, "user_message": _MESSAGE, "message": _MESSAGE}}
_ERROR: JSON = {"description": "the error object", "content": {"application/json": {"schema": _OBJECT}}}
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


def _operation(name: str, summary: str, *, body: JSON | None, ok: JSON, parameters: list[JSON]) -> JSON:
    found: JSON = {"operationId": f"chat_{name}", "summary": summary, "responses": {"200": ok, **_ERRORS}}
    if parameters:
        found["parameters"] = parameters
    if body is not None:
        found[REFUSALS] = _REFUSALS
        found["requestBody"] = {"required": True, **_json(body)}
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
    "send": _operation("send", "One turn, answered whole", body=_SEND, ok=_WHOLE, parameters=[_KEY]),
    "stream": _operation("stream", "The same turn as Server-Sent Events", body=_SEND, ok=_EVENTS, parameters=[_KEY]),
    "reattach": _operation("reattach", "Re-attach to a turn, or replay it", body=None, ok=_EVENTS, parameters=[_ID, _LAST, _AFTER]),
    "cancel": _operation(
        "cancel", "Stop writing; what was written is kept, what was used is charged", body=None, ok=_CANCELLED, parameters=[_ID]
    ),
    "regenerate": _operation("regenerate", "Another answer to the same question", body=_REGENERATE, ok=_EITHER, parameters=[_ID, _KEY]),
    "edit": _operation("edit", "Another question in this one's place, with its answer", body=_EDIT, ok=_EITHER, parameters=[_ID, _KEY]),
    "route": _operation("route", "Which model would answer, and why; nothing is called", body=_SEND, ok=_ROUTE, parameters=[]),
}
