"""Exact costs, against the price package's own arithmetic."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal as D

import pytest
from genai_prices import Usage as TheirUsage
from genai_prices import calc_price
from hypothesis import given
from hypothesis import strategies as st

from billing import pricing
from billing.catalogue import price_list
from billing.catalogue.update import entries
from billing.pricing import Rates, Usage

INSTALLED = price_list.installed()
PRICED = []
for entry in entries():
    try:
        PRICED.append((entry, INSTALLED.prices(entry["provider"], entry["vendor_model"])))
    except price_list.Unlisted:
        continue
USAGES = [
    Usage(1, 0, 0, 1),
    Usage(1000, 0, 0, 500, 300),
    Usage(1000, 600, 0, 500),
    Usage(1000, 600, 300, 500),
    Usage(100_000, 0, 0, 10),
    Usage(100_001, 50_000, 0, 10),
    Usage(128_001, 0, 0, 4096),
    Usage(200_000, 1, 0, 4096),
    Usage(200_001, 100_000, 50_000, 4096),
    Usage(272_001, 272_001, 0, 128_000),
    Usage(1_000_000, 999_999, 0, 65_536),
    Usage(1000, 600, 300, 500, cache_write_1h_tokens=200),
    Usage(300_001, 100_000, 50_000, 4096, cache_write_1h_tokens=50_000),
]


def rates_of(listed):
    from django.utils import timezone

    return Rates(**[one for one in listed if one.effective_from <= timezone.now()][-1].columns)


def test_nearly_every_model_of_the_catalogue_has_a_listed_price():
    assert len(PRICED) >= 37


@pytest.mark.parametrize(("entry", "listed"), PRICED, ids=[entry["slug"] for entry, _ in PRICED])
def test_costs_equal_the_price_packages(entry, listed):
    for usage in USAGES:
        if usage.cache_write_1h_tokens and entry["provider"] != "anthropic":
            continue  # no other vendor has such writes
        theirs = TheirUsage(
            input_tokens=usage.input_tokens, cache_read_tokens=usage.cached_input_tokens,
            cache_write_tokens=usage.cache_write_tokens, output_tokens=usage.output_tokens,
            **({"cache_write_1h_tokens": usage.cache_write_1h_tokens} if entry["provider"] == "anthropic" else {}),
        )  # fmt: skip
        expected = calc_price(theirs, model_ref=entry["vendor_model"], provider_id=entry["provider"]).total_price
        assert pricing.cost(rates_of(listed), usage) == expected, usage


FLAT = Rates(input=D(2), output=D(8), cached_input=D("0.5"), cache_write=D("2.5"))
TIERED = Rates(
    input=D(1), output=D(4), cached_input=D("0.1"), tier_threshold=100, tier_input=D(2), tier_output=D(6), tier_cached_input=D("0.2")
)


@pytest.mark.parametrize(
    ("rates", "usage", "expected"),
    [
        (FLAT, Usage(), "0"),
        (FLAT, Usage(input_tokens=1_000_000), "2"),
        (FLAT, Usage(input_tokens=1_000_000, cached_input_tokens=1_000_000), "0.5"),
        (FLAT, Usage(input_tokens=10, cached_input_tokens=4, cache_write_tokens=5), "0.0000165"),
        # 1 x 2 + 4 x 0.5 + 3 x 2.5 + 2 x 4: without a rate of their own, one-hour writes cost twice the input
        (FLAT, Usage(input_tokens=10, cached_input_tokens=4, cache_write_tokens=5, cache_write_1h_tokens=2), "0.0000195"),
        (FLAT, Usage(output_tokens=10, reasoning_tokens=10), "0.00008"),
        (TIERED, Usage(input_tokens=100, output_tokens=10), "0.00014"),
        (TIERED, Usage(input_tokens=101, output_tokens=10), "0.000262"),
        (TIERED, Usage(input_tokens=101, cached_input_tokens=100, output_tokens=10), "0.000082"),
        (TIERED, Usage(input_tokens=101, cache_write_tokens=101), "0.000202"),
        (Rates(input=D(3), output=D(5), tier_threshold=10, tier_output=D(7)), Usage(11, 0, 0, 1), "0.00004"),
    ],
)
def test_buckets_are_parts_of_their_whole_and_the_tier_holds_for_the_whole_call(rates, usage, expected):
    assert pricing.cost(rates, usage) == D(expected)


def test_nothing_is_rounded_however_large():
    assert pricing.cost(FLAT, Usage(input_tokens=10**15 + 1)) == D("2000000000.000002")


TOKENS = st.integers(0, 400)
RATE = st.decimals(0, 100, places=6, allow_nan=False)


@given(st.data())
def test_no_call_of_that_size_costs_more_than_the_dearest(data):
    maybe = st.none() | RATE
    rates = Rates(
        input=data.draw(RATE), output=data.draw(RATE), cached_input=data.draw(maybe), cache_write=data.draw(maybe),
        tier_threshold=data.draw(st.none() | TOKENS), tier_input=data.draw(maybe), tier_cached_input=data.draw(maybe),
        tier_cache_write=data.draw(maybe), tier_output=data.draw(maybe), cache_write_1h=data.draw(maybe),
        tier_cache_write_1h=data.draw(maybe),
    )  # fmt: skip
    most_in, most_out = data.draw(TOKENS), data.draw(TOKENS)
    used_in = data.draw(st.integers(0, most_in))
    cached = data.draw(st.integers(0, used_in))
    usage = Usage(used_in, cached, data.draw(st.integers(0, used_in - cached)), data.draw(st.integers(0, most_out)))
    assert pricing.cost(rates, usage) <= pricing.highest_cost(rates, most_in, most_out)
    long = replace(usage, cache_write_1h_tokens=data.draw(st.integers(0, usage.cache_write_tokens)))
    dearest = pricing.highest_cost(rates, most_in, most_out, long_writes=True)
    assert pricing.cost(rates, long) <= dearest
    paid = pricing.affordable_output(rates, most_in, dearest, long_writes=True)
    assert paid is None or (paid >= most_out and pricing.highest_cost(rates, most_in, paid, long_writes=True) <= dearest)
    assert paid is None or pricing.highest_cost(rates, most_in, paid + 1, long_writes=True) > dearest


@pytest.mark.parametrize("rates", [FLAT, TIERED, pricing.ceiling_rates(), Rates(D(0), D(0), source="genai-prices 0.2.3")])
def test_a_snapshot_comes_back_as_it_was(rates):
    stored = rates.as_json()
    assert Rates.from_json(stored) == rates
    assert all(not isinstance(value, float) for value in stored.values())


def test_the_ceiling_is_dear_and_says_so(settings):
    settings.UNKNOWN_PRICE_CEILING_PER_MTOK = 99
    rates = pricing.ceiling_rates()
    assert (rates.input, rates.output, rates.unknown) == (99, 99, True)


@pytest.mark.parametrize(
    ("usage", "clean"),
    [
        (Usage(10, 20, 0, 5, 9), Usage(10, 10, 0, 5, 5)),
        (Usage(10, 6, 8, 0), Usage(10, 6, 4, 0)),
        (Usage(-1, -1, -1, -1, -1), Usage()),
        (Usage(10, 4, 6, 3, 3), Usage(10, 4, 6, 3, 3)),
        (Usage(10, 4, 6, cache_write_1h_tokens=9), Usage(10, 4, 6, cache_write_1h_tokens=6)),
    ],
)
def test_nonsense_is_taken_out_of_a_vendors_count(usage, clean):
    assert usage.clean() == clean


def test_usage_adds_up():
    assert Usage(1, 2, 3, 4, 5) + Usage(10, 20, 30, 40, 50) == Usage(11, 22, 33, 44, 55)
    assert Usage(1, 2, 3, 4, 5).as_dict()["cache_write_tokens"] == 3
