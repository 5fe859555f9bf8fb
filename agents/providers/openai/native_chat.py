"""Chat completions in the client's own words: the body for models at that endpoint, and the answer's chunks as they came.

Sources: platform.openai.com/docs/api-reference/chat, and its streaming page for the usage chunk.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from agents.events import ToolCall
from agents.messages import CompletionRequest, ToolOutput, ToolUse, byte_size
from agents.providers.answer import Answer
from agents.providers.base import Target
from agents.providers.native import NativeReader
from agents.providers.openai import efforts
from agents.providers.parts import CallIds
from aiagents.core import jsonio

# Fields of ours, and those that OpenAI's models without sampling refuse.
_OURS = frozenset({"fallbacks", "max_cost_usd"})
_SAMPLING = frozenset({"temperature", "top_p", "seed", "stop", "presence_penalty", "frequency_penalty", "logit_bias"})
_LIMITS = ("max_tokens", "max_completion_tokens")
# What answers have, of other vendors or in the SDKs' objects, and OpenAI's requests do not; clients send it back.
_ONLY_IN_ANSWERS = frozenset({
    "reasoning_content", "reasoning", "reasoning_details", "extra_content", "annotations", "parsed", "index", "parsed_arguments",
})  # fmt: skip
_CALL_ID = r"(?s).{1,40}"
# Names of image/jpeg that clients write.
_JPEG = re.compile(r"data:image/(?:jpg|pjpeg)(?=[;,])", re.IGNORECASE)

# A chunk that holds nothing but text: what stands before the text, and what must stand behind it.
_BEFORE = re.compile(rb'data: ?\{[^\n]*?"choices":\[\{"index":0,"delta":\{"content":"')
_BEHIND = re.compile(rb'"\}(?:,"logprobs":null)?,"finish_reason":null\}\]')
_NO_USAGE, _USAGE = re.compile(rb',\s*"usage"\s*:\s*null'), re.compile(rb'"usage"\s*:\s*\{')
_NO_CHOICES = re.compile(rb'"choices"\s*:\s*\[\s*\]')
_ARGUMENTS = re.compile(rb'"arguments"\s*:\s*"((?:[^"\\]|\\.)*)"')


def content(sent: Mapping[str, Any], request: CompletionRequest, target: Target, *, stream: bool, limit_field: str) -> bytes:
    """Return the client's own body for this call, without the fields that the model would refuse."""
    out = {name: value for name, value in sent.items() if name not in _OURS}
    out["model"] = target.model
    if bool(sent.get("stream")) != stream:
        out["stream"] = stream
    if stream and target.sends_usage:
        out["stream_options"] = {**(sent.get("stream_options") or {}), "include_usage": True}
    if request.max_output_tokens is not None:
        field = limit_field if target.provider == "openai" else next((name for name in _LIMITS if sent.get(name) is not None), limit_field)
        out = {name: value for name, value in out.items() if name not in _LIMITS}
        out[field] = request.output_limit(target.max_output_tokens)
    if target.provider != "openai":
        return jsonio.dumps(out)
    if request.cached:  # OpenAI caches without marks, and refuses them
        out |= {name: _unmarked(out[name]) for name in ("messages", "tools") if name in out}
    return jsonio.dumps(_fitted(out, target))


def _unmarked(value: Any) -> Any:
    """Return messages or tools without the marks for Anthropic's cache, which stand on them, their parts and their functions."""
    if isinstance(value, list):
        return [_unmarked(one) for one in value]
    if not isinstance(value, Mapping):
        return value
    kept = {name: one for name, one in value.items() if name != "cache_control"}
    return kept | {name: _unmarked(kept[name]) for name in ("content", "function") if name in kept}


