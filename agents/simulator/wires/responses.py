"""OpenAI's Responses API."""

from __future__ import annotations

import hashlib
import json

from agents.simulator.behaviour import in_text
from agents.simulator.prompt import Answer, Count, Prompt
from agents.simulator.seals import seal
from agents.simulator.wires import CREATED, Obj, cached_prefix, fragments, offered, sse, text_of
from agents.simulator.wires.openai import IMAGE_TOKENS, error

__all__ = ["error", "error_event", "read", "stream", "whole"]


def read(body: Obj, path: str) -> Prompt:
    given = body.get("input") or ""
    items: list[Obj] = [{"role": "user", "content": given}] if isinstance(given, str) else list(given)
    prompt = Prompt(model=str(body.get("model", "")), system=str(body.get("instructions") or ""), messages=len(items))
    lengths = [len(prompt.system.encode())]
    for item in items:
        if item.get("type") == "function_call_output":
            prompt.results.append(text_of(item.get("output")))
            lengths.append(len(prompt.results[-1].encode()) + 12)
        elif item.get("type") == "function_call":
            lengths.append(len(str(item.get("arguments", ""))) + 12)
        else:
            text = text_of(item.get("content"))
            lengths.append(len(text.encode("utf-8", "replace")) + 12)
            if item.get("role") in ("system", "developer"):
                prompt.system += text
            elif item.get("role") == "user":
                prompt.directive, prompt.text = in_text(text, prompt.model)
                prompt.results = []
                parts = item["content"] if isinstance(item.get("content"), list) else ()
                prompt.images += sum(part.get("type") == "input_image" for part in parts)
                prompt.files += sum(part.get("type") == "input_file" for part in parts)
    prompt.tools = [
        (str(tool.get("name")), tool.get("parameters") or {}) for tool in body.get("tools") or [] if tool.get("type") == "function"
    ]
    choice = body.get("tool_choice") or "auto"
    prompt.tool_choice = choice if isinstance(choice, str) else str(choice.get("name"))
    wanted = (body.get("text") or {}).get("format") or {}
    prompt.json_mode = wanted.get("type") == "json_object"
    prompt.json_schema = (wanted.get("schema") or {}) if wanted.get("type") == "json_schema" else None
    prompt.max_tokens = body.get("max_output_tokens")
    prompt.thinks = (body.get("reasoning") or {}).get("effort") not in (None, "none")
    prompt.cached_tokens = cached_prefix(lengths)
    prompt.input_tokens = sum(lengths) // 4 + prompt.images * IMAGE_TOKENS + offered(body.get("tools"))
    return prompt


def _usage(usages: list[Count]) -> Obj | None:
    if not usages:
        return None
    count = usages[-1]
    return {
        "input_tokens": count.input,
        "input_tokens_details": {"cached_tokens": count.cached, "cache_write_tokens": 0},
        "output_tokens": count.output,
        "output_tokens_details": {"reasoning_tokens": count.reasoning},
        "total_tokens": count.input + count.output,
    }


def _digest(body: Obj) -> str:
    """Return a part of ids that is another for another input."""
    return hashlib.sha256(json.dumps(body.get("input")).encode()).hexdigest()[:24]


def _base(prompt: Prompt, body: Obj) -> Obj:
    return {
        "id": f"resp_{_digest(body)}", "object": "response", "created_at": CREATED, "status": "in_progress", "error": None,
        "incomplete_details": None, "instructions": body.get("instructions"), "metadata": body.get("metadata") or {},
        "model": prompt.model, "output": [], "parallel_tool_calls": True, "temperature": 1.0, "tool_choice": "auto",
        "tools": body.get("tools") or [], "top_p": 1.0, "usage": None, "store": bool(body.get("store", True)),
    }  # fmt: skip


def _items(answer: Answer, body: Obj) -> list[Obj]:
    items: list[Obj] = []
    if answer.reasoning:
        thought = "".join(answer.reasoning)
        encrypted = {"encrypted_content": seal(thought)} if "reasoning.encrypted_content" in (body.get("include") or ()) else {}
        summary = [{"type": "summary_text", "text": thought}]
        items.append({"id": "rs_sim", "type": "reasoning", "summary": summary, **encrypted})
    for index, (key, name, arguments) in enumerate(answer.calls):
        call = {"call_id": key, "name": name, "arguments": arguments}
        items.append({"id": f"fc_{_digest(body)}_{index}", "type": "function_call", "status": "completed", **call})
    if not answer.calls:
        part = {"type": "output_text", "text": answer.text, "annotations": [], "logprobs": []}
        items.append({"id": f"msg_{_digest(body)}", "type": "message", "status": "completed", "role": "assistant", "content": [part]})
    return items


def whole(prompt: Prompt, answer: Answer, usages: list[Count], body: Obj) -> Obj:
    cut = {"length": "max_output_tokens", "content_filter": "content_filter"}.get(answer.finish)
    ended = {"status": "incomplete", "incomplete_details": {"reason": cut}} if cut else {"status": "completed"}
    return {**_base(prompt, body), **ended, "output": _items(answer, body), "usage": _usage(usages)}


def stream(prompt: Prompt, answer: Answer, usages: list[Count], body: Obj) -> list[bytes]:
    final, base = whole(prompt, answer, usages, body), _base(prompt, body)
    events: list[Obj] = [{"type": "response.created", "response": base}, {"type": "response.in_progress", "response": base}]
    for at, item in enumerate(final["output"]):
        where = {"item_id": item["id"], "output_index": at}
        if item["type"] == "reasoning":
            start = {**item, "summary": []}
            deltas = [
                {"type": "response.reasoning_summary_text.delta", **where, "summary_index": 0, "delta": one} for one in answer.reasoning
            ]
        elif item["type"] == "function_call":
            start = {**item, "status": "in_progress", "arguments": ""}
            parts = fragments(item["arguments"])
            deltas = [{"type": "response.function_call_arguments.delta", **where, "delta": one} for one in parts]
            deltas.append({"type": "response.function_call_arguments.done", **where, "name": item["name"], "arguments": item["arguments"]})
        else:
            start, part, where = {**item, "status": "in_progress", "content": []}, item["content"][0], {**where, "content_index": 0}
            deltas = [{"type": "response.content_part.added", **where, "part": {**part, "text": ""}}]
            deltas += [{"type": "response.output_text.delta", **where, "delta": one, "logprobs": []} for one in answer.pieces]
            deltas.append({"type": "response.output_text.done", **where, "text": answer.text, "logprobs": []})
            deltas.append({"type": "response.content_part.done", **where, "part": part})
        events += [{"type": "response.output_item.added", "output_index": at, "item": start}, *deltas]
        events.append({"type": "response.output_item.done", "output_index": at, "item": item})
    events.append({"type": f"response.{final['status']}", "response": final})
    return [sse({**event, "sequence_number": number}, event["type"]) for number, event in enumerate(events)]


def error_event() -> bytes:
    return sse({"type": "error", "code": "server_error", "message": "the simulated server had an error", "param": None}, "error")
