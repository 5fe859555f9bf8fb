"""The base of adapters whose vendors make embeddings: it sends batches one after the other, over the same transport."""

from __future__ import annotations

import asyncio
from abc import abstractmethod
from collections.abc import AsyncGenerator, Iterator
from dataclasses import replace
from typing import Any

import orjson
from django.conf import settings
from yarl import URL

from agents.events import Completed, Event, UsageReport, Vectors
from agents.messages import EmbeddingRequest, byte_size, estimate_text
from agents.providers.answer import PARSE_ERRORS, unreadable
from agents.providers.base import Target
from agents.providers.errors import ProviderBadResponse
from agents.providers.relay import Address, HttpProvider
from billing.pricing import Usage

# OpenAI accepts 300,000 tokens in one request; a token is two bytes or more.
_MOST_TOKENS = 250_000


class EmbeddingProvider(HttpProvider):
    """An adapter that also makes vectors."""

    # Inputs of one vendor request: bounds the answer, and so our memory.
    most_inputs = 256

    @abstractmethod
    def embedding_url(self, address: Address) -> URL:
        """Return the URL for embeddings. `address` is that of a whole completion: the same server, headers and key."""

    @abstractmethod
    def embedding_payload(self, request: EmbeddingRequest, target: Target) -> dict[str, Any]:
        """Return the JSON body of one batch."""

    @abstractmethod
    def read_embeddings(self, body: bytes) -> tuple[list[bytes], Usage | None]:
        """Return the vendor's vectors in the order of the inputs, and its usage. May raise any of PARSE_ERRORS."""

    async def embed(self, request: EmbeddingRequest, target: Target) -> AsyncGenerator[Event, None]:
        """As Provider.embed. Estimates the input of a vendor that reports no usage; then `Completed` has no usage."""
        found: list[bytes] = []
        usage, counted = Usage(), True
        deadline = asyncio.get_running_loop().time() + settings.LLM_TOTAL_TIMEOUT
        with self.errors(target):
            address = await self.address(target, stream=False)
            address = replace(address, url=self.embedding_url(address))
            for batch in self._batches(request):
                content = orjson.dumps(self.embedding_payload(batch, target))
                left = deadline - asyncio.get_running_loop().time()
                body = await self.read_whole(address, content, min(settings.LLM_FIRST_TOKEN_TIMEOUT, max(0.0, left)))
                try:
                    vectors, reported = self.read_embeddings(body)
                except PARSE_ERRORS as exc:
                    raise unreadable("The model's vendor sent embeddings that cannot be read.", body) from exc
                _check(vectors, found, batch, len(body))
                found += vectors
                if reported is None:
                    reported, counted = Usage(input_tokens=_estimate(batch)), False
                usage += reported
                yield UsageReport(usage)
        yield Vectors(found)
        yield Completed("stop", usage if counted else None)

    def _batches(self, request: EmbeddingRequest) -> Iterator[EmbeddingRequest]:
        start = size = 0
        for position, one in enumerate(request.inputs):
            weight = len(one) if isinstance(one, tuple) else byte_size(one) // 2
            if position > start and (position - start >= self.most_inputs or size + weight > _MOST_TOKENS):
                yield replace(request, inputs=request.inputs[start:position])
                start, size = position, 0
            size += weight
        yield replace(request, inputs=request.inputs[start:])


def _check(vectors: list[bytes], before: list[bytes], batch: EmbeddingRequest, received_bytes: int) -> None:
    """Raise ProviderBadResponse for a wrong number or length of vectors, which would spoil a caller's index.

    The vendor made these vectors and may charge for them, so no other model is tried.
    """
    wanted = 4 * batch.dimensions if batch.dimensions else len((before or vectors or [b""])[0])
    wrong = ""
    if len(vectors) != len(batch.inputs):
        wrong = "number"
    elif any(len(one) != wanted for one in vectors):
        wrong = "length"
    if wrong:
        error = ProviderBadResponse(
            f"The model's vendor sent embeddings of another {wrong} than requested.", details={"received_bytes": received_bytes}
        )
        error.answered = True
        raise error


def _estimate(batch: EmbeddingRequest) -> int:
    return sum(len(one) if isinstance(one, tuple) else max(1, estimate_text(one)) for one in batch.inputs)