def _fitted(body: dict[str, Any], target: Target) -> Mapping[str, Any]:
    """Return the body as OpenAI's model takes it. Nothing is stored in the company's account."""
    if body.get("store"):
        body["store"] = False
        body.pop("metadata", None)  # it belongs to what is stored
    if not target.temperature:
        body = {name: value for name, value in body.items() if name not in _SAMPLING}
    if body.get("reasoning_effort"):
        if target.reasoning:
            body["reasoning_effort"] = efforts.fitted(body["reasoning_effort"], target.model)
        else:
            body.pop("reasoning_effort")
    ids = CallIds(_CALL_ID)
    body["messages"] = [_message(message, ids) for message in body["messages"]]
    return body


def _message(message: Mapping[str, Any], ids: CallIds) -> Mapping[str, Any]:
    """Return a message without the fields that only answers have, its calls and results with ids that fit."""
    if message.get("role") == "tool":
        given = message["tool_call_id"]
        fitting = ids.of_result(ToolOutput(given, "", ""))
        return message if fitting == given else {**message, "tool_call_id": fitting}
    if message.get("role") == "user" and isinstance(message.get("content"), list):
        return {**message, "content": [_with_known_type(part) for part in message["content"]]}
    if message.get("role") != "assistant":
        return message
    kept = {name: value for name, value in message.items() if name not in _ONLY_IN_ANSWERS}
    if isinstance(message.get("tool_calls"), list):
        kept["tool_calls"] = [_call(call, ids) for call in message["tool_calls"]]
    return kept


def _with_known_type(part: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the part with the media type of an image as OpenAI knows it."""
    image = part.get("image_url")
    if not isinstance(image, Mapping) or not isinstance(url := image.get("url"), str) or not (found := _JPEG.match(url)):
        return part
    return {**part, "image_url": {**image, "url": f"data:image/jpeg{url[found.end() :]}"}}


def _call(call: Mapping[str, Any], ids: CallIds) -> Mapping[str, Any]:
    kept = {name: value for name, value in call.items() if name not in _ONLY_IN_ANSWERS}
    if isinstance(function := kept.get("function"), Mapping) and "parsed_arguments" in function:
        kept["function"] = {name: value for name, value in function.items() if name not in _ONLY_IN_ANSWERS}
    return {**kept, "id": ids.of_call(ToolUse(call["id"], "", ""))}


class NativeChunks(NativeReader):
    """Passes chunks on; `hide_usage` takes out the usage that only metering asked for."""

    def __init__(self, answer: Answer, target: Target, *, hide_usage: bool) -> None:
        super().__init__(answer, target)
        self._hide = hide_usage
        # What stands before the text of each chunk of this answer, as it comes and as it is passed on.
        self._before = self._shown_before = b""
        self._fragments = False

    def text_event(self, event: bytes) -> tuple[int, bytes]:
        before = self._before
        if not before or not event.startswith(before):
            return 0, event
        begins = len(before)
        ends = event.find(b'"', begins)
        behind = _BEHIND.match(event, ends) if ends > begins and event[ends - 1] != 0x5C else None
        if behind is None or _USAGE.search(event, behind.end()):
            return 0, event
        size = ends - begins
        self._answer.count_text(size)
        rest = event[begins:]
        if self._hide and b"usage" in event[behind.end() :]:
            rest = event[begins : behind.end()] + _NO_USAGE.sub(b"", event[behind.end() :], count=1)
        return size, self._shown_before + rest

    def size_of_fragment(self, event: bytes) -> int:
        if b'"arguments"' not in event:
            return 0
        self._fragments = True
        return sum(len(found[1]) for found in _ARGUMENTS.finditer(event))

    def size_of_call(self, call: ToolCall) -> int:
        return byte_size(call.name) if self._fragments else super().size_of_call(call)

    def shown(self, event: bytes) -> bytes | None:
        written = self.renamed_event(event)
        if found := _BEFORE.match(event):
            self._before = found[0]
            self._shown_before = self.renamed_event(self._before)
        if b'"tool_calls"' in event:
            self.output_begins()  # the calls are whole only at the end; their fragments pass at once
        if not self._hide:
            return written
        if _NO_CHOICES.search(event) and _USAGE.search(event):
            return None
        return _NO_USAGE.sub(b"", written, count=1)
