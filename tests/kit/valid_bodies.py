"""A body for every endpoint that reads one, with each of its nested values present, and frames of the chat's WebSocket likewise.

What these hold is what the generated tests replace, node by node. An endpoint that is missing here fails the suite.
"""

from __future__ import annotations

import re
from typing import Any

# The id of no row; as tests/kit/endpoints.py has it, which needs Django.
RANDOM_ID = "01890000-0000-7000-8000-000000000000"

PNG = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
_SCHEMA = {"type": "object", "properties": {"city": {"type": "string", "enum": ["Oslo"]}}, "required": ["city"]}
_OPTIONS = {
    "model": "auto", "goal": "balanced", "system_prompt": "Be brief.", "temperature": 0.5, "max_output_tokens": 100,
}  # fmt: skip
_PARTS = [
    {"type": "text", "text": "Hello"},
    {"type": "image", "media_type": "image/png", "data": PNG},
    {"type": "image", "url": "https://example.com/a.png"},
    {"type": "file", "media_type": "text/plain", "name": "a.txt", "data": "aGk="},
]
TURN = {
    "content": _PARTS, **_OPTIONS, "max_cost_usd": "0.5", "fallbacks": ["gpt-4o-mini"], "metadata": {"a": {"b": [1, "c"]}},
}  # fmt: skip
_AGENT = {
    "name": "x", "description": "", "system_prompt": "Be brief.", "model": "auto", "goal": "balanced",
    "parameters": {"temperature": 0.5, "top_p": 1, "max_output_tokens": 100, "reasoning_effort": "low", "stop": ["END"]},
    "tools": [{"name": "calculator"}], "max_steps": 3, "max_cost_usd": "0.5", "max_seconds": 60, "visibility": "private",
}  # fmt: skip
_TASK = {
    "name": "x", "description": "", "input": "Hello {who}", "variables": {"who": "you"}, "system_prompt": "", "model": "auto",
    "goal": "balanced", "parameters": {"temperature": 0.5, "top_p": 1, "max_output_tokens": 100, "stop": ["END"]},
    "schedule": {"type": "interval", "every_seconds": 3600}, "max_retries": 1, "retry_seconds": 30, "max_seconds": 60,
    "max_cost_usd": "0.5",
}  # fmt: skip
_CHAT_COMPLETION = {
    "model": "gpt-4o-mini",
    "messages": [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": [
            {"type": "text", "text": "Hello"},
            {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PNG}"}},
            {"type": "file", "file": {"file_data": "data:text/plain;base64,aGk=", "filename": "a.txt"}},
        ]},
        {"role": "assistant", "content": "", "tool_calls": [
            {"id": "c1", "type": "function", "function": {"name": "weather", "arguments": '{"city":"Oslo"}'}}]},
        {"role": "tool", "tool_call_id": "c1", "content": "rain"},
    ],
    "tools": [{"type": "function", "function": {"name": "weather", "description": "", "parameters": _SCHEMA, "strict": True}}],
    "tool_choice": {"type": "function", "function": {"name": "weather"}}, "parallel_tool_calls": True, "temperature": 1, "top_p": 1, "n": 1,
    "stop": ["END"], "seed": 1, "max_completion_tokens": 10, "reasoning_effort": "low", "stream_options": {"include_usage": True},
    "response_format": {"type": "json_schema", "json_schema": {"name": "a", "schema": _SCHEMA, "strict": True}},
    "logit_bias": {"1": 5}, "presence_penalty": 0, "frequency_penalty": 0, "user": "u", "modalities": ["text"], "metadata": {"a": "b"},
    "fallbacks": ["gpt-4o"], "max_cost_usd": "0.5",
}  # fmt: skip
_MESSAGE = {
    "model": "claude-haiku-4-5", "max_tokens": 10, "system": [{"type": "text", "text": "Be brief."}],
    "messages": [
        {"role": "user", "content": [
            {"type": "text", "text": "Hello"},
            {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PNG}},
            {"type": "document", "source": {"type": "text", "data": "Hi"}, "title": "t"},
        ]},
        {"role": "assistant", "content": [
            {"type": "thinking", "thinking": "Hm", "signature": "s"},
            {"type": "tool_use", "id": "c1", "name": "weather", "input": {"city": "Oslo", "days": [1]}}]},
        {"role": "user", "content": [
            {"type": "tool_result", "tool_use_id": "c1", "content": [{"type": "text", "text": "rain"}], "is_error": False}]},
    ],
    "tools": [{"name": "weather", "description": "", "input_schema": _SCHEMA}],
    "tool_choice": {"type": "tool", "name": "weather", "disable_parallel_tool_use": True}, "temperature": 1, "top_p": 1,
    "stop_sequences": ["END"], "metadata": {"user_id": "u"}, "thinking": {"type": "enabled", "budget_tokens": 2000},
    "output_config": {"effort": "low", "format": {"type": "json_schema", "schema": _SCHEMA}},
}  # fmt: skip
_GENERATE = {
    "contents": [
        {"role": "user", "parts": [{"text": "Hello"}, {"inlineData": {"mimeType": "image/png", "data": "iVBORw0KGgo="}}]},
        {"role": "model", "parts": [{"functionCall": {"id": "c1", "name": "read", "args": {"path": "a"}}, "thoughtSignature": "c2ln"}]},
        {"role": "user", "parts": [{"functionResponse": {"id": "c1", "name": "read", "response": {"result": "b"}}}]},
    ],
    "systemInstruction": {"parts": [{"text": "Be brief."}]},
    "tools": [{"functionDeclarations": [
        {"name": "read", "description": "Reads", "parameters": {"type": "OBJECT", "properties": {"path": {"type": "STRING"}}}},
    ]}],
    "toolConfig": {"functionCallingConfig": {"mode": "AUTO"}},
    "generationConfig": {
        "temperature": 1, "topP": 1, "maxOutputTokens": 10, "stopSequences": ["x"], "responseMimeType": "application/json",
        "responseSchema": {"type": "OBJECT", "properties": {"a": {"type": "STRING"}}}, "thinkingConfig": {"thinkingBudget": 0},
    },
    "safetySettings": [{"category": "HARM_CATEGORY_HARASSMENT", "threshold": "BLOCK_NONE"}],
}  # fmt: skip
_EMBED = {"content": {"parts": [{"text": "Hello"}]}, "taskType": "RETRIEVAL_QUERY", "outputDimensionality": 8}
_RESPONSE = {
    "model": "gpt-4o-mini", "instructions": "Be brief.", "max_output_tokens": 10, "temperature": 1, "top_p": 1,
    "input": [
        {"type": "message", "role": "user", "content": [
            {"type": "input_text", "text": "Hello"},
            {"type": "input_image", "image_url": f"data:image/png;base64,{PNG}"},
            {"type": "input_file", "file_data": "data:text/plain;base64,aGk=", "filename": "a.txt"}]},
        {"type": "function_call", "call_id": "c1", "name": "weather", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "c1", "output": [{"type": "input_text", "text": "rain"}]},
    ],
    "tools": [{"type": "function", "name": "weather", "description": "", "parameters": _SCHEMA, "strict": True}],
    "tool_choice": {"type": "function", "name": "weather"}, "parallel_tool_calls": True, "reasoning": {"effort": "low"},
    "text": {"format": {"type": "json_schema", "name": "a", "schema": _SCHEMA, "strict": True}}, "metadata": {"a": "b"},
}  # fmt: skip
_API, _AUTH, _CHAT, _TASKS, _AGENTS = "/api/v1/", "/api/v1/auth/", "/api/v1/chat/", "/api/v1/tasks/", "/api/v1/agents/"
_PASSWORD = "correct horse battery staple"
_DECISION = {"call_id": "call_1", "reason": "no"}
BODIES: dict[str, dict[str, Any]] = {
    f"PUT {_API}admin/budgets": {"scope": "user", "scope_id": RANDOM_ID, "limit_usd": "5", "time_zone": "UTC"},
    f"PATCH {_API}admin/users/{{id}}": {"role": "user", "is_active": True, "monthly_budget_usd": "5"},
    f"POST {_AGENTS}": _AGENT,
    f"PUT {_AGENTS}{{pk}}": _AGENT,
    f"PATCH {_AGENTS}{{pk}}": _AGENT,
    f"POST {_AGENTS}{{id}}/run": {"input": "Hello", "stream": False, "max_cost_usd": "0.5"},
    f"POST {_AGENTS}runs/{{pk}}/approve": _DECISION,
    f"POST {_AGENTS}runs/{{pk}}/reject": _DECISION,
    f"POST {_AUTH}api-keys": {
        "name": "x", "scopes": ["chat"], "expires_at": "2100-01-01T00:00:00Z", "rate_limit": 5, "monthly_budget_usd": "5",
    },
    f"POST {_AUTH}login": {"email": "a@example.com", "password": _PASSWORD},
    f"POST {_AUTH}logout": {"refresh": "x"},
    f"POST {_AUTH}password": {"current_password": "wrong", "new_password": _PASSWORD, "revoke_api_keys": False},
    f"POST {_AUTH}password-link": {"token": "x", "new_password": _PASSWORD, "revoke_api_keys": False},
    f"PATCH {_AUTH}profile": {"name": "Ann", "preferences": {"time_zone": "UTC", "default_model": "auto", "goal": "balanced"}},
    f"POST {_AUTH}refresh": {"refresh": "x"},
    f"POST {_AUTH}register": {"email": "new@example.com", "password": _PASSWORD, "name": "New"},
    f"PUT {_API}billing/alerts": {"enabled": True, "by_email": True, "thresholds": [80]},
    f"POST {_API}billing/alerts/read": {"ids": [RANDOM_ID]},
    f"PUT {_API}billing/budgets": {"scope": "agent", "scope_id": RANDOM_ID, "limit_usd": "5"},
    f"POST {_CHAT}conversations": {"title": "x", "pinned": True, "archived": False, "settings": _OPTIONS},
    f"PATCH {_CHAT}conversations/{{pk}}": {"title": "x", "pinned": True, "archived": False, "settings": _OPTIONS},
    f"POST {_CHAT}messages/{{id}}/edit": TURN,
    f"POST {_CHAT}messages/{{id}}/feedback": {"rating": "up", "comment": "good"},
    f"POST {_CHAT}messages/{{id}}/regenerate": {**_OPTIONS, "fallbacks": ["gpt-4o-mini"], "metadata": {"a": [1]}, "continue": False},
    f"POST {_CHAT}route": TURN,
    f"POST {_CHAT}send": TURN,
    f"POST {_CHAT}stream": TURN,
    f"POST {_TASKS}": _TASK,
    f"PUT {_TASKS}{{pk}}": _TASK,
    f"PATCH {_TASKS}{{pk}}": _TASK,
    f"POST {_TASKS}{{pk}}/run": {"variables": {"who": "you"}},
    "POST /v1/chat/completions": _CHAT_COMPLETION,
    "POST /v1/embeddings": {
        "model": "text-embedding-3-small", "input": [[3], [1, 2]], "encoding_format": "float", "dimensions": 5, "user": "u",
        "fallbacks": ["text-embedding-3-large"], "max_cost_usd": "0.5",
    },
    "POST /v1/messages": _MESSAGE,
    "POST /v1/messages/count_tokens": _MESSAGE,
    **{
        f"POST /{version}/models/{{model}}:{method}": body
        for version in ("v1", "v1beta")
        for method, body in {
            "generateContent": _GENERATE, "streamGenerateContent": _GENERATE, "countTokens": _GENERATE, "embedContent": _EMBED,
            "batchEmbedContents": {"requests": [_EMBED]},
        }.items()
    },
    "POST /v1/responses": _RESPONSE,
    "POST /v1/responses/input_tokens": _RESPONSE,
}  # fmt: skip
# Valid frames of each socket, by its path; a name begins with the frame's type. `auth` is the first frame of a client without a credential.
FRAMES: dict[str, dict[str, dict[str, Any]]] = {
    "/api/v1/chat/ws": {
        "auth": {"type": "auth", "token": "x"},
        "send": {"type": "send", "ref": "r", "conversation_id": RANDOM_ID, "parent_id": RANDOM_ID, **TURN},
        "send to an agent": {"type": "send", "ref": "r", "content": "Hello", "agent_id": RANDOM_ID},
        "cancel": {"type": "cancel", "ref": "r", "message_id": RANDOM_ID},
        "resume": {"type": "resume", "ref": "r", "message_id": RANDOM_ID, "after": 1},
        "ping": {"type": "ping", "ref": "r"},
    },
    # It looks at no frame: any object is as good as another.
    "/api/v1/admin/live": {"any": {"type": "ping", "ref": "r", "of": [RANDOM_ID]}},
}
# These read no body; what is sent is not looked at.
WITHOUT_BODY = {
    f"POST {_AUTH}logout-all", f"POST {_AUTH}ws-ticket", f"POST {_CHAT}messages/{{id}}/cancel", f"POST {_AGENTS}runs/{{pk}}/cancel",
    *(f"POST {_TASKS}{{pk}}/{verb}" for verb in ("cancel", "pause", "resume", "webhook-secret")),
}  # fmt: skip


def asked() -> list[tuple[str, str]]:
    """Method and path of every endpoint that reads a body, with ids that name no row."""
    return [(method, re.sub(r"{\w+}", RANDOM_ID, template)) for method, _, template in (name.partition(" ") for name in BODIES)]
