"""What vendors count, and what we make of it: missing is not zero, parts are inside their whole, the last count holds."""

from __future__ import annotations

import pytest

from agents.providers.answer import whole_number
from agents.providers.anthropic.answer import MessageAnswer
from agents.providers.anthropic.answer import usage_of as anthropic_usage
from agents.providers.google.answer import usage_of as google_usage
from agents.providers.openai.answer import usage_of as openai_usage
from agents.simulator import Simulator
from agents.tests.vendors import KINDS, VENDORS, ask, hear, target
from billing.pricing import Usage

both = pytest.mark.parametrize("whole", [False, True], ids=["stream", "whole"])


@both
@pytest.mark.parametrize("kind", KINDS)
async def test_missing_is_none_and_zero_is_zero(kind: str, whole: bool):
    async with Simulator() as sim:
        missing = await hear(kind, ask("[[sim:usage=missing]] hi"), target(sim, kind), whole=whole)
        zero = await hear(kind, ask("[[sim:usage=zero]] hi"), target(sim, kind), whole=whole)
    assert missing.end.usage is None and not missing.reports
    assert zero.end.usage == Usage()


@both
@pytest.mark.parametrize("kind", KINDS)
async def test_nonsense_is_not_billed_as_reported(kind: str, whole: bool):
    async with Simulator() as sim:
        negative = await hear(kind, ask("[[sim:usage=negative]] hi"), target(sim, kind), whole=whole)
        absurd = await hear(kind, ask("[[sim:usage=absurd]] hi"), target(sim, kind), whole=whole)
    assert negative.end.usage is None
    assert absurd.end.usage and absurd.end.usage.output_tokens == 10**15  # the ledger caps and flags it


@both
@pytest.mark.parametrize("kind", KINDS)
async def test_reported_twice_the_last_one_holds(kind: str, whole: bool):
    async with Simulator() as sim:
        once = await hear(kind, ask("[[sim:chunks=8]] hi"), target(sim, kind), whole=whole)
        twice = await hear(kind, ask("[[sim:chunks=8,usage=twice]] hi"), target(sim, kind), whole=whole)
    assert once.end.usage and twice.end.usage
    assert twice.end.usage.output_tokens == once.end.usage.output_tokens == 13


@both
@pytest.mark.parametrize("kind", VENDORS)
async def test_cached_tokens_are_inside_the_input(kind: str, whole: bool):
    request = ask("and now?", system="You know this by heart. " * 400)
    async with Simulator() as sim:
        usage = (await hear(kind, request, target(sim, kind), whole=whole)).end.usage
    assert usage and usage.input_tokens > usage.cached_input_tokens >= 1024
    assert usage == usage.clean()


@pytest.mark.parametrize("kind", ["anthropic", "google"])
async def test_what_is_known_early_is_reported_early(kind: str):
    async with Simulator() as sim:
        heard = await hear(kind, ask("[[sim:chunks=6,pace=20]] hi"), target(sim, kind))
    assert len(heard.reports) > 1
    assert heard.reports[0].usage.input_tokens == heard.reports[-1].usage.input_tokens > 0
    assert heard.reports[0].usage.output_tokens < heard.reports[-1].usage.output_tokens


@pytest.mark.parametrize("sends_usage", [True, False])
async def test_usage_is_asked_for_where_the_server_can_send_it(sends_usage: bool):
    async with Simulator() as sim:
        heard = await hear("openai_compatible", ask("hi"), target(sim, "openai_compatible", sends_usage=sends_usage))
        assert ("stream_options" in sim.requests[0].body) is sends_usage
    assert (heard.end.usage is not None) is sends_usage


def test_the_wires_own_counts_become_inclusive():
    read = {"input_tokens": 12, "cache_creation_input_tokens": 100, "cache_read_input_tokens": 40, "output_tokens": 9}
    assert anthropic_usage(read | {"output_tokens_details": {"thinking_tokens": 4}}) == Usage(152, 40, 100, 9, 4)
    asked = {"prompt_tokens": 20, "completion_tokens": 9, "prompt_tokens_details": {"cached_tokens": 8, "cache_write_tokens": 2}}
    assert openai_usage(asked | {"completion_tokens_details": {"reasoning_tokens": 4}}) == Usage(20, 8, 2, 9, 4)
    thought = {"promptTokenCount": 20, "candidatesTokenCount": 5, "thoughtsTokenCount": 4, "cachedContentTokenCount": 8}
    assert google_usage(thought | {"toolUsePromptTokenCount": 3}) == Usage(23, 8, 0, 9, 4)


@pytest.mark.parametrize("read", [anthropic_usage, openai_usage, google_usage])
def test_a_usage_object_without_counts_is_no_report(read):
    assert read({}) is None


@pytest.mark.parametrize("read", [openai_usage, google_usage])
@pytest.mark.parametrize("value", [None, [], "12", 7])
def test_what_is_no_object_is_no_report(read, value):
    assert read(value) is None


@pytest.mark.parametrize(
    ("value", "count"),
    [(7, 7), (7.9, 7), (-3, None), (None, None), ("7", 7), (True, None), (float("nan"), None), (float("inf"), None), (10**40, 2**62)],
)
def test_only_numbers_count(value, count):
    assert whole_number(value) == count


def test_a_message_delta_without_usage_leaves_the_call_unreported():
    """The count at the start knows nothing of the output: billing it would be wrong."""
    answer = MessageAnswer()
    answer.take({"type": "message_start", "message": {"usage": {"input_tokens": 9, "output_tokens": 1}}})
    answer.take({"type": "message_delta", "delta": {"stop_reason": "end_turn"}})
    answer.take({"type": "message_stop"})
    assert answer.end()[-1].usage is None
