"""How many tokens a text is, before any vendor has counted. Offline there is no exact way; the bill is the vendor's count.

Measured against o200k, UTF-8 bytes / 4 gives 1.15 of the true count for English, 1.6 German, 2.1 Russian, 1.3 Chinese and
0.6 for JSON and code. So money is held for bytes / 2, which covers all of these, and what is shown or, lacking a report,
billed is bytes / 4 plus a share for punctuation, which is what makes code dense.
"""

from __future__ import annotations

import re

from agents.messages import CompletionRequest, EmbeddingRequest, File, Image, Part, Reasoning, Text, ToolOutput, ToolUse
from aiagents.core import jsonio

BYTES_PER_TOKEN = 4
_HELD_BYTES_PER_TOKEN = 2
# Role marks and separators around a message; the frame of one tool.
_PER_MESSAGE, _PER_TOOL = 8, 16
# The largest usual count for one picture (Anthropic's 1.15 megapixels / 750, OpenAI's eight tiles); a vendor that
# counts higher is charged truly, and what exceeds the hold is stored as overrun.
IMAGE_TOKENS = 2048
# A PDF is text and rendered pages; a page of 3,000 tokens weighs 24 KiB at least.
_FILE_BYTES_PER_TOKEN, _FILE_LEAST = 8, 1500
_PUNCTUATION = re.compile(r"[^\w\s]")
# Characters of a text whose punctuation is counted.
_READ = 64 * 1024


def size(text: str) -> int:
    """UTF-8 bytes."""
    return len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))


def estimate_text(text: str) -> int:
    """About how many tokens `text` is: for display, and for billing where the vendor reported nothing."""
    marks = len(_PUNCTUATION.findall(text[:_READ]))
    if len(text) > _READ:  # the rest is taken to be like the beginning: a text of ten million characters is not read mark by mark
        marks = marks * len(text) // _READ
    return -(-size(text) // BYTES_PER_TOKEN) + marks // 4


def estimate_input(request: CompletionRequest) -> int:
    """A bound from above, in nearly every case, of the request's input tokens: what a hold must cover."""
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
    return tokens + -(-total // _HELD_BYTES_PER_TOKEN)


def estimate_embedding(request: EmbeddingRequest) -> int:
    """A bound from above of an embedding request's tokens: what a hold must cover."""
    return sum(len(one) if isinstance(one, tuple) else 1 - (-size(one) // _HELD_BYTES_PER_TOKEN) for one in request.inputs)


def typical(estimate: int) -> int:
    """From the bound to what is likely: for windows and for comparing prices, not for money."""
    return max(1, estimate // 2)


def _estimate_part(part: Part) -> int:
    match part:
        case Image():
            return IMAGE_TOKENS
        case File():
            return max(_FILE_LEAST, len(part.data) * 3 // 4 // _FILE_BYTES_PER_TOKEN)
        case ToolUse():
            return -(-(size(part.name) + size(part.arguments)) // _HELD_BYTES_PER_TOKEN) + _PER_TOOL
        case ToolOutput():
            return -(-size(part.output) // _HELD_BYTES_PER_TOKEN) + _PER_TOOL
        case Reasoning():
            return -(-(size(part.text) + size(part.signature)) // _HELD_BYTES_PER_TOKEN)
        case Text():
            return -(-size(part.text) // _HELD_BYTES_PER_TOKEN)
