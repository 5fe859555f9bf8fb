"""The rule by which `auto` chooses: the largest value in US dollars among the models that are good enough."""

from __future__ import annotations

import itertools
import math
import re
from decimal import Decimal

import pytest
from django.conf import settings as django_settings
from django.test import override_settings
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from agents import router
from agents.difficulty import difficulty
from agents.messages import CompletionRequest, Message, Text
from agents.router import Facts
from agents.router_scores import expected_cost
from agents.tests.test_router import card, facts
from billing import catalogue, pricing
from billing.catalogue import ModelCard
from billing.pricing import Rates
from billing.usage import Usage

PROMPTS = (
    "Hi", "Thanks!", "What time is it in Oslo?", "Translate: good morning", "Summarize this e-mail in a sentence.",
    "Write a poem about the sea.", "Explain how a diesel engine works.", "Compare PostgreSQL and MySQL for a small shop.",
    "Refactor this:\n```python\ndef f(x):\n    return x\n```\nand compare the trade-offs.",
    "Prove that there are infinitely many primes and analyse the complexity of the sieve algorithm step by step.",
    "Design an architecture for a payment ledger, evaluate the trade-offs, derive the invariants and debug this: Traceback (",
)  # fmt: skip


def question(text: str) -> CompletionRequest:
    return CompletionRequest((Message("user", (Text(text),)),))


def first(asked: Facts, cards) -> ModelCard:
    return router.rank(asked, cards, {}, {one.slug for one in cards}).candidates[0].card


def rows_of(asked: Facts, cards) -> list[dict]:
    return router.rank(asked, cards, {}, {one.slug for one in cards}).explanation["candidates"]


# --- Against an independent calculation -----------------------------------------------------------


