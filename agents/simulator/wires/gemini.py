"""Gemini's generateContent API, v1 and v1beta."""

from __future__ import annotations

import json
from typing import Any

from agents.simulator.behaviour import Behaviour, in_text
from agents.simulator.prompt import Answer, Count, Prompt, tokens
from agents.simulator.seals import signature
from agents.simulator.wires import Obj, cached_prefix, offered, sse, vectors

FINISH = {"length": "MAX_TOKENS", "content_filter": "SAFETY"}
KINDS = {
    400: "INVALID_ARGUMENT", 401: "UNAUTHENTICATED", 403: "PERMISSION_DENIED", 404: "NOT_FOUND", 429: "RESOURCE_EXHAUSTED",
    503: "UNAVAILABLE", 504: "DEADLINE_EXCEEDED",
}  # fmt: skip
IMAGE_TOKENS = 258
MOST_EMBEDDED = 100


def model_of(path: str) -> str:
    """Return the model of a path such as `/v1beta/models/gemini-x:generateContent`."""
    return path.rpartition("/")[2].partition(":")[0]


def _get(body: Obj, camel: str) -> Any:
    """Return a field by its camelCase or snake_case name; the SDK mixes them."""
    snake = "".join("_" + letter.lower() if letter.isupper() else letter for letter in camel)
    return body.get(camel, body.get(snake))


def read(body: Obj, path: str) -> Prompt:
    prompt = Prompt(model=model_of(path))
    system = _get(body, "systemInstruction") or {}
    prompt.system = "".join(str(part.get("text", "")) for part in system.get("parts") or [])
    lengths = [len(prompt.system.encode())]
    contents = body.get("contents") or []
    prompt.messages = len(contents)
    for content in contents:
        parts = content.get("parts") or []
        text = "".join(str(part.get("text") or "") for part in parts if not part.get("thought"))
        answers = [response for part in parts if (response := _get(part, "functionResponse"))]
        lengths.append(len(text.encode("utf-8", "replace")) + 12 + sum(len(json.dumps(answer)) for answer in answers))
        if content.get("role") == "model":
            continue
        if text or not answers:
            prompt.directive, prompt.text = in_text(text, prompt.model)
            prompt.results = []
        prompt.results += [json.dumps(answer.get("response")) for answer in answers]
        media = [data for part in parts if (data := _get(part, "inlineData") or _get(part, "fileData"))]
        pictures = sum(str(_get(data, "mimeType") or "").startswith("image/") for data in media)
        prompt.images, prompt.files = prompt.images + pictures, prompt.files + len(media) - pictures
    declared = [one for tool in body.get("tools") or [] for one in _get(tool, "functionDeclarations") or []]
    prompt.tools = [(str(one.get("name")), _get(one, "parametersJsonSchema") or one.get("parameters") or {}) for one in declared]
    calling = _get(_get(body, "toolConfig") or {}, "functionCallingConfig") or {}
    mode, allowed = str(calling.get("mode", "AUTO")).upper(), _get(calling, "allowedFunctionNames") or []
    prompt.tool_choice = {"ANY": allowed[0] if allowed else "required", "NONE": "none"}.get(mode, "auto")
    config = _get(body, "generationConfig") or {}
    prompt.json_schema = _get(config, "responseJsonSchema") or _get(config, "responseSchema")
    prompt.json_mode = _get(config, "responseMimeType") == "application/json" and prompt.json_schema is None
    prompt.stop = list(_get(config, "stopSequences") or [])
    prompt.max_tokens = _get(config, "maxOutputTokens")
    prompt.thinks = bool(_get(_get(config, "thinkingConfig") or {}, "includeThoughts"))
    prompt.input_tokens = sum(lengths) // 4 + prompt.images * IMAGE_TOKENS + offered(declared)
    prompt.cached_tokens = cached_prefix(lengths)
    return prompt


def _usage(count: Count) -> Obj:
    """Return the usage. Gemini counts thoughts beside the candidates."""
    found = {"promptTokenCount": count.input, "totalTokenCount": count.input + count.output}
    if count.output or not count.input:  # Gemini leaves out a 0, but an empty report would count as none
        found["candidatesTokenCount"] = count.output - count.reasoning
    if count.reasoning:
        found["thoughtsTokenCount"] = count.reasoning
    if count.cached:
        found["cachedContentTokenCount"] = count.cached
    return found


