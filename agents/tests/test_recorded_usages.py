"""Recorded usages of all vendors and dialects: our cost equals the vendor's published arithmetic to the last digit.

`data/recorded_usages.json` has the shape that each vendor publishes (`source`) and, by hand, the tokens of each kind with
their price in US dollars per million (`lines`), and the calls of tools with their price (`calls`).
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from decimal import Decimal as D
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from uuid import UUID

import pytest

from agents.compatible.anthropic_messages import request as messages_request
from agents.compatible.openai_chat import request as chat_request
from agents.compatible.openai_responses import request as responses_request
from agents.messages import CompletionRequest, Message, Text
from agents.providers.base import Target
from agents.routing.candidates import expected_cost, rates_of, row
from agents.routing.rank import Facts
from agents.tests.scripted import Scripted, chat_stream, chat_whole, sse
from agents.tests.vendors import hear
from billing.catalogue import price_list, snapshot, update
from billing.catalogue.snapshot import ModelCard
from billing.ledger.charging import Held, Outcome, charge
from billing.models import AIModel, ModelPrice
from billing.pricing import Usage, cost, highest_cost
from billing.tests.making import call_of

RECORDED: list[dict[str, Any]] = json.loads((Path(__file__).parent / "data" / "recorded_usages.json").read_text())
PROVIDERS = {"anthropic": "anthropic", "chat": "openai", "responses": "openai", "google": "google", "compatible": "openai_compatible"}
each = pytest.mark.parametrize("one", RECORDED, ids=[one["name"] for one in RECORDED])
both = pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
CALLER: Any = SimpleNamespace(pk=UUID(int=1), auth_epoch=1)
HI = [{"role": "user", "content": "Hi"}]
INSTALLED = price_list.installed()
ENTRIES = {entry["slug"]: entry for entry in update.entries()}


def card(one: dict[str, Any]) -> ModelCard:
    """The model as the catalogue has it today, or with the vendor's published price for a compatible server."""
    if one["wire"] == "compatible":
        model = AIModel(
            slug=one["model"], provider="openai_compatible", vendor_model=one["model"], context_window=10**6, max_output_tokens=1000
        )
        return snapshot.card(model, ModelPrice(**{name: D(rate) for name, rate in one["prices"].items()}))
    entry = ENTRIES[one["model"]]
    model = AIModel(slug=entry["slug"], **update.fields_of(entry))
    listed = [price for price in update.listed_prices(model, entry, INSTALLED) if price.effective_from <= datetime.now(UTC)]
    return snapshot.card(model, ModelPrice(**listed[-1].columns))


def request(one: dict[str, Any]) -> CompletionRequest:
    """The request as its client sends it."""
    more = {"model": one["model"], **one.get("request", {})}
    if one["wire"] == "anthropic":
        return messages_request.read({"messages": HI, "max_tokens": 1000, **more}).request
    if one["wire"] == "responses":
        return responses_request.read({"input": "Hi", "max_output_tokens": 1000, **more}).request
    if one["wire"] == "chat":
        return chat_request.read({"messages": HI, "max_tokens": 1000, **more}).request
    return CompletionRequest((Message("user", (Text("Hi"),)),), max_output_tokens=1000)


def _anthropic(one: dict[str, Any], stream: bool) -> Any:
    body = {"type": "message", "id": "msg_1", "role": "assistant", "model": one["model"], "content": [{"type": "text", "text": "Hi"}]}
    if not stream:
        return {**body, "stop_reason": "end_turn", "usage": one["usage"]}
    # The start has what is known then, the end repeats the counts as MessageDeltaUsage has them.
    last = {name: value for name, value in one["usage"].items() if name not in ("cache_creation", "service_tier", "speed", "inference_geo")}
    first = {name: value for name, value in one["usage"].items() if name not in ("server_tool_use", "iterations", "output_tokens_details")}
    return sse(
        {"type": "message_start", "message": {**body, "content": [], "usage": {**first, "output_tokens": 1}}},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "Hi"}},
        {"type": "content_block_stop", "index": 0},
        {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": last},
        {"type": "message_stop"},
    )