def best_by_hand(cards: list[ModelCard], asked: Facts, goal: str) -> str:
    """The rule of the documentation, written down once more without the product's code."""
    needed = 35 + 65 * asked.difficulty
    tokens = max(1, asked.input_tokens // 2)
    seen = []
    for one in cards:
        assert one.rates is not None
        output = min(400, one.max_output_tokens)
        cost = pricing.cost(one.rates, Usage(input_tokens=tokens, output_tokens=output))
        seconds = one.ttft_ms / 1000 + output / one.tokens_per_second
        p = 1 / (1 + math.exp((needed - one.quality) / django_settings.ROUTING_SPREAD))
        value = django_settings.ROUTING_VALUE_USD * p - float(cost) - django_settings.ROUTING_SECOND_USD * seconds
        seen.append((one, float(cost), seconds, p, value))
    able = [row for row in seen if row[3] >= django_settings.ROUTING_GOOD_ENOUGH]
    if goal == "best" or not able:
        top = max(row[0].quality for row in seen)
        return min((row for row in seen if row[0].quality == top), key=lambda row: (row[1], row[2]))[0].slug
    key = {"balanced": lambda row: -row[4], "cheapest": lambda row: row[1], "fastest": lambda row: row[2]}[goal]
    return min(able, key=lambda row: (key(row), -row[0].quality, row[1], row[2], row[0].slug))[0].slug


models = st.builds(
    lambda n, price, out, quality, speed, ttft, threshold: card(
        f"m{n}", quality=quality, tokens_per_second=float(speed), ttft_ms=ttft, provider=("openai", "google", "anthropic")[n % 3],
        rates=Rates(Decimal(price) / 100, Decimal(out) / 100, tier_threshold=threshold, tier_input=Decimal(price) / 25),
    ),
    st.integers(0, 10**6), st.integers(0, 3000), st.integers(0, 9000), st.integers(0, 100), st.integers(5, 400), st.integers(50, 9000),
    st.sampled_from([None, 1000, 20_000]),
)  # fmt: skip


@hypothesis_settings(max_examples=300, deadline=None)
@given(
    cards=st.lists(models, min_size=1, max_size=9, unique_by=lambda one: one.slug),
    goal=st.sampled_from(router.GOALS),
    hard=st.floats(0, 1),
    tokens=st.integers(1, 60_000),
)
def test_the_choice_is_the_maximum_that_is_found_by_trying_all(cards, goal, hard, tokens):
    asked = facts(f"auto:{goal}", difficulty=hard, input_tokens=tokens)
    assert first(asked, cards).slug == best_by_hand(cards, asked, goal)


@hypothesis_settings(max_examples=200, deadline=None)
@given(
    cards=st.lists(models, min_size=1, max_size=9, unique_by=lambda one: one.slug),
    goal=st.sampled_from(router.GOALS),
    tokens=st.integers(1, 60_000),
    spread=st.floats(1, 40),
    value=st.floats(0.001, 10),
    bar=st.floats(0.5, 0.95),
)
def test_the_quality_taken_never_falls_as_the_need_rises(cards, goal, tokens, spread, value, bar):
    with override_settings(ROUTING_SPREAD=spread, ROUTING_VALUE_USD=value, ROUTING_GOOD_ENOUGH=bar):
        taken = [first(facts(f"auto:{goal}", difficulty=step / 40, input_tokens=tokens), cards).quality for step in range(41)]
    assert taken == sorted(taken)


# --- The shipped catalogue ------------------------------------------------------------------------


@pytest.fixture
def shipped(models) -> list[ModelCard]:
    return [one for one in catalogue.current_sync().cards.values() if one.usable]


@pytest.mark.parametrize("goal", router.GOALS)
@pytest.mark.parametrize("tokens", [20, 2000, 40_000, 300_000])
def test_on_the_shipped_catalogue_quality_never_falls_and_best_is_the_best(shipped, goal, tokens):
    taken = []
    for step in range(101):
        asked = facts(f"auto:{goal}", difficulty=step / 100, input_tokens=tokens)
        rows = [row for row in rows_of(asked, shipped) if row["removed"] is None]
        taken.append(rows[0]["quality"])
        if goal == "best":
            assert rows[0]["quality"] == max(row["quality"] for row in rows)
    assert taken == sorted(taken)


def test_varied_prompts_get_varied_models(shipped):
    chosen = {text: first(facts(difficulty=difficulty(question(text)), input_tokens=100), shipped).slug for text in PROMPTS}
    assert len(set(chosen.values())) >= 3, chosen
    cheapest = {first(facts("auto:cheapest", difficulty=step / 10, input_tokens=100), shipped).slug for step in range(11)}
    assert len(cheapest) >= 2


# --- What each kind of model may do ---------------------------------------------------------------


@pytest.mark.parametrize("goal", ["balanced", "cheapest", "fastest"])
def test_a_free_model_wins_only_when_it_is_good_enough(goal):
    free = card("free", price=(0, 0), quality=55, tokens_per_second=900.0, ttft_ms=1)
    paid = card("paid", price=(50, 200), quality=90)
    assert first(facts(f"auto:{goal}", difficulty=0.1), [free, paid]).slug == "free"
    assert first(facts(f"auto:{goal}", difficulty=0.7), [free, paid]).slug == "paid"


@hypothesis_settings(max_examples=100, deadline=None)
@given(tokens=st.integers(1, 900_000), output=st.integers(1, 400), threshold=st.sampled_from([None, 1000, 128_000, 272_000]))
def test_the_estimate_is_what_the_price_charges_also_beyond_its_tier(tokens, output, threshold):
    rates = Rates(
        Decimal("1.25"), Decimal(10), Decimal("0.125"), tier_threshold=threshold,
        tier_input=Decimal("2.5"), tier_cached_input=Decimal("0.25"), tier_output=Decimal(15),
    )  # fmt: skip
    one = card("one", rates=rates)
    charged = pricing.cost(rates, Usage(input_tokens=tokens, output_tokens=output))
    assert expected_cost(one, tokens, output, cached=False) == pytest.approx(float(charged), rel=1e-9)
    known = pricing.cost(rates, Usage(input_tokens=tokens, cached_input_tokens=int(0.8 * tokens), output_tokens=output))
    assert expected_cost(one, tokens, output, cached=True) == pytest.approx(float(known), rel=1e-9)


def test_a_model_without_a_price_is_the_last_that_auto_takes_and_the_answer_says_so():
    unpriced, old = card("unpriced", price=None, quality=99), card("old", lifecycle="deprecated", quality=40)
    route = router.rank(facts("auto:best"), [unpriced, old], {}, {"unpriced", "old"})
    assert route.candidates[0].card.slug == "old"
    route = router.rank(facts("auto:best"), [unpriced], {}, {"unpriced"})
    assert route.candidates[0].card.slug == "unpriced" and "price is unknown" in route.explanation["reason"]
    assert route.explanation["candidates"][0]["price_known"] is False
    named = router.rank(facts("unpriced"), [unpriced], {}, {"unpriced"}).explanation
    assert "price is unknown" in named["reason"] and "$150 per million" in named["reason"]


def test_an_unknown_goal_of_a_fallback_is_refused_by_name():
    with pytest.raises(router.InvalidRequest) as refused:
        router.rank(facts("one", fallbacks=("auto:happiest",)), [card("one")], {}, {"one"})
    assert refused.value.param == "fallbacks"


# --- The reason -----------------------------------------------------------------------------------


@hypothesis_settings(max_examples=200, deadline=None)
@given(
    cards=st.lists(models, min_size=1, max_size=6, unique_by=lambda one: one.slug),
    goal=st.sampled_from(router.GOALS),
    hard=st.floats(0, 1),
)
def test_the_reason_is_true_of_the_numbers_beside_it(cards, goal, hard):
    explanation = router.rank(facts(f"auto:{goal}", difficulty=hard), cards, {}, {one.slug for one in cards}).explanation
    reason, rows = explanation["reason"], explanation["candidates"]
    chosen = rows[0]
    assert reason.count(chosen["model"]) and explanation["chosen"] == chosen["model"]
    cost, value = re.search(r"cost \$([\d.]+)", reason), re.search(r"worth \$(-?\d+\.\d+)", reason)
    seconds, chance = re.search(r"take ([\d.]+) s", reason), re.search(r"chance is ([\d.]+)%", reason)
    assert cost and value and seconds and chance
    assert float(cost[1]) == pytest.approx(float(chosen["estimated_cost_usd"]), abs=1e-6)
    assert float(value[1]) == pytest.approx(float(chosen["value_usd"]), abs=1e-6)
    assert float(seconds[1]) == pytest.approx(chosen["expected_seconds"], abs=0.051)
    assert float(chance[1]) == pytest.approx(100 * chosen["probability"], abs=0.051)
    weights = {name: float(number) for name, number in explanation["weights"].items()}
    for row in rows:
        again = (
            weights["value_usd"] * row["probability"] - float(row["estimated_cost_usd"]) - weights["second_usd"] * row["expected_seconds"]
        )
        assert float(row["value_usd"]) == pytest.approx(again, abs=1e-5)
        assert row["good_enough"] == (row["quality"] >= explanation["need"] - 1e-3) or abs(row["quality"] - explanation["need"]) < 1e-2
    able = [row for row in rows if row["good_enough"]]
    if "highest quality" in reason:
        assert chosen["quality"] == max(row["quality"] for row in rows)
    elif "costs least of" in reason:
        assert all(float(chosen["estimated_cost_usd"]) <= float(row["estimated_cost_usd"]) for row in able)
    elif "soonest" in reason:
        assert all(chosen["expected_seconds"] <= row["expected_seconds"] for row in able)
    else:
        assert "worth most" in reason and all(float(chosen["value_usd"]) >= float(row["value_usd"]) for row in able)


def test_the_order_does_not_depend_on_the_order_of_the_catalogue():
    cards = [card("a"), card("b"), card("c", quality=90), card("d", price=(0.1, 0.1), quality=70)]
    orders = {tuple(row["model"] for row in rows_of(facts(), list(one))) for one in itertools.permutations(cards)}
    assert len(orders) == 1
