"""The endpoint that starts runs, in the OpenAPI document."""

from __future__ import annotations

from typing import Any

from agents.api.run_request import RunRequest
from aiagents.core.drf import request_models
from aiagents.core.drf.schema import REFUSALS
from aiagents.core.http.sse import SCHEMA as EVENT

JSON = dict[str, Any]
_RUN: JSON = {"$ref": "#/components/schemas/AgentRun"}
_WAITS = "Parked: tool calls wait for a person. Approve or reject them under `runs/{id}`; the run then continues by itself."
_EVENTS: JSON = {
    **EVENT,
    "description": (
        "message.start (message_id and run_id: the run's id; model, provider, route), content.delta, reasoning.delta, "
        "tool.call (with needs_approval and run_id if it waits for a person), "
        "tool.result, route.fallback; ends with message.end (the run) or error; "
        "a stream of more than 8 MiB ends with the error `stream_too_long`, its run goes on and is read at `details.read`"
    ),
}
RUN: JSON = {
    "operationId": "agents_run",
    "summary": "Run an agent, whole or streamed",
    "description": (
        "One run of an agent that you own or that is shared with you, charged to you. It continues after a disconnect; `GET runs/{id}` "
        "shows it with all its steps. `finish_reason` states how it ended: `stop`, `length`, `content_filter`, or at a limit of the agent: "
        "`max_steps`, `max_cost`, `max_seconds`."
    ),
    "parameters": [
        {"name": "id", "in": "path", "required": True, "schema": {"type": "string", "format": "uuid"}},
        {"name": "Idempotency-Key", "in": "header", "schema": {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[!-~]+$"}},
    ],
    "requestBody": request_models.body(RunRequest),
    REFUSALS: {"max_cost_usd": "it is more than may be requested", "input": "the agent's model cannot read so much"},
    "responses": {
        "200": {
            "description": "The run, ended.",
            "content": {"application/json": {"schema": _RUN}, "text/event-stream": {"schema": _EVENTS}},
        },
        "202": {"description": _WAITS, "content": {"application/json": {"schema": _RUN}}},
        **{
            status: {"description": text, "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}}}
            for status, text in (
                ("402", "A budget or a limit is too small for the first model call."),
                ("502", "The model's vendor failed; `details.run_id` names the run."),
                ("503", "No model could answer, or a part of the service is unavailable."),
            )
        },
    },
}
_SEQ: JSON = {"type": "integer", "minimum": -1}
EVENTS: JSON = {
    "operationId": "agents_run_events",
    "summary": "Follow a run, or replay it",
    "description": (
        "The events of one of your runs, served by any process. While the run goes on and for an hour after: every event, once and in "
        "order. Later, and for a run of a chat or a task: its start and its end, which holds the whole run. A run that waits for a "
        "person ends the stream with `message.end` and the status `waiting_approval`; ask again to follow it further. "
        "Where fewer events stand than `Last-Event-ID` names, because the process died, `message.rewind` comes first."
    ),
    "parameters": [
        {"name": "id", "in": "path", "required": True, "schema": {"type": "string", "format": "uuid"}},
        {"name": "Last-Event-ID", "in": "header", "schema": _SEQ, "description": "go on after this event"},
        {"name": "after", "in": "query", "schema": _SEQ, "description": "the same, where headers cannot be set"},
    ],
    "responses": {"200": {"description": "events", "content": {"text/event-stream": {"schema": _EVENTS}}}},
}
