"""Prices of other ways of processing, of media and of tool calls, against the price package's own arithmetic."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal as D

import pytest
from django.core.exceptions import ValidationError
from genai_prices import Usage as TheirUsage
from genai_prices import calc_price

from billing import pricing
from billing.catalogue import price_list, snapshot, update
from billing.invariants import costs_match_tokens
from billing.ledger.charging import Outcome, charge
from billing.models import AIModel, ModelPrice, UsageLog, beside
from billing.pricing import Rates, Usage
from billing.tests.making import Ledger, call_of, make_user

INSTALLED = price_list.installed()
USAGES = [Usage(1000, 600, 300, 500), Usage(300_001, 100_000, 50_000, 4096), Usage(10, 0, 0, 1)]


def all_modes() -> list[tuple[str, str, dict[str, str], Rates]]:
    """Every mode that the price list has for a model of the catalogue: vendor, model, its context, and our rates."""
    found = []
    for entry in update.entries():
        try:
            listed = INSTALLED.prices(entry["provider"], entry["vendor_model"], writes="embeddings" not in entry["capabilities"])
        except price_list.Unlisted:
            continue
        columns = [one for one in listed if one.effective_from <= datetime.now(UTC)][-1].columns
        price = ModelPrice(**columns)
        rates = snapshot.rates_of(price)
        for mode in columns["modes"]:
            name, _, value = mode.partition("=")
            found.append((entry["provider"], entry["vendor_model"], {name: value}, pricing.in_mode(rates, mode)))
    return found


MODES = all_modes()


def test_the_catalogue_has_the_modes_that_the_vendors_sell():
    names = {f"{name}={value}" for _, _, context, _ in MODES for name, value in context.items()}
    assert names >= {"service_tier=flex", "service_tier=priority", "service_tier=fast", "processing=batch", "speed=fast"}
    assert len(MODES) >= 60


@pytest.mark.parametrize("listed", MODES, ids=[f"{model} {next(iter(context.values()))}" for _, model, context, _ in MODES])
def test_costs_in_every_mode_equal_the_price_packages(listed):
    vendor, model, context, rates = listed
    assert rates is not None and rates.mode == "=".join(*context.items())
    for usage in USAGES:
        usage = replace(usage, cache_write_1h_tokens=usage.cache_write_tokens // 3 if vendor == "anthropic" else 0)
        theirs = TheirUsage(
            input_tokens=usage.input_tokens, cache_read_tokens=usage.cached_input_tokens, cache_write_tokens=usage.cache_write_tokens,
            output_tokens=usage.output_tokens, **({"cache_write_1h_tokens": usage.cache_write_1h_tokens} if vendor == "anthropic" else {}),
        )  # fmt: skip
        expected = calc_price(theirs, model_ref=model, provider_id=vendor, price_context=context).total_price
        assert pricing.cost(rates, usage) == expected, usage


def test_a_mode_that_the_list_does_not_have_has_no_price():
    """The price package itself answers the standard price for it."""
    rates = snapshot.rates_of(ModelPrice(**INSTALLED.prices("openai", "gpt-6.1-sol")[-1].columns))
    for mode in ("service_tier=batch", "service_tier=ultrafast", "service_tier=scale", "speed=fast", "service_tier=flex+speed=fast"):
        assert pricing.in_mode(rates, mode) is None
    assert pricing.in_mode(pricing.ceiling_rates(), "service_tier=scale") == pricing.ceiling_rates()


BASE = Rates(D(2), D(8), D("0.5"), units=(("web_search", D(10)),), media=(("input_audio", D(5)),))
SOLD = replace(BASE, modes=(("", BASE), ("a=1", replace(BASE, input=D(1))), ("b=1", D("1.1")), ("c=1", replace(BASE, input=D(9)))))


def test_factors_and_rates_combine_and_two_sets_of_rates_do_not():
    both = pricing.in_mode(SOLD, "a=1+b=1")
    assert both is not None and (both.input, both.output, both.cached_input) == (D("1.1"), D("8.8"), D("0.55"))
    assert both.units == BASE.units and both.media == (("input_audio", D("5.5")),)
    assert pricing.in_mode(both, "") == BASE and pricing.in_mode(both, "c=1") == replace(BASE, input=D(9), mode="c=1")
    assert pricing.in_mode(SOLD, "a=1+c=1") is None


def test_what_is_counted_beside_the_tokens_is_added_and_media_replace_their_share():
    usage = Usage(1000, 0, 0, 100, media=(("input_audio", 400), ("input_image", 100)), units=(("web_search", 3),))
    # 600 x 2 + 400 x 5 + 100 x 8, and 3 x 0.01; images cost what text costs
    assert pricing.cost(BASE, usage) == D("0.034")
    assert Usage(10, 4, 0, 5, media=(("input_audio", 99), ("cached_audio", 99), ("odd_x", 1))).clean().media == (
        ("input_audio", 6),
        ("cached_audio", 4),
    )
    assert pricing.highest_cost(BASE, 1000, 100, units=(("web_search", 3), ("other", 5))) == D("0.0328")


@pytest.mark.django_db
def test_a_row_that_was_charged_at_a_ceiling_still_matches_its_stored_price(settings):
    held = Ledger.hold(call_of(make_user()), D("0.05"), SOLD, 1000)
    for usage in (
        Usage(10, 0, 0, 1, units=(("surprise", 2),), mode="a=1"),
        Usage(10, 0, 0, 1, media=(("input_audio", 4),), mode="x=1"),
        Usage(10, 0, 5, 1, cache_write_1h_tokens=5),
    ):
        held = Ledger.hold(call_of(make_user()), D("0.05"), SOLD, 1000)
        Ledger.settle(held, Outcome("ok", usage))
    settings.UNKNOWN_PRICE_CEILING_PER_CALL = settings.UNKNOWN_PRICE_CEILING_PER_MTOK = 1
    assert list(costs_match_tokens()) == []
    flags = sorted(UsageLog.objects.values_list("flagged", flat=True))
    assert flags == ["", "usage_unpriced", "usage_unpriced"]


@pytest.mark.django_db
def test_a_ceiling_does_not_look_like_an_absurd_count():
    held = Ledger.hold(call_of(make_user()), D("0.001"), BASE, 1000)
    found = charge(held, Outcome("ok", Usage(1000, 0, 0, 100, mode="x=1")))
    assert found.cost_usd == D("0.165") and found.flagged == "usage_unpriced" and found.overrun_usd == D("0.164")


@pytest.mark.parametrize(
    ("check", "wrong"),
    [
        (beside.check_media, {"audio": "1"}), (beside.check_media, {"input_audio": 1}), (beside.check_media, []),
        (beside.check_units, {"web_search": "-1"}), (beside.check_units, {"web search": "1"}), (beside.check_units, {"x": "0.0000001"}),
        (beside.check_units, {"x": "NaN"}), (beside.check_modes, {"flex": {"input": "1", "output": "1"}}),
        (beside.check_modes, {"a=1": {"input": "1"}}), (beside.check_modes, {"a=1": {"factor": "x"}}),
        (beside.check_modes, {"a=1": {"input": "1", "output": "1", "odd": "1"}}), (beside.check_modes, {"a=1": "1"}),
    ],
)  # fmt: skip
def test_a_malformed_price_is_refused(check, wrong):
    with pytest.raises(ValidationError):
        check(wrong)


@pytest.mark.django_db
def test_an_update_adds_the_modes_to_a_price_of_an_earlier_version_and_says_what_changed():
    update.load(INSTALLED)
    model = AIModel.objects.get(slug="gpt-6.1-sol")
    model.prices.update(modes={}, units={}, media={})
    [line] = update.update(INSTALLED).lines
    assert line.startswith("~ gpt-6.1-sol input=2 ") and "modes.service_tier=flex.input=none->1" in line
    assert snapshot.load().cards["gpt-6.1-sol"].rates.modes
    assert not update.update(INSTALLED)
