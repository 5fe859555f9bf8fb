"""OpenAI's APIs for chat completions, embeddings and models."""

from __future__ import annotations

from agents.simulator.behaviour import Behaviour, in_text
from agents.simulator.prompt import Answer, Count, Prompt, tokens
from agents.simulator.wires import CREATED, Obj, cached_prefix, fragments, offered, sse, text_of, vectors

FINISH = {"stop_sequence": "stop"}
MODELS = ("gpt-4o", "gpt-4o-mini", "sim-small", "sim-large")
IMAGE_TOKENS = 255


def read(body: Obj, path: str) -> Prompt:
    """Return the prompt of a chat completion request."""
    messages = body.get("messages") or []
    prompt = Prompt(model=str(body.get("model", "")), messages=len(messages))
    lengths, directive = [], ""
    for message in messages:
        role, content = message.get("role"), message.get("content")
        text = text_of(content)
        calls = "".join(str((call.get("function") or {}).get("arguments", "")) for call in message.get("tool_calls") or [])
        lengths.append(len(text.encode("utf-8", "replace")) + len(calls) + 12)
        if role in ("system", "developer"):
            prompt.system += text
        elif role == "tool":
            prompt.results.append(text)
        elif role == "user":
            directive, prompt.text = in_text(text, prompt.model)
            prompt.results = []
            for part in content if isinstance(content, list) else ():
                prompt.images += part.get("type") == "image_url"
                prompt.files += part.get("type") == "file"
    prompt.directive = directive
    for tool in body.get("tools") or []:
        function = tool.get("function") or {}
        prompt.tools.append((str(function.get("name")), function.get("parameters") or {}))
    choice = body.get("tool_choice") or "auto"
    prompt.tool_choice = choice if isinstance(choice, str) else str((choice.get("function") or {}).get("name"))
    wanted = body.get("response_format") or {}
    prompt.json_mode = wanted.get("type") == "json_object"
    if wanted.get("type") == "json_schema":
        prompt.json_schema = (wanted.get("json_schema") or {}).get("schema") or {}
    stop = body.get("stop") or []
    prompt.stop = [stop] if isinstance(stop, str) else list(stop)
    prompt.max_tokens = body.get("max_completion_tokens") or body.get("max_tokens")
    prompt.thinks = body.get("reasoning_effort") not in (None, "none")
    prompt.input_tokens = sum(lengths) // 4 + prompt.images * IMAGE_TOKENS + offered(body.get("tools"))
    prompt.cached_tokens = cached_prefix(lengths)
    return prompt


def usage_of(count: Count) -> Obj:
    return {
        "prompt_tokens": count.input,
        "completion_tokens": count.output,
        "total_tokens": count.input + count.output,
        "prompt_tokens_details": {"cached_tokens": count.cached, "cache_write_tokens": 0, "audio_tokens": 0},
        "completion_tokens_details": {"reasoning_tokens": count.reasoning, "audio_tokens": 0},
    }


def _base(prompt: Prompt, kind: str) -> Obj:
    base: Obj = {"id": "chatcmpl-sim", "object": kind, "created": CREATED, "model": prompt.model, "service_tier": "default"}
    return base | ({"hologram": {"depth": 3}} if "future" in prompt.behaviour else {})


def _calls(answer: Answer) -> list[Obj]:
    return [{"id": key, "type": "function", "function": {"name": name, "arguments": arguments}} for key, name, arguments in answer.calls]


def stream(prompt: Prompt, answer: Answer, usages: list[Count], body: Obj) -> list[bytes]:
    """Return the chunks of a streamed completion, `[DONE]` last."""
    base = _base(prompt, "chat.completion.chunk")
    wants_usage = bool((body.get("stream_options") or {}).get("include_usage"))
    null = {"usage": None} if wants_usage else {}
    future = {"telepathy": 1} if "future" in prompt.behaviour else {}

    def chunk(delta: Obj, finish: str | None = None) -> bytes:
        choice = {"index": 0, "delta": delta | future, "logprobs": None, "finish_reason": finish}
        return sse({**base, "choices": [choice], **null})

    out = [chunk({"role": "assistant", "content": None if answer.calls else "", "refusal": None})]
    out += [chunk({"reasoning_content": piece}) for piece in answer.reasoning]
    out += [chunk({"content": piece}) for piece in answer.pieces]
    for index, call in enumerate(_calls(answer)):
        function = call["function"]
        out.append(chunk({"tool_calls": [{"index": index, **call, "function": {"name": function["name"], "arguments": ""}}]}))
        for piece in fragments(function["arguments"]):
            out.append(chunk({"tool_calls": [{"index": index, "function": {"arguments": piece}}]}))
    if future:
        out.insert(1, sse({**base, "object": "chat.completion.dream", "choices": []}))
    out.append(chunk({}, None if "sleepless" in prompt.behaviour else FINISH.get(answer.finish, answer.finish)))
    if wants_usage:
        out += [sse({**base, "choices": [], "usage": usage_of(count)}) for count in usages]
    return [*out, sse(b"[DONE]")]


def whole(prompt: Prompt, answer: Answer, usages: list[Count], body: Obj) -> Obj:
    message: Obj = {"role": "assistant", "content": None if answer.calls else answer.text, "refusal": None, "annotations": []}
    if answer.reasoning:
        message["reasoning_content"] = "".join(answer.reasoning)
    if answer.calls:
        message["tool_calls"] = _calls(answer)
    finish = None if "sleepless" in prompt.behaviour else FINISH.get(answer.finish, answer.finish)
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": finish}
    result = {**_base(prompt, "chat.completion"), "choices": [choice], "system_fingerprint": "fp_sim"}
    return result | ({"usage": usage_of(usages[-1])} if usages else {})


def error(status: int, behaviour: Behaviour, leaked: str = "") -> Obj:
    kinds = {400: "invalid_request_error", 401: "invalid_request_error", 404: "invalid_request_error", 429: "rate_limit_exceeded"}
    kind, code = kinds.get(status, "server_error"), None
    if "quota" in behaviour:
        kind = code = "insufficient_quota"
    elif "context" in behaviour:
        code = "context_length_exceeded"
    elif status in (401, 404):
        code = {401: "invalid_api_key", 404: "model_not_found"}[status]
    message = "simulated error" + (f": key {leaked} at https://user:{leaked}@internal.example/" if leaked else "")
    return {"error": {"message": message, "type": kind, "param": None, "code": code}}


def error_event() -> bytes:
    return sse({"error": {"message": "the simulated server had an error", "type": "server_error", "param": None, "code": None}})


def embeddings(body: Obj) -> Obj:
    """Answer an embedding request: texts, or tokens of texts, one or several."""
    given = body.get("input", "")
    inputs = [given] if isinstance(given, str) or (given and isinstance(given[0], int)) else list(given)
    size = int(body.get("dimensions") or vectors.SIZES.get(str(body.get("model")), vectors.USUAL))
    packed = body.get("encoding_format") == "base64"
    data = []
    for index, one in enumerate(inputs):
        vector = vectors.of(str(one), size)
        data.append({"object": "embedding", "index": index, "embedding": vectors.packed(vector) if packed else vector})
    used = sum(len(one) if isinstance(one, list) else tokens(one) for one in inputs)
    return {"object": "list", "data": data, "model": body.get("model", ""), "usage": {"prompt_tokens": used, "total_tokens": used}}


def models() -> Obj:
    return {"object": "list", "data": [{"id": name, "object": "model", "created": CREATED, "owned_by": "simulator"} for name in MODELS]}
