"""OpenAI's embeddings: body → our request, our vectors → answer.

Source: platform.openai.com/docs/api-reference/embeddings.
"""

from __future__ import annotations

import asyncio
import base64
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import orjson

from agents.calls.whole import Embedding
from agents.compatible import reading
from agents.compatible.reading import JSON, invalid
from agents.messages import EmbeddingRequest
from agents.providers import vectors
from aiagents.core.jsonio import money

MOST_INPUTS = 2048
# Most values in a body: clients send texts as token numbers, and OpenAI accepts 300,000 tokens in one request.
MOST_VALUES = 310_000
_KNOWN = {"model", "input", "encoding_format", "dimensions", "user", "fallbacks", "max_cost_usd"}
FIELDS = frozenset(_KNOWN)
_MOST_TOKEN = 2**31 - 1
_MOST_CHARACTERS = 10_000_000
# Most numbers encoded on the event loop. More would delay the streams of other callers.
_MOST_ON_EVENT_LOOP = 20_000


@dataclass(frozen=True, slots=True)
class EmbeddingCall:
    """The parsed body: the embedding call and the encoding of its answer."""

    request: EmbeddingRequest
    model: str
    encoding: str
    fallbacks: tuple[str, ...]
    max_cost_usd: Decimal | None


def read(body: JSON) -> EmbeddingCall:
    """Parse the body. Raises InvalidRequest (400) with the name of the invalid field."""
    reading.refuse_unknown(body, _KNOWN)
    return EmbeddingCall(
        request=EmbeddingRequest(
            inputs=_inputs(body.get("input")),
            dimensions=reading.integer(body, "dimensions", 1, 65_536),
            user=reading.text(body, "user", longest=512),
        ),
        model=reading.model(body),
        encoding=reading.choice(body, "encoding_format", {"float", "base64"}) or "float",
        fallbacks=reading.strings(body, "fallbacks", 10),
        max_cost_usd=reading.dollars(body, "max_cost_usd"),
    )


def _inputs(value: Any) -> tuple[str | tuple[int, ...], ...]:
    """Return the inputs of a text, of one text's tokens, or of a list of either."""
    if value is None:
        raise invalid("input", "is required", "missing")
    if isinstance(value, str) or (isinstance(value, list) and value and _is_token(value[0])):
        return (_input(value, "input"),)
    if not isinstance(value, list) or not value:
        raise invalid("input", "must be a non-empty string, a list of strings, or lists of token numbers", "invalid_type")
    if len(value) > MOST_INPUTS:
        raise invalid("input", f"may hold at most {MOST_INPUTS} items")
    if len({type(one) for one in value}) > 1:
        raise invalid("input", "must be all texts or all lists of token numbers", "invalid_type")
    return tuple(_input(one, f"input[{number}]") for number, one in enumerate(value))


def _input(value: Any, param: str) -> str | tuple[int, ...]:
    if isinstance(value, str) and 0 < len(value) <= _MOST_CHARACTERS:
        return value
    if isinstance(value, list) and value and all(_is_token(one) and 0 <= one <= _MOST_TOKEN for one in value):
        return tuple(value)
    raise invalid(param, "must be a non-empty string or a list of token numbers")


def _is_token(value: Any) -> bool:
    return type(value) is int


async def whole(embedding: Embedding, encoding: str) -> bytes:
    """Return the JSON body of the answer. A thread encodes large ones."""
    if sum(map(len, embedding.vectors)) // 4 <= _MOST_ON_EVENT_LOOP:
        return _encoded(embedding, encoding)
    return await asyncio.to_thread(_encoded, embedding, encoding)


def _encoded(embedding: Embedding, encoding: str) -> bytes:
    settled = embedding.settled
    data = (
        b'{"object":"embedding","index":%d,"embedding":%b}' % (index, _value(one, encoding)) for index, one in enumerate(embedding.vectors)
    )
    used = settled.usage.input_tokens
    usage = orjson.dumps({"prompt_tokens": used, "total_tokens": used, "cost_usd": money(settled.cost_usd)})
    return b'{"object":"list","data":[%b],"model":%b,"usage":%b}' % (b",".join(data), orjson.dumps(settled.model), usage)


def _value(packed: bytes, encoding: str) -> bytes:
    if encoding == "base64":
        return b'"%b"' % base64.b64encode(packed)
    return orjson.dumps(vectors.numbers(packed))