def _responses(one: dict[str, Any], stream: bool) -> Any:
    output = [{"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "Hi", "annotations": []}]}]
    body = {"id": "r", "status": "completed", "output": output, "usage": one["usage"], **one.get("answer", {})}
    if not stream:
        return body
    created = {"type": "response.created", "response": {**body, "status": "in_progress", "output": [], "usage": None}}
    return sse(created, {"type": "response.output_text.delta", "delta": "Hi"}, {"type": "response.completed", "response": body})


def _chat(one: dict[str, Any], stream: bool) -> Any:
    usage, place, more = one["usage"], one.get("place"), one.get("answer", {})
    at_end: dict[str, Any] = {"x_groq": {"id": "req_1", "usage": usage}} if place == "x_groq" else {"usage": usage}
    if place == "choice":
        at_end = {}
    found = chat_stream({"content": "Hi"}, **at_end, **more) if stream else chat_whole({"content": "Hi"}, **at_end, **more)
    if place != "choice":
        return found
    if stream:
        return found.replace(b'"finish_reason": "stop"', b'"finish_reason": "stop", "usage": ' + json.dumps(usage).encode())
    return {"choices": [{**found["choices"][0], "usage": usage}]}


def _google(one: dict[str, Any], stream: bool) -> Any:
    parts = [] if one.get("answer", {}).get("empty") else [{"text": "Hi"}]
    end = {"candidates": [{"content": {"parts": parts}, "finishReason": "STOP"}], "usageMetadata": one["usage"]}
    return sse({"candidates": [{"content": {"parts": parts}}], "usageMetadata": {"promptTokenCount": 1}}, end) if stream else end


ANSWERS = {"anthropic": _anthropic, "responses": _responses, "chat": _chat, "compatible": _chat, "google": _google}


async def reported(one: dict[str, Any], stream: bool, settings: Any, known: ModelCard) -> Usage:
    async with Scripted(ANSWERS[one["wire"]](one, stream)).serve(settings):
        where = Target(known.provider, known.vendor_model, settings.SIMULATOR_URL, "key", 1000, name=known.slug, endpoint=known.endpoint)
        usage = (await hear(known.provider, request(one), where, whole=not stream)).end.usage
    assert usage is not None
    return usage


def test_there_are_enough_of_every_vendor_and_kind():
    assert len(RECORDED) >= 60
    assert {wire: sum(one["wire"] == wire for one in RECORDED) >= 10 for wire in PROVIDERS} == dict.fromkeys(PROVIDERS, True)
    kinds = {line[0] for one in RECORDED for line in one["lines"]}
    assert kinds >= {"input", "output", "read", "cached", "write", "write 1h", "audio", "cached audio"}
    assert all(one["source"] for one in RECORDED)


@each
def test_the_arithmetic_by_hand_adds_up(one: dict[str, Any]):
    tokens = sum((D(count) * D(rate) for _, count, rate in one["lines"]), D(0)) / 10**6
    assert tokens + sum((count * D(price) for _, count, price in one.get("calls", [])), D(0)) == D(one["usd"])


@each
@both
async def test_our_cost_is_the_vendors_to_the_last_digit(settings, one: dict[str, Any], stream: bool):
    known = card(one)
    usage = await reported(one, stream, settings, known)
    asked = request(one).priced
    held = Held(call_of(CALLER), D(1), rates_of(known, asked), 10, ())
    charged = charge(held, Outcome("ok", usage))
    assert (charged.cost_usd, charged.estimated, charged.flagged) == (D(one["usd"]), False, "")
    # What is stored computes the same cost again.
    assert cost(charged.rates, charged.usage) == D(one["usd"])


@each
async def test_the_estimate_of_a_call_with_the_tokens_that_came_is_its_charge(settings, one: dict[str, Any]):
    """The hold of a call of this size covers it, and the router's expected cost is what it costs."""
    known, asked = card(one), request(one)
    usage = await reported(one, False, settings, known)
    rates = rates_of(known, asked.priced)
    used = dict(usage.units)
    most = highest_cost(rates, usage.input_tokens, usage.output_tokens, long_writes=asked.priced.long_writes, units=tuple(used.items()))
    reads_are_cheaper = not usage.media and usage.cache_write_1h_tokens == 0
    if reads_are_cheaper or asked.priced.long_writes:
        assert most >= D(one["usd"])
    plain = not (usage.cache_write_tokens or usage.media or usage.units or usage.mode or asked.priced.mode)
    if plain:
        expected = expected_cost(known, usage.input_tokens, usage.output_tokens, cached=usage.cached_input_tokens)
        assert expected == pytest.approx(float(one["usd"]), rel=1e-12)


def test_a_model_is_removed_where_the_request_asks_for_what_it_has_no_price_for():
    known = card(next(one for one in RECORDED if one["model"] == "claude-haiku-4-5"))
    asked = messages_request.read({"messages": HI, "max_tokens": 10, "model": known.slug, "speed": "fast"}).request
    found = row(Facts(known.slug, "balanced", frozenset(), 10, priced=asked.priced), known, {}, {known.slug})
    assert found.removed is not None and (found.removed.code, found.removed.param) == ("no_price", "speed")
