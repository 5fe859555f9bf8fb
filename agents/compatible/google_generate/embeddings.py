"""Gemini's embedContent and batchEmbedContents: body → our request, our vectors → answer. Source: ai.google.dev/api/embeddings."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import orjson

from agents.calls.whole import Embedding
from agents.compatible import reading
from agents.compatible.google_generate.contents import named, text_of
from agents.compatible.reading import JSON, invalid
from agents.messages import EmbeddingRequest
from agents.providers import vectors

MOST_INPUTS = 100
FIELDS = {"content", "taskType", "title", "outputDimensionality", "embedContentConfig"}
_CONFIG = {"taskType", "title", "outputDimensionality", "autoTruncate"}
_TASKS = {
    "SEMANTIC_SIMILARITY", "CLASSIFICATION", "CLUSTERING", "RETRIEVAL_DOCUMENT", "RETRIEVAL_QUERY", "CODE_RETRIEVAL_QUERY",
    "QUESTION_ANSWERING", "FACT_VERIFICATION",
}  # fmt: skip


def read(body: JSON) -> EmbeddingRequest:
    """Parse a batchEmbedContents body. Raises InvalidRequest (400) with the name of the invalid field."""
    reading.refuse_unknown(body, {"requests"})
    items = reading.items(body, "requests", required=True)
    if len(items) > MOST_INPUTS:
        raise invalid("requests", f"may hold at most {MOST_INPUTS} items")
    found = [_one(item, f"requests[{number}].") for number, item in enumerate(items)]
    if len({(one.dimensions, one.task) for one in found}) > 1:
        raise invalid("requests", "must all have the same outputDimensionality and taskType")
    return EmbeddingRequest(tuple(text for one in found for text in one.inputs), found[0].dimensions, task=found[0].task)


def read_one(body: JSON) -> EmbeddingRequest:
    """Parse an embedContent body. Raises InvalidRequest (400) with the name of the invalid field."""
    return _one(body, "")


def _one(given: JSON, at: str) -> EmbeddingRequest:
    item = named(given)
    reading.refuse_unknown(item, FIELDS)
    config = named(reading.mapping(item.get("embedContentConfig") or {}, at + "embedContentConfig"))
    reading.refuse_unknown(config, _CONFIG)
    config = {**config, **{name: item[name] for name in _CONFIG if item.get(name) is not None}}
    if config.get("title") is not None:
        raise reading.unsupported_parameter(at + "title", "put it in front of the text")
    task = reading.choice(config, "taskType", _TASKS | {"TASK_TYPE_UNSPECIFIED"}) or ""
    native_only = reading.NativeOnly()
    text = text_of(item.get("content"), at + "content", native_only)
    if native_only.error is not None:
        raise native_only.error
    if not text:
        raise invalid(at + "content", "must hold text", "missing")
    return EmbeddingRequest(
        (text,), reading.integer(config, "outputDimensionality", 1, 65_536), task=task.replace("TASK_TYPE_UNSPECIFIED", "")
    )


async def whole(embedding: Embedding, *, batch: bool) -> bytes:
    """Return the JSON body of the answer. A thread encodes it: a hundred vectors are a megabyte."""
    return await asyncio.to_thread(_encoded, embedding.vectors, batch)


def _encoded(found: Sequence[bytes], batch: bool) -> bytes:
    values = [b'{"values":%b}' % orjson.dumps(vectors.numbers(one)) for one in found]
    return b'{"embeddings":[%b]}' % b",".join(values) if batch else b'{"embedding":%b}' % values[0]
