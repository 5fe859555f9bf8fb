"""Parser of OpenAI's answers, and of the dialects of compatible servers: chunks, the whole completion, usage, embeddings."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

import orjson

from agents.events import Event, FinishReason
from agents.providers import beside, vectors
from agents.providers.answer import MAX_TOOL_CALLS, Answer, dumped, whole_number
from agents.providers.errors import ProviderBadResponse, ProviderError, ended_with, error_from_status
from agents.providers.openai.usage import usage_of
from billing.pricing import Usage

# All finish reasons that we know, in lower case. The first line is OpenAI's; the others are documented by Mistral, DeepSeek,
# xAI, Together, OpenRouter, Zhipu, vLLM, SGLang, TGI, Ollama, Cohere, and by servers that pass on another vendor's reason.
FINISH: dict[str, FinishReason] = {
    "stop": "stop", "length": "length", "tool_calls": "tool_calls", "function_call": "tool_calls", "content_filter": "content_filter",
    "end_turn": "stop", "eos": "stop", "eos_token": "stop", "stop_sequence": "stop", "complete": "stop", "completed": "stop",
    "max_tokens": "length", "model_length": "length", "model_context_window_exceeded": "length", "tool_use": "tool_calls",
    "tool_call": "tool_calls", "refusal": "content_filter", "safety": "content_filter", "recitation": "content_filter",
    "sensitive": "content_filter", "guardrail_intervened": "content_filter",
    "error": "error", "abort": "error", "aborted": "error", "cancelled": "error", "canceled": "error", "timeout": "error",
    "network_error": "error", "insufficient_system_resource": "error", "malformed_function_call": "error",
    "unexpected_tool_call": "error", "other": "error",
}  # fmt: skip


@dataclass(slots=True)
class _Slot:
    """A tool call that arrives in fragments."""

    index: int
    call_id: str = ""
    name: str = ""
    signature: str = ""
    arguments: list[str] = field(default_factory=list)

    def is_whole(self) -> bool:
        """Return whether the arguments are a JSON object already."""
        if not self.arguments or not self.arguments[-1].rstrip().endswith("}"):
            return False
        try:
            return isinstance(orjson.loads("".join(self.arguments)), dict)
        except orjson.JSONDecodeError:
            return False


class ChatAnswer(Answer):
    """Parses the chunks of a streamed chat completion, or the whole one."""

    def __init__(self, requires_finish_reason: bool, *, of_openai: bool = False) -> None:
        super().__init__()
        # Whether OpenAI answers itself: a compatible server's service tiers are others.
        self._of_openai = of_openai
        self._tier: str | None = None
        self._strict = requires_finish_reason
        self._slots: list[_Slot] = []
        # True once a finish reason was an empty text, which some servers send with every chunk.
        self._blank_finish = False
        self._any = False

    def take(self, event: Any) -> None:
        choices = event.get("choices")
        choice: Any = None
        if choices:
            choice = choices[0]
            delta = choice.get("delta")
            if delta:
                content = delta.get("content")
                rare = len(delta) > 1 or not content
                if rare:
                    self._take_thought(delta)
                if content:
                    self._any = True
                    if type(content) is str:
                        self.text(content)
                    else:
                        self._take_blocks(content)
                if rare:
                    self._take_rare(delta)
            if not (  # nearly all chunks have none of these
                choice.get("finish_reason") is not None
                or event.get("usage") is not None
                or "usage" in choice
                or "error" in event
                or "error" in choice
            ):
                return
        self._take_rest(event, choice)

    def count_text(self, size: int) -> None:
        self._any = True
        super().count_text(size)

    def _take_rest(self, event: Any, choice: Any) -> None:
        """Read usage, an error and the finish reason, in this order: an error keeps the usage that came with it."""
        self._tier = event.get("service_tier") or self._tier
        usage = event.get("usage")
        if not usage and choice:  # Moonshot, Groq
            usage = choice.get("usage") or (event.get("x_groq") or {}).get("usage") or usage
        if usage is not None:
            found = usage_of(usage)
            if found is not None:
                found = beside.of_chat(found, usage, self._tier if self._of_openai else None)
            self.report(found)
        finish = choice.get("finish_reason") if choice else None
        error = event.get("error") or (choice.get("error") if choice else None)
        if error or (choice is None and event.get("object") == "error"):
            raise stream_error(error or event)
        if finish is not None:
            if finish == "stop" and self.stops:
                self._find_stop(choice)
            self._finish_answer(finish)

    def _take_thought(self, message: dict[str, Any]) -> None:
        if thought := message.get("reasoning_content") or message.get("reasoning"):
            self._any = True
            self.reasoning(_words(thought))

    def _take_blocks(self, blocks: Any) -> None:
        """Read content that is a list of blocks (Mistral). Raises one of PARSE_ERRORS for a block that has no text."""
        if not isinstance(blocks, list):
            raise TypeError("content is a text or a list of blocks")
        for block in blocks:
            kind = "text" if isinstance(block, str) else block.get("type", "text")
            if kind == "thinking":
                self.reasoning(_words(block["thinking"]))
            elif kind == "refusal":
                self.refuse(block["refusal"])
            elif kind != "reference":  # numbers of sources, without a text
                self.text(_words(block))

    def _take_rare(self, message: dict[str, Any]) -> None:
        """Read what is rarer than text: refusals and tool calls."""
        if refusal := message.get("refusal"):
            self._any = True
            self.refuse(refusal)
        calls = message.get("tool_calls") or ()
        if not calls and (legacy := message.get("function_call")):
            calls = [{"index": 0, "function": legacy}]
        for position, call in enumerate(calls):
            self._take_call(call, position if len(calls) > 1 else None)

    def _take_call(self, call: dict[str, Any], position: int | None) -> None:
        function = call.get("function") or {}
        name, arguments = function.get("name"), function.get("arguments")
        if arguments is not None and not isinstance(arguments, str):
            arguments = dumped(arguments)  # an object where the API has its text (llama.cpp, KoboldCpp)
        index = call.get("index")
        slot = self._slot_of(call.get("id"), position if index is None else index, name, arguments)
        slot.call_id = slot.call_id or call.get("id") or ""
        slot.name = name or slot.name
        if extra := call.get("extra_content"):  # Gemini's own OpenAI API
            slot.signature = (extra.get("google") or {}).get("thought_signature") or slot.signature
        self._fresh = False
        if arguments and not (name and slot.arguments == [arguments]):  # else it is the whole call once more
            slot.arguments.append(arguments)
            self.grow(len(arguments) + 64)  # many tiny fragments fill memory, too

    def _slot_of(self, call_id: Any, index: int | None, name: Any, arguments: Any) -> _Slot:
        """Return the call that a fragment belongs to; a new one if the fragment opens it.

        Servers give parallel calls one index, or none, so an unknown id with a name opens a call. An id without a name does
        not: some servers make a new id for every fragment. Without a new id a name opens a call once the last one is whole,
        unless it is the same call once more.
        """
        named = bool(name and arguments)
        known = [slot for slot in self._slots if call_id and slot.call_id == call_id]
        at_index = known or [slot for slot in self._slots if index is None or slot.index == index]
        if at_index:
            last = at_index[-1]
            if known or not call_id:
                if not (named and last.is_whole()) or last.arguments == [arguments]:
                    return last
            elif not last.call_id or not name:
                return last
        if len(self._slots) >= MAX_TOOL_CALLS:
            raise ProviderBadResponse("The model's vendor sent too many tool calls.")
        self._slots.append(_Slot(len(self._slots) if index is None else index))
        return self._slots[-1]

    def _find_stop(self, choice: dict[str, Any]) -> None:
        """Keep the stop sequence that ended the answer, where the server names it (vLLM, SGLang)."""
        for name in ("stop_reason", "matched_stop"):
            if (found := choice.get(name)) in self.stops:
                self.stop_sequence = found

    def _finish_answer(self, finish: str) -> None:
        if finish == "":
            self._blank_finish = True
            return
        self.stop(finish.lower(), FINISH)
        if self.finish is None and not all(slot.is_whole() for slot in self._slots):
            raise ended_with(finish)
        if not all(slot.name for slot in self._slots):
            raise KeyError("name")
        fresh = self._fresh  # the calls arrived before; only now they are known to be complete
        given = [slot.call_id for slot in self._slots]
        for slot in sorted(self._slots, key=lambda one: one.index):
            unique = slot.call_id and given.count(slot.call_id) == 1
            self.call(slot.call_id if unique else f"call_{uuid4().hex[:12]}", slot.name, "".join(slot.arguments) or "{}", slot.signature)
        self._slots.clear()
        self._fresh = fresh

    def last(self) -> list[Event]:
        if self.finish is None and self._unknown_reason is None:
            written = self._any or self._slots
            if (self._blank_finish and self.closed) or (not self._strict and (self.closed or written)):
                self._finish_answer("stop")
        return super().last()

    def take_whole(self, answer: Any) -> None:
        choices = answer.get("choices")
        choice = choices[0] if choices else None
        if choice is not None:
            message = choice.get("message")
            if message is None and not (answer.get("error") or choice.get("error")):
                raise KeyError("message")
            self._any = True
            self._take_message(message or {})
        self._take_rest(answer, choice)
        if choice is None:
            raise KeyError("choices")

    def _take_message(self, message: dict[str, Any]) -> None:
        self._take_thought(message)
        content = message.get("content")
        if isinstance(content, str):
            self.text(content)
        elif content:
            self._take_blocks(content)
        for index, call in enumerate(message.get("tool_calls") or ()):
            call["index"] = index
        self._take_rare(message)


def _words(value: Any) -> str:
    """Return the text of a block, or of a list of blocks. Raises one of PARSE_ERRORS for anything else."""
    if isinstance(value, list):
        return "".join(map(_words, value))
    found = value if isinstance(value, str) else value["text"]
    if not isinstance(found, str):
        raise TypeError("the text of a block is a string")
    return found


def stream_error(error: Any) -> ProviderError:
    """Return our error for an error object inside a body with status 200."""
    fields = error if isinstance(error, dict) else {"message": str(error)}
    code = fields.get("code")
    code = int(code) if isinstance(code, str) and code.isdecimal() and len(code) < 5 else code
    status = code if isinstance(code, int) and 400 <= code < 600 else 200  # OpenRouter puts the status there
    return error_from_status(
        status, vendor="", vendor_type=str(fields.get("type") or ""), vendor_code=str(code or ""),
        message=str(fields.get("message") or ""), in_answer=True,
    )  # fmt: skip


def read_embeddings(body: bytes) -> tuple[list[bytes], Usage | None]:
    """Return the vectors, base64 or numbers, in the order of their inputs, and the usage if it was reported.

    Raises a ProviderError for an error object in place of them.
    """
    data = orjson.loads(body)
    if data.get("error"):
        raise stream_error(data["error"])
    rows = sorted(data["data"], key=lambda one: one["index"])
    if [one["index"] for one in rows] != list(range(len(rows))):
        raise ValueError("the indexes do not match the inputs")
    usage = data.get("usage")
    tokens = whole_number(usage.get("prompt_tokens")) if isinstance(usage, dict) else None
    return [vectors.read(one["embedding"]) for one in rows], None if tokens is None else Usage(input_tokens=tokens)
