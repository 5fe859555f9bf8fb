"""What servers with OpenAI's API count, each in its own way: exact money for each, against arithmetic by hand."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest

from agents.calls import service as calls
from agents.calls import whole
from agents.providers.openai.answer import ChatAnswer
from agents.providers.openai.usage import usage_of
from agents.tests.conftest import ask
from agents.tests.scripted import Scripted, chat_stream, chat_whole, sse
from billing.models import UsageLog
from billing.pricing import Rates, Usage, cost

JSON = dict[str, Any]
# US dollars per million tokens: input 1, output 10, cached input 0.25.
RATES = Rates(Decimal(1), Decimal(10), Decimal("0.25"))

# The dialect: what the server sends, our usage, and the cost by hand at RATES.
DIALECTS: dict[str, tuple[JSON, Usage, str]] = {
    "OpenAI: reasoning inside the output": (
        {"prompt_tokens": 32, "completion_tokens": 103, "total_tokens": 135, "completion_tokens_details": {"reasoning_tokens": 94}},
        Usage(32, 0, 0, 103, 94), "0.001062",  # 32 + 1030
    ),
    "xAI: reasoning beside the output": (
        {"prompt_tokens": 32, "completion_tokens": 9, "total_tokens": 135, "completion_tokens_details": {"reasoning_tokens": 94}},
        Usage(32, 0, 0, 103, 94), "0.001062",
    ),
    "xAI with a cache": (
        {
            "prompt_tokens": 1000, "completion_tokens": 9, "total_tokens": 1103,
            "prompt_tokens_details": {"cached_tokens": 800}, "completion_tokens_details": {"reasoning_tokens": 94},
        },
        Usage(1000, 800, 0, 103, 94), "0.00143",  # 200 + 200 + 1030
    ),
    "no total, and more reasoning than output": (
        {"prompt_tokens": 32, "completion_tokens": 9, "completion_tokens_details": {"reasoning_tokens": 94}},
        Usage(32, 0, 0, 103, 94), "0.001062",
    ),
    "no total, reasoning inside the output": (
        {"prompt_tokens": 32, "completion_tokens": 103, "completion_tokens_details": {"reasoning_tokens": 94}},
        Usage(32, 0, 0, 103, 94), "0.001062",
    ),
    "reasoning beside the details": (
        {"prompt_tokens": 32, "completion_tokens": 9, "total_tokens": 135, "reasoning_tokens": 94},
        Usage(32, 0, 0, 103, 94), "0.001062",
    ),
    "Gemini's OpenAI API: thoughts in the total only": (
        {"prompt_tokens": 32, "completion_tokens": 9, "total_tokens": 135},
        Usage(32, 0, 0, 103, 94), "0.001062",
    ),
    "Moonshot: cached tokens beside the details": (
        {"prompt_tokens": 1000, "completion_tokens": 10, "total_tokens": 1010, "cached_tokens": 400},
        Usage(1000, 400, 0, 10, 0), "0.0008",  # 600 + 100 + 100
    ),
    "DeepSeek: hits and misses": (
        {
            "prompt_tokens": 1000, "completion_tokens": 10, "total_tokens": 1010, "prompt_cache_hit_tokens": 640,
            "prompt_cache_miss_tokens": 360,
        },
        Usage(1000, 640, 0, 10, 0), "0.00062",  # 360 + 160 + 100
    ),
    "DeepSeek: the same count in both places": (
        {
            "prompt_tokens": 1000, "completion_tokens": 10, "total_tokens": 1010, "prompt_cache_hit_tokens": 640,
            "prompt_tokens_details": {"cached_tokens": 640},
        },
        Usage(1000, 640, 0, 10, 0), "0.00062",
    ),
    "cached input beside the input": (
        {"prompt_tokens": 360, "completion_tokens": 10, "total_tokens": 1010, "prompt_tokens_details": {"cached_tokens": 640}},
        Usage(1000, 640, 0, 10, 0), "0.00062",
    ),
    "cached input and reasoning beside": (
        {
            "prompt_tokens": 360, "completion_tokens": 10, "total_tokens": 1030, "prompt_tokens_details": {"cached_tokens": 640},
            "completion_tokens_details": {"reasoning_tokens": 20},
        },
        Usage(1000, 640, 0, 30, 20), "0.00082",  # 360 + 160 + 300
    ),
    "a total that is less than its parts is not believed": (
        {"prompt_tokens": 32, "completion_tokens": 9, "total_tokens": 9},
        Usage(32, 0, 0, 9, 0), "0.000122",  # 32 + 90
    ),
    "a total that is no number": (
        {"prompt_tokens": 32, "completion_tokens": 9, "total_tokens": "many"},
        Usage(32, 0, 0, 9, 0), "0.000122",
    ),
}  # fmt: skip


@pytest.mark.parametrize("dialect", DIALECTS)
def test_each_dialect_costs_what_its_vendor_charges(dialect: str):
    sent, expected, dollars = DIALECTS[dialect]
    assert usage_of(sent) == expected
    assert cost(RATES, expected) == Decimal(dollars)


PLACES: dict[str, tuple[bytes, JSON]] = {}
for _name, (_sent, _, _) in DIALECTS.items():
    PLACES[_name] = (
        sse(
            {"choices": [{"index": 0, "delta": {"content": "Hello"}}]},
            {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop", "usage": _sent}]},
            "[DONE]",
        ),
        {"choices": [{**chat_whole({"content": "Hello"})["choices"][0], "usage": _sent}]},
    )


@pytest.mark.parametrize("dialect", DIALECTS)
def test_usage_inside_the_choice_is_read_in_a_stream_and_in_a_whole_answer(dialect: str):
    streamed, body = PLACES[dialect]
    answer = ChatAnswer(True)
    answer.feed([line.removeprefix(b"data: ") for line in streamed.split(b"\n\n") if line])
    whole_end = ChatAnswer(True).feed_whole(json.dumps(body).encode())[-1]
    assert answer.end()[-1].usage == whole_end.usage == DIALECTS[dialect][1]


@pytest.mark.parametrize("top", [None, {}])
def test_usage_beside_the_choices_under_a_servers_own_name_is_read(top: Any):
    answer = ChatAnswer(True)
    chunk = {"choices": [{"delta": {"content": "x"}, "finish_reason": "stop"}], "usage": top}
    answer.feed([json.dumps({**chunk, "x_groq": {"usage": {"prompt_tokens": 5, "completion_tokens": 2}}}).encode()])
    assert answer.end()[-1].usage == Usage(5, 0, 0, 2, 0)


def test_usage_at_the_top_wins_over_usage_in_the_choice():
    answer = ChatAnswer(True)
    chunk = {"choices": [{"delta": {"content": "x"}, "finish_reason": "stop", "usage": {"prompt_tokens": 1, "completion_tokens": 1}}]}
    answer.feed([json.dumps({**chunk, "usage": {"prompt_tokens": 5, "completion_tokens": 2}}).encode()])
    assert answer.end()[-1].usage == Usage(5, 0, 0, 2, 0)


@pytest.mark.parametrize("field", ["cached_tokens", "prompt_cache_hit_tokens", "reasoning_tokens"])
def test_a_count_that_cannot_be_read_is_estimated_and_not_taken_for_0(field: str):
    found = usage_of({"prompt_tokens": 32, "completion_tokens": 9, field: "many"})
    assert found is not None and found.missing == {"output_tokens" if field == "reasoning_tokens" else "input_tokens"}


# gpt-4o-mini costs 0.15 for input, 0.60 for output and 0.075 for cached input, in US dollars per million tokens.
CHARGED = [
    ("xAI: reasoning beside the output", "0.0000666"),  # 32 · 0.15 + 103 · 0.60 = 4.8 + 61.8
    ("Moonshot: cached tokens beside the details", "0.000126"),  # 600 · 0.15 + 400 · 0.075 + 10 · 0.60 = 90 + 30 + 6
    ("DeepSeek: hits and misses", "0.000108"),  # 360 · 0.15 + 640 · 0.075 + 10 · 0.60 = 54 + 48 + 6
]


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(("dialect", "dollars"), CHARGED)
@pytest.mark.parametrize("place", ["stream", "whole", "choice"])
async def test_the_caller_is_charged_by_the_vendors_arithmetic_to_the_last_digit(context, settings, dialect: str, dollars: str, place: str):
    sent, expected, _ = DIALECTS[dialect]
    body: Any = {
        "stream": chat_stream({"content": "Hello"}, usage=sent),
        "whole": chat_whole({"content": "Hello"}, usage=sent),
        "choice": PLACES[dialect][0],
    }[place]
    async with Scripted(body).serve(settings):
        if place == "whole":
            settled = (await whole.complete(ask("hi"), context())).settled
        else:
            settled = [event async for event in calls.stream(ask("hi"), context())][-1]
    row = await UsageLog.objects.aget()
    assert row.cost_usd == settled.cost_usd == Decimal(dollars) and not row.estimated
    assert (row.input_tokens, row.cached_input_tokens, row.output_tokens, row.reasoning_tokens) == (
        expected.input_tokens, expected.cached_input_tokens, expected.output_tokens, expected.reasoning_tokens,
    )  # fmt: skip
