"""Parser of Anthropic's answers: the events of a streamed message, or the whole message."""

from __future__ import annotations

from typing import Any

from agents.events import FinishReason
from agents.messages import REDACTED
from agents.providers import beside
from agents.providers.answer import Answer, counted, dumped, part_of, whole_number
from agents.providers.errors import ProviderError, error_from_status
from billing.pricing import Usage

# All stop reasons of the API.
FINISH: dict[str, FinishReason] = {
    "end_turn": "stop", "stop_sequence": "stop", "pause_turn": "stop", "max_tokens": "length", "model_context_window_exceeded": "length",
    "tool_use": "tool_calls", "refusal": "content_filter",
}  # fmt: skip
# Counts that need no further look: they have no price of their own.
_PLAIN = frozenset({
    "input_tokens", "cache_creation_input_tokens", "cache_read_input_tokens", "cache_creation", "output_tokens", "output_tokens_details",
    "iterations",
})  # fmt: skip
# How an event of the stream begins that may hold nothing but text, and the text in it.
_DELTA, _TEXT = b"event: content_block_delta\n", b'"text":"'


class MessageAnswer(Answer):
    """Parses the events of a streamed message, or the whole message."""

    def __init__(self) -> None:
        super().__init__()
        self._counts: dict[str, Any] = {}
        self._tools: dict[int, tuple[dict[str, Any], list[str]]] = {}
        self._stop: str | None = None

    def take(self, event: Any) -> None:
        if event.get("error"):
            raise _stream_error(event["error"])
        match event["type"]:
            case "content_block_delta":
                delta = event["delta"]
                match delta["type"]:
                    case "text_delta":
                        self.text(delta["text"])
                    case "thinking_delta":
                        self.reasoning(delta["thinking"])
                    case "signature_delta":
                        self.reasoning("", delta["signature"])
                    case "input_json_delta":
                        self._tools[event["index"]][1].append(delta["partial_json"])
                        self.grow(len(delta["partial_json"]) + 64)
            case "content_block_start":
                self._block(event["index"], event["content_block"])
            case "content_block_stop":
                if event["index"] in self._tools:
                    self._end_tool_call(event["index"])
            case "message_start":
                self._count(event["message"].get("usage"))
            case "message_delta":
                self._ended(event["delta"])
                self._count(event.get("usage"), final=True)
            case "message_stop":
                self.closed = True
                fresh = self._fresh
                for index in list(self._tools):  # some servers do not end their blocks
                    self._end_tool_call(index)
                self._fresh = fresh  # the last count included them
                if self._stop is not None:
                    self.stop(self._stop, FINISH)
            case "error":
                raise _stream_error({})

    def _ended(self, message: dict[str, Any]) -> None:
        """Read how the message ended. A refusal adds its explanation if the model wrote nothing itself."""
        self._stop = message.get("stop_reason") or self._stop
        self.stop_sequence = message.get("stop_sequence") or self.stop_sequence
        if self._stop == "refusal" and not self.refused:
            explanation = (message.get("stop_details") or {}).get("explanation")
            self.refuse("" if self._has_output else explanation or "")

    def bytes_of_text(self, event: bytes) -> int:
        if not event.startswith(_DELTA) or b'"text_delta"' not in event:
            return 0
        begins = event.find(_TEXT)
        size = event.rfind(b'"') - begins - len(_TEXT) if begins > 0 else 0
        if size > 0:
            self._fresh, self._has_text = False, True
            self.grow(size)
        return max(size, 0)

    def _block(self, index: int, block: dict[str, Any]) -> None:
        match block["type"]:
            case "tool_use":
                self._tools[index] = (block, [])
                self.grow(64)
            case "text" if block.get("text"):
                self.text(block["text"])
            case "thinking" if block.get("thinking"):
                self.reasoning(block["thinking"])
            case "redacted_thinking":
                self.reasoning("", REDACTED + block["data"])

    def _end_tool_call(self, index: int) -> None:
        block, fragments = self._tools.pop(index)
        arguments = "".join(fragments) or dumped(block.get("input") or {})
        self.call(block["id"], block["name"], arguments)

    def _count(self, usage: Any, *, final: bool = False) -> None:
        """Keep a usage report. Reports are cumulative: a later count replaces an earlier one.

        Only the final report counts the output. If it has no readable output, the opening report does not replace it.
        """
        if isinstance(usage, dict):
            self._counts |= {name: value for name, value in usage.items() if value is not None}
        if final and (not isinstance(usage, dict) or usage.get("output_tokens") is None):
            self.report(None)
        else:
            self.report(usage_of(self._counts))

    def take_whole(self, answer: Any) -> None:
        if answer.get("error") or answer.get("type") == "error":
            self._count(answer.get("usage"), final=True)
            raise _stream_error(answer.get("error") or {})
        refused = answer.get("stop_reason") == "refusal"
        for index, block in enumerate(answer["content"]):
            if refused and block["type"] == "text":
                self.refuse(block["text"])
                continue
            self._block(index, block)
            if block["type"] == "thinking":
                self.reasoning("", block.get("signature") or "")
            elif block["type"] == "tool_use":
                self._end_tool_call(index)
        self._ended(answer)
        self._count(answer.get("usage"), final=True)
        if self.usage is None and self._counts:
            self.report(usage_of(self._counts))  # only the input was reported
        if self._stop is not None:
            self.stop(self._stop, FINISH)


