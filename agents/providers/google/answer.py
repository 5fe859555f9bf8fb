"""Parser of Gemini's answers. Chunks and the whole answer have one shape; errors name their kind in `details`."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import orjson

from agents.events import FinishReason
from agents.providers import vectors
from agents.providers.answer import Answer, counted, dumped, part_of, whole_number
from agents.providers.base import Target
from agents.providers.errors import ProviderError, error_from_status, retry_after
from billing.pricing import Usage

_FINISH: dict[str, FinishReason] = {
    "STOP": "stop", "MAX_TOKENS": "length", "MALFORMED_FUNCTION_CALL": "error", "UNEXPECTED_TOOL_CALL": "error", "OTHER": "error",
}  # fmt: skip
_FILTERED = {"SAFETY", "RECITATION", "BLOCKLIST", "PROHIBITED_CONTENT", "SPII", "LANGUAGE", "IMAGE_SAFETY", "IMAGE_PROHIBITED_CONTENT"}
# Prefix of ids that we made because the vendor gave none. They are not sent back to it.
OUR_ID = "aia_call_"


class GeminiAnswer(Answer):
    """Parses chunks and the whole answer, which have one shape."""

    def __init__(self) -> None:
        super().__init__()
        self._wrote = False

    def take(self, event: Any) -> None:
        if "error" in event:
            raise refusal(event, 200, None, None)
        for candidate in (event.get("candidates") or ())[:1]:
            for part in (candidate.get("content") or {}).get("parts") or ():
                self._wrote = self._wrote or not part.get("thought")
                if (call := part.get("functionCall")) is not None:
                    arguments = dumped(call.get("args") or {})
                    self.call(call.get("id") or OUR_ID + uuid4().hex[:16], call["name"], arguments, part.get("thoughtSignature") or "")
                elif text := part.get("text"):
                    self.reasoning(text) if part.get("thought") else self.text(text)
            if (finish := candidate.get("finishReason")) is not None:
                self.finish = "content_filter" if finish in _FILTERED else _FINISH.get(finish, "stop")
        if "usageMetadata" in event:
            self.report(usage_of(event["usageMetadata"], wrote=self._wrote))
        if self.finish is None and (event.get("promptFeedback") or {}).get("blockReason"):
            self.finish = "content_filter"

    def take_whole(self, answer: Any) -> None:
        self.take(answer)


def refusal(details: Any, code: int, target: Target | None, wait: float | None) -> ProviderError:
    """Return our error for Google's error object. Its details name the kind of a 400 or 429."""
    found = details.get("error", details) if isinstance(details, dict) else {}
    found = found if isinstance(found, dict) else {}
    kind, reason = str(found.get("status") or ""), ""
    for detail in found.get("details") or ():
        if not isinstance(detail, dict):
            continue
        reason = str(detail.get("reason") or reason)
        if delay := str(detail.get("retryDelay") or "").removesuffix("s"):
            wait = retry_after({"retry-after": delay}) if wait is None else wait
        if any("PerDay" in str(one.get("quotaId")) for one in detail.get("violations") or () if isinstance(one, dict)):
            reason = "insufficient_quota"
    status = found.get("code") if code == 200 and isinstance(found.get("code"), int) else code
    return error_from_status(
        status or 500, vendor="google", vendor_type=kind, vendor_code=reason, message=str(found.get("message") or ""), retry_after=wait,
        secrets=(target.api_key,) if target else (),
    )  # fmt: skip


def usage_of(metadata: Any, *, wrote: bool = False) -> Usage | None:
    """Return the usage, or None if neither input nor output was reported.

    Gemini counts thoughts beside the output, and a tool's own prompt beside the prompt; ours includes both.
    Its JSON leaves out counts of 0, so a missing output count is 0 unless the model `wrote` something.
    """
    if not isinstance(metadata, dict) or not metadata:
        return None
    prompt, tools = whole_number(metadata.get("promptTokenCount")), part_of(metadata, "toolUsePromptTokenCount")
    thoughts = part_of(metadata, "thoughtsTokenCount")
    absent = "candidatesTokenCount" not in metadata
    answer = 0 if absent and not wrote else whole_number(metadata.get("candidatesTokenCount"))
    if absent and prompt is None:
        return None
    return counted(
        None if prompt is None or tools is None else prompt + tools,
        None if answer is None or thoughts is None else answer + thoughts,
        cached_input_tokens=part_of(metadata, "cachedContentTokenCount"),
        reasoning_tokens=thoughts,
    )


def read_embeddings(body: bytes) -> tuple[list[bytes], Usage | None]:
    """Return the vectors in the order of their inputs, and the usage if the vendor reports it.

    Gemini cuts shortened vectors off, so they are scaled to the length 1 again, as all others are.
    """
    data = orjson.loads(body)
    return [vectors.unit(vectors.read(one["values"])) for one in data["embeddings"]], _embedding_usage(data.get("usageMetadata"))


def _embedding_usage(metadata: Any) -> Usage | None:
    tokens = whole_number(metadata.get("promptTokenCount")) if isinstance(metadata, dict) else None
    return None if tokens is None else Usage(input_tokens=tokens)
