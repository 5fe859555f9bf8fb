"""Anthropic's Messages API."""

from __future__ import annotations

import json
from typing import Any

from agents.simulator.behaviour import Behaviour, in_text
from agents.simulator.prompt import Answer, Count, Prompt
from agents.simulator.seals import seal
from agents.simulator.wires import Obj, cached_prefix, fragments, offered, sse, text_of

FINISH = {
    "stop": "end_turn",
    "length": "max_tokens",
    "tool_calls": "tool_use",
    "stop_sequence": "stop_sequence",
    "content_filter": "refusal",
}
KINDS = {
    400: "invalid_request_error", 401: "authentication_error", 402: "billing_error", 403: "permission_error", 404: "not_found_error",
    413: "request_too_large", 429: "rate_limit_error", 504: "timeout_error", 529: "overloaded_error",
}  # fmt: skip
IMAGE_TOKENS = 1600


def read(body: Obj, path: str) -> Prompt:
    prompt = Prompt(model=str(body.get("model", "")), system=text_of(body.get("system")), messages=len(body.get("messages") or []))
    lengths = [len(prompt.system.encode())]
    for message in body.get("messages") or []:
        content = message.get("content")
        blocks: list[Any] = content if isinstance(content, list) else [{"type": "text", "text": content or ""}]
        text = text_of([block for block in blocks if block.get("type") == "text"])
        length = len(text.encode("utf-8", "replace")) + 12
        if message.get("role") == "user":
            results = [text_of(block.get("content")) for block in blocks if block.get("type") == "tool_result"]
            if text or not results:
                prompt.directive, prompt.text = in_text(text, prompt.model)
                prompt.results = []
            prompt.results += results
            length += sum(len(result.encode()) for result in results)
            prompt.images += sum(block.get("type") == "image" for block in blocks)
            prompt.files += sum(block.get("type") == "document" for block in blocks)
        length += sum(len(json.dumps(block.get("input"))) for block in blocks if block.get("type") == "tool_use")
        lengths.append(length)
    prompt.tools = [(str(tool.get("name")), tool.get("input_schema") or {}) for tool in body.get("tools") or []]
    choice = body.get("tool_choice") or {}
    kind = str(choice.get("type", "auto"))
    prompt.tool_choice = str(choice.get("name") or {"any": "required"}.get(kind, kind))
    wanted = (body.get("output_config") or {}).get("format") or {}
    prompt.json_schema = (wanted.get("schema") or {}) if wanted.get("type") == "json_schema" else None
    prompt.stop = list(body.get("stop_sequences") or [])
    prompt.max_tokens = body.get("max_tokens")
    prompt.thinks = (body.get("thinking") or {}).get("type") in ("enabled", "adaptive")
    prompt.input_tokens = sum(lengths) // 4 + prompt.images * IMAGE_TOKENS + offered(body.get("tools"))
    prompt.cached_tokens = cached_prefix(lengths)
    return prompt


def _usage(count: Count) -> Obj:
    """Return the usage. Anthropic's input excludes tokens read from and written to the cache."""
    return {
        "input_tokens": count.input - count.cached,
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": count.cached,
        "cache_creation": {"ephemeral_5m_input_tokens": 0, "ephemeral_1h_input_tokens": 0},
        "output_tokens": count.output,
    }


def _blocks(prompt: Prompt, answer: Answer) -> list[tuple[Obj, list[Obj], Obj]]:
    """Return each content block as its start, its deltas and the whole block."""
    blocks: list[tuple[Obj, list[Obj], Obj]] = []
    if answer.reasoning:
        thought = "".join(answer.reasoning)
        whole = {"type": "thinking", "thinking": thought, "signature": seal(thought)}
        deltas: list[Obj] = [{"type": "thinking_delta", "thinking": piece} for piece in answer.reasoning]
        deltas.append({"type": "signature_delta", "signature": whole["signature"]})
        blocks.append(({**whole, "thinking": "", "signature": ""}, deltas, whole))
    if "future" in prompt.behaviour:
        dream = {"type": "dream", "dream": "sheep"}
        blocks.append((dream, [{"type": "dream_delta", "dream": "electric"}], dream))
    if answer.pieces:
        text = [{"type": "text_delta", "text": piece} for piece in answer.pieces]
        blocks.append(({"type": "text", "text": ""}, text, {"type": "text", "text": answer.text}))
    for key, name, arguments in answer.calls:
        use = {"type": "tool_use", "id": key.replace("call_", "toolu_"), "name": name}
        inputs = [{"type": "input_json_delta", "partial_json": piece} for piece in ["", *fragments(arguments)]]
        blocks.append(({**use, "input": {}}, inputs, {**use, "input": json.loads(arguments)}))
    return blocks


def _message(prompt: Prompt) -> Obj:
    base: Obj = {"id": "msg_sim", "type": "message", "role": "assistant", "model": prompt.model, "content": []}
    return base | {"stop_reason": None, "stop_sequence": None} | ({"hologram": 1} if "future" in prompt.behaviour else {})


def stream(prompt: Prompt, answer: Answer, usages: list[Count], body: Obj) -> list[bytes]:
    message = _message(prompt)
    if usages:
        message["usage"] = _usage(Count(usages[0].input, usages[0].cached, 1, 0))
    events: list[Obj] = [{"type": "message_start", "message": message}, {"type": "ping"}]
    for index, (start, deltas, _) in enumerate(_blocks(prompt, answer)):
        events.append({"type": "content_block_start", "index": index, "content_block": start})
        events += [{"type": "content_block_delta", "index": index, "delta": delta} for delta in deltas]
        events.append({"type": "content_block_stop", "index": index})
    if "future" in prompt.behaviour:
        events.append({"type": "message_dreams", "dreams": []})
    stop = None if "sleepless" in prompt.behaviour else FINISH[answer.finish]
    ended = {"type": "message_delta", "delta": {"stop_reason": stop, "stop_sequence": answer.stopped_by}}
    events += [{**ended, "usage": _usage(count)} for count in usages] or [ended]
    events.append({"type": "message_stop"})
    return [sse(event, event["type"]) for event in events]


def whole(prompt: Prompt, answer: Answer, usages: list[Count], body: Obj) -> Obj:
    content = [block for _, _, block in _blocks(prompt, answer)]
    stop = None if "sleepless" in prompt.behaviour else FINISH[answer.finish]
    result = {**_message(prompt), "content": content, "stop_reason": stop, "stop_sequence": answer.stopped_by}
    return result | ({"usage": _usage(usages[-1])} if usages else {})


def error(status: int, behaviour: Behaviour, leaked: str = "") -> Obj:
    message = "simulated error" + (f": key {leaked} at https://user:{leaked}@internal.example/" if leaked else "")
    found: Obj = {"type": KINDS.get(status, "api_error"), "message": message}
    if "quota" in behaviour:
        found["message"] = "Your credit balance is too low to access the API. Please go to Plans & Billing."
    elif "context" in behaviour:
        found["message"] = "prompt is too long: 250000 tokens > 200000 maximum"
    return {"type": "error", "error": found, "request_id": "req_sim"}


def error_event() -> bytes:
    return sse({"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}, "error")