def _stream_error(error: Any) -> ProviderError:
    fields = error if isinstance(error, dict) else {"message": error}
    details = fields.get("details")
    code = details.get("error_code") if isinstance(details, dict) else None
    return error_from_status(
        200, vendor="anthropic", vendor_type=str(fields.get("type") or ""), vendor_code=str(code or ""),
        message=str(fields.get("message") or ""), in_answer=True,
    )  # fmt: skip


def usage_of(counts: dict[str, Any]) -> Usage | None:
    """Return the usage, or None if neither input nor output was reported.

    Compactions are added: their tokens are paid, and the totals leave them out (the SDK's BetaUsage.iterations).
    """
    usage, iterations = _usage_of(counts), counts.get("iterations")
    if usage is None or not isinstance(iterations, list):
        return usage
    for one in iterations:
        if isinstance(one, dict) and one.get("type") == "compaction":
            usage += _usage_of(one) or Usage()
    return usage


def _usage_of(counts: dict[str, Any]) -> Usage | None:
    """Return the usage of one set of counts.

    Anthropic's input excludes tokens read from and written to its cache; ours includes both.
    """
    fresh, output = whole_number(counts.get("input_tokens")), whole_number(counts.get("output_tokens"))
    written, read = part_of(counts, "cache_creation_input_tokens"), part_of(counts, "cache_read_input_tokens")
    details = counts.get("output_tokens_details")
    thinking = part_of(details, "thinking_tokens")
    found = counted(
        None if fresh is None or written is None or read is None else fresh + written + read,
        output,
        cached_input_tokens=read,
        cache_write_tokens=written,
        cache_write_1h_tokens=_long_writes(counts.get("cache_creation"), written),
        reasoning_tokens=part_of(details, "reasoning_tokens") if thinking == 0 else thinking,
    )
    return beside.of_anthropic(found, counts) if found is not None and not counts.keys() <= _PLAIN else found


def _long_writes(parts: Any, written: int | None) -> int | None:
    """Return the writes into the one-hour cache, a part of all that were `written`; None if they cannot be read.

    A stream splits its writes by duration only at its start. Later writes have the duration of most of the earlier ones.
    """
    long, short = part_of(parts, "ephemeral_1h_input_tokens"), part_of(parts, "ephemeral_5m_input_tokens")
    if not long or short is None or written is None:
        return long
    return written - short if long >= short else long
