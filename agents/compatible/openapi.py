"""The compatible APIs in the OpenAPI document. It describes only the main fields of the vendors' bodies."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from agents.compatible import openai_embeddings
from agents.compatible.anthropic_messages import request as anthropic_request
from agents.compatible.google_generate import embeddings as google_embeddings
from agents.compatible.google_generate import request as google_request
from agents.compatible.openai_chat import request as openai_request
from agents.compatible.openai_responses import request as responses_request
from agents.routing.candidates import GOALS
from aiagents.core.drf.schema import REFUSALS
from aiagents.core.http.sse import SCHEMA as EVENT

JSON = dict[str, Any]


# Why a body that fits this schema may still be refused: the schema holds only the main fields.
_REFUSALS: JSON = {
    "*": "the vendor's own API describes its fields in full; a value that it would refuse, and a field that cannot be honoured, is refused"
}


def _body(required: list[str], properties: JSON, known: Iterable[str], *, open_ended: bool = False) -> JSON:
    """Return a request body. `known` are the accepted fields; every other field is refused, unless it is `open_ended`."""
    schema = {
        "type": "object",
        "additionalProperties": open_ended,
        "required": required,
        "properties": {name: {} for name in sorted(known)} | properties,
    }
    return {"required": True, "content": {"application/json": {"schema": schema}}}


def _answers(description: str, *, streamed: bool = False) -> JSON:
    content: JSON = {"application/json": {"schema": {"type": "object", "additionalProperties": True}}}
    if streamed:
        content["text/event-stream"] = {"schema": EVENT}
    errors = {
        "400": "Invalid request",
        "401": "No valid key",
        "403": "The key may not do this",
        "404": "No such model",
        "409": "The Idempotency-Key was used for another request, or its first request still runs",
        "413": "The body is too large",
        "429": "Too many requests",
        "503": "No model could answer",
        "default": "Any other error",
    }
    vendor = {
        "schema": {"type": "object", "properties": {"error": {"type": "object", "additionalProperties": True}}, "required": ["error"]}
    }
    return {"200": {"description": description, "content": content}} | {
        status: {"description": f"{text}, in the vendor's own error shape", "content": {"application/json": vendor}}
        for status, text in errors.items()
    }


_MODEL = {"type": "string", "description": f"a model id, `auto`, or `auto:{'|'.join(GOALS)}`"}
_LIST = {"type": "array", "items": {"type": "object", "additionalProperties": True}}
_MESSAGES = {**_LIST, "minItems": 1}
_RESPONSE_ID = {"name": "response", "in": "path", "required": True, "schema": {"type": "string"}}
_STREAM = {"type": "boolean", "default": False}

_PATH_MODEL = {"name": "model", "in": "path", "required": True, "schema": {"type": "string"}}
_GEMINI = (
    "google-genai and other clients of Gemini work with their base URL set to this server. The key stands in `x-goog-api-key`. "
    "Google's models get the body as it came, fields that this document does not name included, and the answer comes back as it came."
)

OPERATIONS: dict[str, JSON] = {
    "chat_completions": {
        "operationId": "v1_chat_completions",
        "summary": "OpenAI's chat completions",
        "description": (
            "Any OpenAI client works with its base URL set to this server's `/v1`. `fallbacks` (model ids) and `max_cost_usd` are ours. "
            "OpenAI's models at this endpoint, and compatible servers that staff chose for it, get the body as it came, fields that this "
            "document does not name included, and the answer comes back as it came, apart from the model's name."
        ),
        "requestBody": _body(
            ["model", "messages"],
            {
                "model": _MODEL, "messages": _MESSAGES, "stream": _STREAM, "tools": _LIST,
                "max_completion_tokens": {"type": "integer", "minimum": 1}, "temperature": {"type": "number", "minimum": 0, "maximum": 2},
                "n": {"type": "integer", "minimum": 1, "maximum": 8},
                "fallbacks": {"type": "array", "items": {"type": "string"}}, "max_cost_usd": {"type": "string"},
            },
            openai_request.FIELDS,
            open_ended=True,
        ),
        "responses": _answers("A chat completion, or its chunks", streamed=True),
    },
    "embeddings": {
        "operationId": "v1_embeddings",
        "summary": "OpenAI's embeddings",
        "description": (
            "Vectors of texts, by a model of the kind `embeddings` (see /v1/models). The model is named, there is no `auto`: vectors of "
            "different models cannot be compared. For the same reason `fallbacks` (ours) may only name the same model at another "
            "connection. Tokens in place of text are read by OpenAI's models and compatible servers. At most 2,048 inputs."
        ),
        "requestBody": _body(
            ["model", "input"],
            {
                "model": {"type": "string", "description": "an embedding model's id", "examples": ["text-embedding-3-small"]},
                "input": {"oneOf": [{"type": "string", "minLength": 1}, {"type": "array", "items": {}, "minItems": 1, "maxItems": 2048}]},
                "encoding_format": {"enum": ["float", "base64"], "default": "float"},
                "dimensions": {"type": "integer", "minimum": 1, "maximum": 65536}, "user": {"type": "string"},
                "fallbacks": {"type": "array", "items": {"type": "string"}}, "max_cost_usd": {"type": "string"},
            },
            openai_embeddings.FIELDS,
        ),
        "responses": _answers("A list of embeddings in the order of the inputs, and the tokens they took"),
    },
    "responses": {
        "operationId": "v1_responses",
        "summary": "OpenAI's responses",
        "description": (
            "Answers are kept for a while for their user (`RESPONSES_KEPT_SECONDS` after their last use), unless `store` is false. Later "
            "requests refer to them by `previous_response_id`, or to their items by `item_reference`. `conversation`, `background` and "
            "`prompt` are refused, with a hint what to do instead."
        ),
        "requestBody": _body(
            ["model", "input"],
            {"model": _MODEL, "input": {"oneOf": [{"type": "string", "minLength": 1}, _MESSAGES]}, "stream": _STREAM},
            responses_request.FIELDS,
            open_ended=True,
        ),
        "responses": _answers("A response, or its events", streamed=True),
    },
    "response_detail": {
        "operationId": "v1_response", "summary": "A response that was kept", "parameters": [_RESPONSE_ID],
        "responses": _answers("The response as its client got it"),
    },
    "response_delete": {
        "operationId": "v1_response_delete", "summary": "Delete a response that was kept, with its output items",
        "parameters": [_RESPONSE_ID],
        "responses": _answers("Its id, and `deleted: true`"),
    },
    "messages": {
        "operationId": "v1_messages",
        "summary": "Anthropic's messages",
        "description": (
            "Any Anthropic client works with its base URL set to this server. Anthropic's models get the body as it came, fields that "
            "this document does not name included, and the answer comes back as it came, apart from the model's name."
        ),
        "requestBody": _body(
            ["model", "max_tokens", "messages"],
            {"model": _MODEL, "max_tokens": {"type": "integer", "minimum": 1}, "messages": _MESSAGES, "stream": _STREAM, "tools": _LIST},
            anthropic_request.FIELDS,
            open_ended=True,
        ),
        "responses": _answers("A message, or its events", streamed=True) | {"402": {"description": "The budget is spent (billing_error)"}},
    },
    "count_tokens": {
        "operationId": "v1_messages_count_tokens",
        "summary": "How many input tokens a message would have",
        "description": (
            "Free of charge. Anthropic and Google count the prompts of their models themselves; OpenAI's are counted with their "
            "tokenizer, all others are estimated. The header `x-aiagents-counted-by` says which: vendor, tokenizer or estimate."
        ),
        "requestBody": _body(["model", "messages"], {"model": _MODEL, "messages": _MESSAGES}, anthropic_request.FIELDS),
        "responses": _answers("The count"),
    },
    "input_tokens": {
        "operationId": "v1_responses_input_tokens",
        "summary": "How many input tokens a response would have",
        "description": "Free of charge, counted as at `/v1/messages/count_tokens`. Without a model OpenAI's present tokenizer counts.",
        "requestBody": _body(
            [], {"model": _MODEL, "input": {"oneOf": [{"type": "string"}, _LIST]}}, responses_request.FIELDS, open_ended=True
        ),
        "responses": _answers("The count"),
    },
    "generateContent": {
        "operationId": "gemini_generate_content",
        "summary": "Gemini's generateContent",
        "description": _GEMINI,
        "parameters": [_PATH_MODEL],
        "requestBody": _body(["contents"], {"contents": _MESSAGES, "tools": _LIST}, google_request.FIELDS, open_ended=True),
        "responses": _answers("A response with one candidate"),
    },
    "streamGenerateContent": {
        "operationId": "gemini_stream_generate_content",
        "summary": "Gemini's streamGenerateContent",
        "description": _GEMINI + " Without `alt=sse` the answer is one JSON array that grows.",
        "parameters": [_PATH_MODEL, {"name": "alt", "in": "query", "schema": {"enum": ["sse", "json"], "default": "json"}}],
        "requestBody": _body(["contents"], {"contents": _MESSAGES, "tools": _LIST}, google_request.FIELDS, open_ended=True),
        "responses": _answers("The response's chunks", streamed=True),
    },
    "countTokens": {
        "operationId": "gemini_count_tokens",
        "summary": "How many input tokens a request would have",
        "description": "Free of charge. The body holds `contents`, or a whole request as `generateContentRequest`.",
        "parameters": [_PATH_MODEL],
        "requestBody": _body([], {"contents": _MESSAGES}, {"generateContentRequest"}, open_ended=True),
        "responses": _answers("The count"),
    },
    "embedContent": {
        "operationId": "gemini_embed_content",
        "summary": "Gemini's embedContent",
        "parameters": [_PATH_MODEL],
        "requestBody": _body(["content"], {"content": {"type": "object", "additionalProperties": True}}, google_embeddings.FIELDS),
        "responses": _answers("One vector"),
    },
    "batchEmbedContents": {
        "operationId": "gemini_batch_embed_contents",
        "summary": "Gemini's batchEmbedContents",
        "parameters": [_PATH_MODEL],
        "requestBody": _body(["requests"], {"requests": _MESSAGES}, ()),
        "responses": _answers("A vector for each request"),
    },
    "google_model_list": {
        "operationId": "gemini_models",
        "summary": "The models, as Google's clients read them",
        "parameters": [
            {"name": "pageSize", "in": "query", "schema": {"type": "integer", "minimum": 0, "maximum": 999_999_999}},
            {"name": "pageToken", "in": "query", "schema": {"type": "string", "pattern": "^[0-9]{0,9}$"}},
        ],
        "responses": _answers("A page of the list"),
    },
    "google_model_detail": {
        "operationId": "gemini_model",
        "summary": "One model, as Google's clients read it",
        "parameters": [_PATH_MODEL],
        "responses": _answers("The model"),
    },
    "model_list": {"operationId": "v1_models", "summary": "The models that may be requested", "responses": _answers("The list")},
    "model_detail": {
        "operationId": "v1_model",
        "summary": "One model",
        "parameters": [_PATH_MODEL],
        "responses": _answers("The model"),
    },
}  # fmt: skip
for _operation in OPERATIONS.values():
    if "requestBody" in _operation:
        _operation[REFUSALS] = _REFUSALS


def gemini_operation(method: str, version: str) -> dict[str, object]:
    """Return the operation of one of Gemini's methods under a version of its API."""
    return {**OPERATIONS[method], "operationId": f"{OPERATIONS[method]['operationId']}_{version}"}
