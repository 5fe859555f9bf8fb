"""A usage report that cannot be read is no report: it is never counted as 0, and what is estimated is marked so.

One table of values for every wire, every place of a count in it, streamed and whole.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import orjson
import pytest

from agents.calls import service as calls
from agents.calls import whole
from agents.events import Completed, Event, Settled, TextDelta, UsageReport
from agents.providers.answer import Answer
from agents.providers.anthropic.answer import MessageAnswer
from agents.providers.google.answer import GeminiAnswer
from agents.providers.google.answer import read_embeddings as google_embeddings
from agents.providers.openai.answer import ChatAnswer
from agents.providers.openai.answer import read_embeddings as openai_embeddings
from agents.tests.conftest import ask
from aiagents.core.ids import uuid7
from billing.ledger.charging import Call, Charge, Held, Outcome, charge
from billing.models import UsageLog
from billing.pricing import Rates, Usage

JSON = dict[str, Any]
TEXT = "Forty-two words of an answer. " * 20
SEEN = -(-len(TEXT.encode()) // 4)
RATES = Rates(Decimal(3), Decimal(15))
ABSENT = "(the field is absent)"
# What is no count, whatever the wire; None is its own case, because vendors send it for "nothing".
NO_COUNT = [None, ABSENT, [], {}, {"tokens": 5}, True, -1, -1200, "-5", "", "many", "12 tokens", "١٢", "NaN", "1e3", "0x10"]
COUNTS = [(1200, 1200), ("1200", 1200), (" 1200 ", 1200), (1200.0, 1200), ("1200.0", 1200), (0, 0), ("0", 0)]


def put(counts: JSON, name: str, value: Any) -> JSON:
    return {key: one for key, one in {**counts, name: value}.items() if one is not ABSENT}


def openai(usage: Any) -> tuple[list[JSON], JSON, Callable[[], Answer]]:
    stream = [
        {"choices": [{"delta": {"content": TEXT}}]}, {"choices": [{"delta": {}, "finish_reason": "stop"}]}, {"choices": [], "usage": usage},
    ]  # fmt: skip
    whole = {"choices": [{"message": {"content": TEXT}, "finish_reason": "stop"}], "usage": usage}
    return stream, whole, lambda: ChatAnswer(True)


def anthropic(usage: Any) -> tuple[list[JSON], JSON, Callable[[], Answer]]:
    opening = {"input_tokens": usage["input_tokens"], "output_tokens": 1} if isinstance(usage, dict) and "input_tokens" in usage else {}
    final = {"output_tokens": usage["output_tokens"]} if isinstance(usage, dict) and "output_tokens" in usage else {}
    stream = [
        {"type": "message_start", "message": {"usage": opening or {"output_tokens": 1}}},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": TEXT}},
        {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": final},
        {"type": "message_stop"},
    ]
    whole = {"type": "message", "content": [{"type": "text", "text": TEXT}], "stop_reason": "end_turn", "usage": usage}
    return stream, whole, MessageAnswer


def google(usage: Any) -> tuple[list[JSON], JSON, Callable[[], Answer]]:
    # The first chunk already counts, as Gemini's do: it is not the last word.
    early = {"promptTokenCount": usage["promptTokenCount"], "candidatesTokenCount": 1} if "promptTokenCount" in usage else {}
    begun = {"candidates": [{"content": {"parts": [{"text": TEXT[:5]}]}}]} | ({"usageMetadata": early} if early else {})
    ended = {"candidates": [{"content": {"parts": [{"text": TEXT[5:]}]}, "finishReason": "STOP"}], "usageMetadata": usage}
    whole = {"candidates": [{"content": {"parts": [{"text": TEXT}]}, "finishReason": "STOP"}], "usageMetadata": usage}
    return [begun, ended], whole, GeminiAnswer


WIRES: dict[str, tuple[Any, str, str, JSON]] = {
    "openai": (openai, "prompt_tokens", "completion_tokens", {"prompt_tokens": 1000, "completion_tokens": 500}),
    "anthropic": (anthropic, "input_tokens", "output_tokens", {"input_tokens": 1000, "output_tokens": 500}),
    "google": (google, "promptTokenCount", "candidatesTokenCount", {"promptTokenCount": 1000, "candidatesTokenCount": 500}),
}
wires = pytest.mark.parametrize("wire", WIRES)
both = pytest.mark.parametrize("whole", [False, True], ids=["stream", "whole"])


def events_of(wire: str, usage: Any, whole: bool) -> list[Event]:
    stream, answer, make = WIRES[wire][0](usage)
    parser = make()
    if whole:
        return parser.feed_whole(orjson.dumps(answer))
    out = parser.feed([orjson.dumps(event) for event in stream])
    assert parser.error is None
    return [*out, *parser.end()]


def charged(events: list[Event]) -> Charge:
    """What the ledger charges for these events, reckoned as an attempt does."""
    usage, completed, seen = None, None, 0
    for event in events:
        match event:
            case TextDelta():
                seen += len(event.text.encode())
            case UsageReport():
                usage = event.usage
            case Completed():
                completed, usage = event, event.usage or usage
    assert completed is not None
    call = Call(uuid7(), uuid7(), uuid7(), 0, None, None, None, None, None, "chat", "rest", "", 1, "m", "m", "openai", "", False)
    outcome = Outcome("ok", usage, -(-seen // 4), partial=usage is not None and completed.usage is None)
    return charge(Held(call, Decimal(1), RATES, 800, ()), outcome)


@wires
@both
@pytest.mark.parametrize("value", NO_COUNT, ids=repr)
def test_an_output_count_that_cannot_be_read_is_estimated_and_marked(wire, whole, value):
    _, _, name, good = WIRES[wire]
    events = events_of(wire, put(good, name, value), whole)
    assert events[-1].usage is None
    found = charged(events)
    assert found.estimated and found.usage.output_tokens == SEEN
    assert found.usage.input_tokens == 1000  # what was reported is not estimated
    assert found.cost_usd == (3 * 1000 + 15 * SEEN) / Decimal(10**6)


@wires
@both
@pytest.mark.parametrize("value", NO_COUNT, ids=repr)
def test_an_input_count_that_cannot_be_read_is_estimated_and_marked(wire, whole, value):
    _, name, _, good = WIRES[wire]
    found = charged(events_of(wire, put(good, name, value), whole))
    assert found.estimated and found.usage.input_tokens == 800
    assert found.usage.output_tokens in (500, SEEN)


@wires
@both
@pytest.mark.parametrize(("value", "count"), COUNTS, ids=repr)
def test_a_number_is_read_also_in_a_string(wire, whole, value, count):
    _, into, out, good = WIRES[wire]
    for name in (into, out):
        events = events_of(wire, put(good, name, value), whole)
        found = charged(events)
        expected = {into: 1000, out: 500} | {name: count}
        assert not found.estimated
        assert (found.usage.input_tokens, found.usage.output_tokens) == (expected[into], expected[out])


@wires
@both
@pytest.mark.parametrize("usage", [{}, {"total_tokens": 7}], ids=repr)
def test_a_report_without_counts_is_no_report(wire, whole, usage):
    events = events_of(wire, usage, whole)
    found = charged(events)
    assert events[-1].usage is None and found.estimated
    assert found.usage == Usage(input_tokens=800, output_tokens=SEEN)


@both
@pytest.mark.parametrize(
    ("wire", "change"),
    [
        ("openai", {"prompt_tokens_details": {"cached_tokens": "x"}}), ("openai", {"prompt_tokens_details": [1]}),
        ("openai", {"completion_tokens_details": {"reasoning_tokens": -4}}), ("google", {"cachedContentTokenCount": {}}),
        ("google", {"thoughtsTokenCount": "many"}), ("google", {"toolUsePromptTokenCount": []}),
        ("anthropic", {"cache_read_input_tokens": "x"}), ("anthropic", {"cache_creation_input_tokens": -1}),
    ],
)  # fmt: skip
def test_a_part_that_cannot_be_read_makes_its_whole_an_estimate(wire, change, whole):
    usage = WIRES[wire][3] | change
    if wire == "anthropic" and not whole:
        parser = MessageAnswer()
        usage = {"input_tokens": 1000, **change}
        parser.take({"type": "message_start", "message": {"usage": usage | {"output_tokens": 1}}})
        parser.take({"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 500}})
        parser.take({"type": "message_stop"})
        assert parser.end()[-1].usage is None
    else:
        assert charged(events_of(wire, usage, whole)).estimated


@wires
@both
def test_parts_that_are_null_are_nothing(wire, whole):
    null = {
        "openai": {"prompt_tokens_details": None, "completion_tokens_details": {"reasoning_tokens": None}},
        "anthropic": {"cache_read_input_tokens": None, "output_tokens_details": None},
        "google": {"cachedContentTokenCount": None},
    }[wire]
    assert not charged(events_of(wire, WIRES[wire][3] | null, whole)).estimated


def test_gemini_thoughts_alone_are_a_report():
    """A limit that thinking used up: no answer was written, and JSON leaves out its 0."""
    parser = GeminiAnswer()
    usage = {"promptTokenCount": 9, "thoughtsTokenCount": 300}
    parser.take({"candidates": [{"content": {}, "finishReason": "MAX_TOKENS"}], "usageMetadata": usage})
    assert parser.end()[-1].usage == Usage(9, 0, 0, 300, 300)


def test_a_count_that_was_given_before_the_last_text_is_not_the_last_count():
    parser = ChatAnswer(True)
    parser.take({"choices": [{"delta": {"content": "a"}}], "usage": {"prompt_tokens": 9, "completion_tokens": 1}})
    parser.take({"choices": [{"delta": {"content": TEXT}, "finish_reason": "stop"}]})
    events = [*parser.drain(), *parser.end()]
    assert events[-1].usage is None and charged(events).usage.output_tokens == -(-(1 + len(TEXT)) // 4)


@pytest.mark.parametrize("value", NO_COUNT, ids=repr)
def test_embeddings_without_a_count_are_unreported(value):
    vector = [{"index": 0, "embedding": [0.5, 0.5]}]
    assert openai_embeddings(orjson.dumps({"data": vector, "usage": put({}, "prompt_tokens", value)}))[1] is None
    body = {"embeddings": [{"values": [0.5, 0.5]}], "usageMetadata": put({}, "promptTokenCount", value)}
    assert google_embeddings(orjson.dumps(body))[1] is None


@pytest.mark.parametrize(("value", "count"), COUNTS, ids=repr)
def test_embeddings_counts_are_read_also_in_a_string(value, count):
    vector = [{"index": 0, "embedding": [0.5, 0.5]}]
    assert openai_embeddings(orjson.dumps({"data": vector, "usage": {"prompt_tokens": value}}))[1] == Usage(count)
    body = {"embeddings": [{"values": [0.5, 0.5]}], "usageMetadata": {"promptTokenCount": value}}
    assert google_embeddings(orjson.dumps(body))[1] == Usage(count)


# --- Answers that we cut --------------------------------------------------------------------------

MODELS = {"openai": "gpt-4o-mini", "anthropic": "claude-haiku-4-5", "google": "gemini-2.5-flash"}


@wires
@pytest.mark.parametrize("ended", ["length", "closed", "cancelled"])
@pytest.mark.django_db(transaction=True)
async def test_an_answer_that_we_cut_is_charged_for_what_came(wire, ended, context, vendor):
    receipts: list[Settled] = []
    written = 0
    async with vendor():
        request = ask("[[sim:overrun,size=40,pace=1]] hi", max_output_tokens=100)
        events = calls.stream(request, context(MODELS[wire]), receipts)
        try:
            async for event in events:
                if isinstance(event, TextDelta):
                    written += len(event.text.encode())
                if ended == "closed" and written > 800:
                    break
                if ended == "cancelled" and written > 800:
                    await events.athrow(asyncio.CancelledError())
        except asyncio.CancelledError:
            assert ended == "cancelled"
        finally:
            await events.aclose()
    row = await UsageLog.objects.aget(call_id=receipts[-1].call_id)
    assert written > 700 and row.estimated
    assert row.output_tokens >= written // 4
    assert row.input_tokens > 1 and row.cost_usd > 0
    if ended == "length":
        assert row.finish_reason == "length"


@wires
@pytest.mark.django_db(transaction=True)
async def test_a_whole_answer_beyond_its_limit_is_charged_as_reported(wire, context, vendor):
    async with vendor():
        found = await whole.complete(ask("[[sim:overrun,size=40]] hi", max_output_tokens=100), context(MODELS[wire]))
    assert found.settled.finish_reason == "length" and not found.settled.estimated
    assert found.settled.usage.output_tokens > 1000