def _chunk(prompt: Prompt, parts: list[Obj], finish: str | None, usage: Obj | None) -> Obj:
    candidate: Obj = {"content": {"parts": parts, "role": "model"}, "index": 0}
    if finish:
        candidate["finishReason"] = finish
    found: Obj = {"candidates": [candidate], "modelVersion": prompt.model, "responseId": "sim"}
    if "future" in prompt.behaviour:
        found["hologram"] = {"depth": 3}
        parts.append({"dream": {"of": "sheep"}})
    return found | ({"usageMetadata": usage} if usage else {})


def _parts(answer: Answer) -> list[Obj]:
    parts: list[Obj] = [{"text": piece, "thought": True} for piece in answer.reasoning]
    parts += [{"text": piece} for piece in answer.pieces]
    for key, name, arguments in answer.calls:
        call = {"id": key, "name": name, "args": json.loads(arguments)}
        parts.append({"functionCall": call, "thoughtSignature": signature(call)})
    return parts


def _finish(prompt: Prompt, answer: Answer) -> str | None:
    return None if "sleepless" in prompt.behaviour else FINISH.get(answer.finish, "STOP")


def stream(prompt: Prompt, answer: Answer, usages: list[Count], body: Obj) -> list[bytes]:
    """Return the chunks, each with cumulative usage, and the finish reason with the last part."""
    parts, seen, chunks = _parts(answer) or [{"text": ""}], 0, []
    for part in parts[:-1]:
        seen += tokens(str(part.get("text", "")))
        usage = _usage(Count(usages[0].input, usages[0].cached, seen if not part.get("thought") else 0, 0)) if usages else None
        chunks.append(_chunk(prompt, [part], None, usage))
    ends: list[Obj | None] = [_usage(count) for count in usages] or [None]
    chunks += [_chunk(prompt, [] if number else [parts[-1]], _finish(prompt, answer), usage) for number, usage in enumerate(ends)]
    return [sse(chunk) for chunk in chunks]


def whole(prompt: Prompt, answer: Answer, usages: list[Count], body: Obj) -> Obj:
    joined: list[Obj] = []
    if answer.reasoning:
        joined.append({"text": "".join(answer.reasoning), "thought": True})
    if answer.pieces:
        joined.append({"text": answer.text})
    joined += [part for part in _parts(answer) if "functionCall" in part]
    return _chunk(prompt, joined, _finish(prompt, answer), _usage(usages[-1]) if usages else None)


def embeddings(body: Obj, path: str) -> Obj:
    """Answer `batchEmbedContents`. As at the vendor, shortened vectors are cut off and not of unit length."""
    model, requested = model_of(path), body.get("requests") or []
    if len(requested) > MOST_EMBEDDED:
        raise ValueError(f"at most {MOST_EMBEDDED} requests can be in one batch")
    texts = ["".join(str(part.get("text", "")) for part in one["content"]["parts"]) for one in requested]
    size = vectors.SIZES.get(model, vectors.USUAL)
    found = [{"values": vectors.of(text, size)[: one.get("outputDimensionality")]} for text, one in zip(texts, requested, strict=True)]
    return {"embeddings": found, "usageMetadata": {"promptTokenCount": sum(tokens(text) for text in texts)}}


def error(status: int, behaviour: Behaviour, leaked: str = "") -> Obj:
    message = "simulated error" + (f": key {leaked} at https://user:{leaked}@internal.example/" if leaked else "")
    found: Obj = {"code": status, "message": message, "status": KINDS.get(status, "INTERNAL")}
    if "quota" in behaviour:
        failure = {"quotaMetric": "requests", "quotaId": "GenerateRequestsPerDayPerProjectPerModel-FreeTier"}
        found["details"] = [{"@type": "type.googleapis.com/google.rpc.QuotaFailure", "violations": [failure]}]
    elif "context" in behaviour:
        found["message"] = "The input token count (1200000) exceeds the maximum number of tokens allowed (1048576)."
    elif "badkey" in behaviour:
        found["message"] = "API key not valid. Please pass a valid API key."
        found["details"] = [{"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": "API_KEY_INVALID"}]
    elif status == 429 and "retry-after" in behaviour.options:
        found["details"] = [{"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": behaviour.options["retry-after"] + "s"}]
    return {"error": found}


def error_event() -> bytes:
    return sse({"error": {"code": 503, "message": "The model is overloaded.", "status": "UNAVAILABLE"}})
