"""What is known of a call that broke off: was the vendor asked, had it begun its answer, may another call take its place."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from agents.calls import running as running_calls
from agents.calls import service as calls
from agents.calls import whole
from agents.messages import EmbeddingRequest
from agents.providers import errors
from agents.providers.answer import Answer
from agents.providers.anthropic.answer import MessageAnswer
from agents.providers.google.answer import GeminiAnswer
from agents.providers.openai.answer import ChatAnswer
from agents.tests.conftest import ask
from aiagents.core.db.calls import in_db
from aiagents.core.errors import AppError
from billing.ledger import service as ledger
from billing.ledger.charging import Outcome
from billing.models import Hold, UsageLog
from tests.kit.waiting import until

pytestmark = [pytest.mark.django_db(transaction=True)]
MODELS = {"openai": "gpt-4o-mini", "anthropic": "claude-haiku-4-5", "google": "gemini-2.5-flash"}
BODY = json.dumps({"choices": [{"message": {"content": "forty-two " * 40}, "finish_reason": "stop"}]}).encode()


class Vendor:
    """A server that answers every request with the same bytes, and counts them; `length` may promise more than comes."""

    def __init__(self, body: bytes, *, length: int | None = None, status: int = 200, headers: str = "") -> None:
        size = len(body) if length is None else length
        self.head = f"HTTP/1.1 {status} X\r\nContent-Type: application/json\r\nContent-Length: {size}\r\n{headers}\r\n"
        self.body, self.asked = body, 0

    @asynccontextmanager
    async def serve(self, settings) -> AsyncIterator[Vendor]:
        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            head = await reader.readuntil(b"\r\n\r\n")
            length = next(int(line.split(b":")[1]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length"))
            await reader.readexactly(length)
            self.asked += 1
            writer.write(self.head.encode() + self.body)
            await writer.drain()
            writer.close()

        server = await asyncio.start_server(answer, "127.0.0.1", 0)
        settings.SIMULATOR_URL = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        try:
            yield self
        finally:
            server.close()
            await running_calls.finish_settlements()


async def row() -> UsageLog:
    return await UsageLog.objects.aget()


# --- a whole answer that breaks off ---------------------------------------------------------------


@pytest.mark.parametrize("cut_at", [0, 1, len(BODY) // 2, len(BODY) - 1])
async def test_a_whole_answer_cut_in_mid_body_is_not_asked_for_again(context, settings, cut_at):
    async with Vendor(BODY[:cut_at], length=len(BODY)).serve(settings) as vendor:
        with pytest.raises(errors.ProviderTruncated):
            await whole.complete(ask("hi"), context())
    assert vendor.asked == 1
    paid = await row()
    assert paid.estimated and paid.vendor_asked and paid.status == "interrupted" and paid.error_code == "provider_truncated"
    assert paid.output_tokens == -(-cut_at // 4) and paid.input_tokens > 0 and paid.cost_usd > 0


async def test_a_whole_answer_that_cannot_be_read_is_not_asked_for_again(context, settings):
    async with Vendor(b'{"choices": [{"message": {"content": "a').serve(settings) as vendor:
        with pytest.raises(errors.ProviderBadResponse):
            await whole.complete(ask("hi"), context())
    assert vendor.asked == 1 and (await row()).cost_usd > 0


@pytest.mark.parametrize(("status", "body"), [(500, b"{}"), (503, b"{}"), (200, b"<html>a proxy's page</html>")])
async def test_what_is_no_answer_is_asked_for_again_and_costs_nothing(context, settings, status, body):
    async with Vendor(body, status=status).serve(settings) as vendor:
        with pytest.raises(AppError):
            await whole.complete(ask("hi"), context())
    assert vendor.asked == settings.LLM_MAX_ATTEMPTS
    rows = [one async for one in UsageLog.objects.all()]
    assert len(rows) == vendor.asked and all(one.cost_usd == 0 and one.vendor_asked for one in rows)


@pytest.mark.parametrize("vectors", [[], [[1.0]], [[1.0], [1.0, 0.0]], [[1.0], [1.0], [1.0]]], ids=["none", "few", "lengths", "many"])
async def test_vectors_that_do_not_fit_the_request_are_paid_once(context, settings, vectors):
    data = [{"object": "embedding", "index": index, "embedding": vector} for index, vector in enumerate(vectors)]
    body = json.dumps({"object": "list", "data": data, "usage": {"prompt_tokens": 2}}).encode()
    async with Vendor(body).serve(settings) as vendor:
        with pytest.raises(errors.ProviderBadResponse):
            await whole.embed(EmbeddingRequest(("one", "two")), context("text-embedding-3-small"))
    assert vendor.asked == 1
    paid = await row()
    assert paid.vendor_asked and paid.estimated and paid.input_tokens > 0 and paid.cost_usd > 0


# --- half a surrogate pair ------------------------------------------------------------------------

HALF = r"a\ud800b"
WHOLE = {
    "openai": (lambda: ChatAnswer(True), {"choices": [{"message": {"content": "T", "tool_calls": [
        {"id": "T", "function": {"name": "T", "arguments": "{}"}}]}, "finish_reason": "stop"}]}),
    "anthropic": (MessageAnswer, {"content": [{"type": "thinking", "thinking": "T", "signature": "T"}, {"type": "text", "text": "T"},
        {"type": "tool_use", "id": "T", "name": "T", "input": {"T": "T"}}], "stop_reason": "end_turn"}),
    "google": (GeminiAnswer, {"candidates": [{"content": {"parts": [{"text": "T"},
        {"functionCall": {"name": "T", "id": "T", "args": {"T": ["T"]}}, "thoughtSignature": "T"}]}, "finishReason": "STOP"}]}),
}  # fmt: skip


@pytest.mark.parametrize("wire", WHOLE)
def test_half_a_surrogate_pair_is_cleaned_in_whole_answers_as_in_streams(wire):
    make, answer = WHOLE[wire]
    body = json.dumps(answer).replace('"T"', f'"{HALF}"').encode()
    found: Answer = make()
    events = found.feed_whole(body)
    assert any("a?b" in repr(event) for event in events)
    for event in events:
        repr(event).encode()  # storable: nothing of it is half a character
        assert "\\ud800" not in repr(event)


async def test_half_a_surrogate_pair_in_a_whole_answer_is_paid_once(context, settings):
    body = b'{"choices": [{"message": {"content": "a\\ud800b"}, "finish_reason": "stop"}],'
    body += b' "usage": {"prompt_tokens": 3, "completion_tokens": 2}}'
    async with Vendor(body).serve(settings) as vendor:
        found = await whole.complete(ask("hi"), context())
    assert (found.text, vendor.asked, found.settled.usage.output_tokens) == ("a?b", 1, 2)


# --- was the vendor asked -------------------------------------------------------------------------


async def test_a_request_that_was_never_sent_costs_nothing_and_is_marked(context, settings):
    settings.SIMULATOR_URL = "http://127.0.0.1:1"  # no server listens there
    with pytest.raises(AppError):
        await whole.complete(ask("hi"), context())
    rows = [one async for one in UsageLog.objects.all()]
    assert rows and all(one.vendor_asked is False and one.cost_usd == 0 for one in rows)


@pytest.mark.parametrize("wire", MODELS)
@pytest.mark.parametrize("whole", [False, True], ids=["stream", "whole"])
async def test_an_answer_marks_its_request_as_sent(wire, whole, context, vendor):
    async with vendor():
        async for _ in calls.stream(ask("hi"), context(MODELS[wire]), whole=whole):
            pass
    assert (await row()).vendor_asked is True


async def test_who_hangs_up_on_a_whole_answer_pays_the_estimate(context, vendor):
    async with vendor() as sim:
        task = asyncio.create_task(whole.complete(ask("[[sim:hang]] hi"), context()))
        await until(lambda: sim.requests)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await running_calls.finish_settlements()
    paid = await row()
    assert paid.status == "cancelled" and paid.vendor_asked and paid.estimated and paid.cost_usd > 0


async def test_a_call_of_which_nothing_is_known_is_charged_by_estimate(context, vendor):
    async with vendor():
        await whole.complete(ask("hi"), context())
    done = await Hold.objects.aget()
    held = await in_db(ledger.held_of, done)
    charged = ledger.charge(held, Outcome("interrupted", None))
    assert charged.estimated and charged.cost_usd > 0
    assert ledger.charge(held, Outcome("interrupted", None, request_sent=False)).cost_usd == 0


# --- Retry-After ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "headers",
    ["Retry-After: 999999999", "Retry-After: 1e300", "retry-after-ms: 1e15",
     "Retry-After: Wed, 21 Oct 2099 07:28:00 GMT"],
)  # fmt: skip
async def test_a_vendors_wish_to_wait_is_passed_on_up_to_an_hour(context, settings, headers):
    async with Vendor(b"{}", status=429, headers=headers + "\r\n").serve(settings):
        with pytest.raises(AppError) as failed:
            await whole.complete(ask("hi"), context())
    assert failed.value.retry_after == settings.PROVIDER_RETRY_AFTER_MOST == 3600


@pytest.mark.parametrize("headers", ["Retry-After: -5", "Retry-After: nan", "Retry-After: inf", "retry-after-ms: nan", "Retry-After: soon"])
def test_nonsense_is_no_wish(headers):
    name, _, value = headers.partition(": ")
    assert errors.retry_after({name.lower(): value}) is None
    assert errors.retry_after({"retry-after": "Wed, 21 Oct 2099 07:28:00 +99999999999999"}) is None
