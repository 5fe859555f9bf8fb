"""Parser of OpenAI's Responses: the events of a stream, or the whole response."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from agents.events import FinishReason
from agents.providers import beside
from agents.providers.answer import Answer, counted, part_of, whole_number
from agents.providers.openai.answer import stream_error
from billing.pricing import Usage

# Before the id and the encrypted content of a reasoning item, which only OpenAI can read.
SIGNED = "openai:"
_STATUS: dict[str, FinishReason] = {"completed": "stop", "failed": "error", "cancelled": "error"}
_INCOMPLETE: dict[str, FinishReason] = {"max_output_tokens": "length", "max_tokens": "length", "content_filter": "content_filter"}
# How an event of the stream begins that holds nothing but text, and the text in it.
_DELTA, _TEXT = b"event: response.output_text.delta\n", b'"delta":"'


def reasoning_item(signature: str) -> Mapping[str, str] | None:
    """Return id and encrypted content of the reasoning item that this parser made a signature of; None for any other signature."""
    if not signature.startswith(SIGNED):
        return None
    id, _, encrypted = signature.removeprefix(SIGNED).partition(":")
    return {"id": id, "encrypted_content": encrypted}


class ResponseAnswer(Answer):
    """Parses the events of a stream, or the whole response. Items that we do not know are left out."""

    closing_mark = False

    def take(self, event: Any) -> None:
        match event.get("type"):
            case "response.output_text.delta":
                self.text(event["delta"])
            case "response.refusal.delta":
                self.refuse(event["delta"])
            case "response.reasoning_summary_text.delta" | "response.reasoning_text.delta":
                self.reasoning(event["delta"])
            case "response.output_item.done":
                self._take_item(event["item"], streamed=True)
            case "response.completed" | "response.incomplete" | "response.failed" | "response.cancelled":
                self._finish(event["response"])
                self.closed = True
            case "error":
                raise stream_error(event.get("error") or event)

    def bytes_of_text(self, event: bytes) -> int:
        if not event.startswith(_DELTA):
            return 0
        begins = event.find(_TEXT)
        size = event.find(b'"', begins + len(_TEXT)) - begins - len(_TEXT) if begins > 0 else 0
        if size > 0:
            self.count_text(size)
        return max(size, 0)

    def take_whole(self, answer: Any) -> None:
        if answer.get("status") is None and answer.get("error"):
            raise stream_error(answer["error"])
        for item in answer["output"]:
            self._take_item(item, streamed=False)
        self._finish(answer)

    def _take_item(self, item: Any, *, streamed: bool) -> None:
        """Read a whole output item; of a stream, its text has arrived before."""
        match item.get("type"):
            case "function_call":
                self.call(item["call_id"], item["name"], item.get("arguments") or "{}")
            case "reasoning":
                for part in () if streamed else (*(item.get("summary") or ()), *(item.get("content") or ())):
                    self.reasoning(part["text"])
                if encrypted := item.get("encrypted_content"):
                    self.reasoning("", f"{SIGNED}{item['id']}:{encrypted}")
            case "message" if not streamed:
                for part in item["content"]:
                    if part["type"] == "refusal":
                        self.refuse(part["refusal"])
                    elif part["type"] == "output_text":
                        self.text(part["text"])

    def _finish(self, response: Any) -> None:
        if response.get("usage") is not None:
            usage = usage_of(response["usage"])
            self.report(None if usage is None else beside.of_response(usage, response))
        if response.get("error"):
            raise stream_error(response["error"])
        if response["status"] == "incomplete":
            self.stop((response.get("incomplete_details") or {}).get("reason") or "", _INCOMPLETE)
        else:
            self.stop(response["status"], _STATUS)


def usage_of(usage: Any) -> Usage | None:
    """Return the usage, or None if neither input nor output was reported. The vendor's totals include their parts."""
    if not isinstance(usage, dict):
        return None
    read, written = usage.get("input_tokens_details"), usage.get("output_tokens_details")
    return counted(
        whole_number(usage.get("input_tokens")),
        whole_number(usage.get("output_tokens")),
        cached_input_tokens=part_of(read, "cached_tokens"),
        cache_write_tokens=part_of(read, "cache_write_tokens"),
        reasoning_tokens=part_of(written, "reasoning_tokens"),
    )
