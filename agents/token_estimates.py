"""Estimates the tokens of texts before a vendor counts them. The vendor's count is charged if there is one.

Measured against o200k, UTF-8 bytes / 4 gives 1.15 of the true count for English, 1.6 for German, 2.1 for Russian, 1.3 for
Chinese and 0.6 for JSON and code. So a hold assumes bytes / 2, which covers all of these. Displayed counts, and charges
without a vendor's count, assume bytes / 4 plus a share for punctuation, because code has many short tokens.
"""

from __future__ import annotations

import re

from agents.messages import CompletionRequest, EmbeddingRequest, File, Image, Part, Reasoning, Text, ToolOutput, ToolUse
from aiagents.core import jsonio

BYTES_PER_TOKEN = 4
_HOLD_BYTES_PER_TOKEN = 2
# Tokens of the role and separators around a message, and of the frame around a tool.
_PER_MESSAGE, _PER_TOOL = 8, 16
# The largest usual count for one image (Anthropic's 1.15 megapixels / 750, OpenAI's eight tiles). A higher count of the
# vendor is charged, and the part above the hold is stored as overrun.
IMAGE_TOKENS = 2048
# A PDF is text and rendered pages; a page of 3,000 tokens weighs 24 KiB at least.
_FILE_BYTES_PER_TOKEN, _FILE_LEAST = 8, 1500
_PUNCTUATION = re.compile(r"[^\w\s]")
# Characters of a text whose punctuation is counted.
_COUNTED_CHARACTERS = 64 * 1024


def size(text: str) -> int:
    """Return the number of UTF-8 bytes."""
    return len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))


def estimate_text(text: str) -> int:
    """Return the estimated tokens of a text, for display and for charges without a vendor's count."""
    marks = len(_PUNCTUATION.findall(text[:_COUNTED_CHARACTERS]))
    if len(text) > _COUNTED_CHARACTERS:  # extrapolated, to keep very long texts cheap
        marks = marks * len(text) // _COUNTED_CHARACTERS
    return -(-size(text) // BYTES_PER_TOKEN) + marks // 4


def estimate_input(request: CompletionRequest) -> int:
    """Return an upper bound, in nearly all cases, of the request's input tokens, for the hold."""
    total = size(request.system)
    tokens = _PER_MESSAGE * (len(request.messages) + 1) + _PER_TOOL * len(request.tools)
    for message in request.messages:
        for part in message.parts:
            if type(part) is Text:
                total += size(part.text)
            else:
                tokens += _estimate_part(part)
    for tool in request.tools:
        total += size(tool.name) + size(tool.description) + len(jsonio.dumps(tool.parameters))
    if request.response_format:
        total += len(jsonio.dumps(request.response_format))
    return tokens + -(-total // _HOLD_BYTES_PER_TOKEN)


def estimate_embedding(request: EmbeddingRequest) -> int:
    """Return an upper bound of an embedding request's tokens, for the hold."""
    return sum(len(one) if isinstance(one, tuple) else 1 - (-size(one) // _HOLD_BYTES_PER_TOKEN) for one in request.inputs)


def typical(estimate: int) -> int:
    """Return the likely tokens for an upper bound: for windows and for comparing prices, not for charges."""
    return max(1, estimate // 2)


def _estimate_part(part: Part) -> int:
    match part:
        case Image():
            return IMAGE_TOKENS
        case File():
            return max(_FILE_LEAST, len(part.data) * 3 // 4 // _FILE_BYTES_PER_TOKEN)
        case ToolUse():
            return -(-(size(part.name) + size(part.arguments)) // _HOLD_BYTES_PER_TOKEN) + _PER_TOOL
        case ToolOutput():
            return -(-size(part.output) // _HOLD_BYTES_PER_TOKEN) + _PER_TOOL
        case Reasoning():
            return -(-(size(part.text) + size(part.signature)) // _HOLD_BYTES_PER_TOKEN)
        case Text():
            return -(-size(part.text) // _HOLD_BYTES_PER_TOKEN)
