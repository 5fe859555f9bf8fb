"""Parser of Gemini's answers. Chunks and the whole answer have one shape; errors name their kind in `details`."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import orjson

from agents.events import FinishReason
from agents.providers import beside, vectors
from agents.providers.answer import Answer, counted, dumped, part_of, whole_number
from agents.providers.base import Target
from agents.providers.errors import ProviderError, error_from_status, retry_after
from billing.pricing import Usage

# All finish reasons of the API. FINISH_REASON_UNSPECIFIED is treated as an unknown one.
FINISH: dict[str, FinishReason] = {
    "STOP": "stop", "MAX_TOKENS": "length", "CONTINUATION": "length",
    "SAFETY": "content_filter", "RECITATION": "content_filter", "LANGUAGE": "content_filter", "BLOCKLIST": "content_filter",
    "PROHIBITED_CONTENT": "content_filter", "SPII": "content_filter", "IMAGE_SAFETY": "content_filter",
    "IMAGE_PROHIBITED_CONTENT": "content_filter", "IMAGE_RECITATION": "content_filter", "ESCALATION": "content_filter",
    "PUP_LIMITED_DISABLED": "content_filter", "MODEL_ARMOR": "content_filter",
    "OTHER": "error", "MALFORMED_FUNCTION_CALL": "error", "UNEXPECTED_TOOL_CALL": "error", "TOO_MANY_TOOL_CALLS": "error",
    "MALFORMED_RESPONSE": "error", "MISSING_THOUGHT_SIGNATURE": "error", "IMAGE_OTHER": "error", "NO_IMAGE": "error",
}  # fmt: skip
# Prefix of ids that we made because the vendor gave none. They are not sent back to it.
OUR_ID = "aia_call_"


class GeminiAnswer(Answer):
    """Parses chunks and the whole answer, which have one shape."""

    closing_mark = False
    model_field = "modelVersion"

    def __init__(self) -> None:
        super().__init__()
        self._wrote = False

    def take(self, event: Any) -> None:
        candidate = next(iter(event.get("candidates") or ()), None) or {}
        for part in (candidate.get("content") or {}).get("parts") or ():
            self._wrote = self._wrote or not part.get("thought")
            if (call := part.get("functionCall")) is not None:
                arguments = call.get("args") or {}
                self.call(
                    str(call.get("id") or OUR_ID + uuid4().hex[:16]),
                    call["name"],
                    arguments if isinstance(arguments, str) else dumped(arguments),
                    part.get("thoughtSignature") or "",
                )
            elif text := part.get("text"):
                self.reasoning(text) if part.get("thought") else self.text(text)
        if "usageMetadata" in event:
            self.report(usage_of(event["usageMetadata"], wrote=self._wrote))
        if event.get("error"):
            raise refusal(event, 200, None, None)
        if (finish := candidate.get("finishReason")) is not None:
            self.stop(finish, FINISH, str(candidate.get("finishMessage") or ""))
        elif self.finish is None and (event.get("promptFeedback") or {}).get("blockReason"):
            self.finish = "content_filter"

    def take_whole(self, answer: Any) -> None:
        self.take(answer)


def refusal(details: Any, code: int, target: Target | None, wait: float | None) -> ProviderError:
    """Return our error for Google's error object. Its details name the kind of a 400 or 429."""
    found = details.get("error", details) if isinstance(details, dict) else {}
    found = found if isinstance(found, dict) else {"message": found or ""}
    kind, reason = str(found.get("status") or ""), ""
    for detail in found.get("details") or ():
        if not isinstance(detail, dict):
            continue
        reason = str(detail.get("reason") or reason)
        if delay := str(detail.get("retryDelay") or "").removesuffix("s"):
            wait = retry_after({"retry-after": delay}) if wait is None else wait
        if any("PerDay" in str(one.get("quotaId")) for one in detail.get("violations") or () if isinstance(one, dict)):
            reason = "insufficient_quota"
    in_answer = code == 200
    status = found.get("code") if in_answer and isinstance(found.get("code"), int) else code
    return error_from_status(
        status or 500, vendor="google", vendor_type=kind, vendor_code=reason, message=str(found.get("message") or ""), retry_after=wait,
        secrets=(target.api_key,) if target else (), in_answer=in_answer,
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
    found = counted(
        None if prompt is None or tools is None else prompt + tools,
        None if answer is None or thoughts is None else answer + thoughts,
        cached_input_tokens=part_of(metadata, "cachedContentTokenCount"),
        reasoning_tokens=thoughts,
    )
    return None if found is None else beside.of_google(found, metadata)


def read_embeddings(body: bytes) -> tuple[list[bytes], Usage | None]:
    """Return the vectors in the order of their inputs, and the usage if the vendor reports it.

    Gemini cuts shortened vectors off, so they are scaled to the length 1 again, as all others are. Raises a ProviderError
    for an error object in place of them.
    """
    data = orjson.loads(body)
    if data.get("error"):
        raise refusal(data, 200, None, None)
    return [vectors.unit(vectors.read(one["values"])) for one in data["embeddings"]], _embedding_usage(data.get("usageMetadata"))


def _embedding_usage(metadata: Any) -> Usage | None:
    tokens = whole_number(metadata.get("promptTokenCount")) if isinstance(metadata, dict) else None
    return None if tokens is None else Usage(input_tokens=tokens)
