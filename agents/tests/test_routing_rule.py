"""The rule by which `auto` chooses: the largest value in US dollars among the models that are good enough."""

from __future__ import annotations

import itertools
import json
import math
import re
import subprocess
import sys
from decimal import Decimal

import pytest
from django.conf import settings as django_settings
from django.core.exceptions import ImproperlyConfigured
from django.test import override_settings
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from agents.messages import CompletionRequest, Message, Text
from agents.routing import rank as router
from agents.routing.candidates import expected_cost
from agents.routing.rank import Facts, difficulty
from agents.tests.cards import card, facts
from aiagents.settings.env import Env, read
from aiagents.settings.routing import RoutingWeights
from billing import pricing
from billing.catalogue import snapshot as catalogue
from billing.catalogue.snapshot import ModelCard
from billing.pricing import Rates, Usage
from tests.kit.sampling import examples

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
    weights = django_settings.ROUTING_WEIGHTS[goal]
    needed = 35 + 65 * asked.difficulty
    tokens = max(1, asked.input_tokens // 2)
    seen = []
    for one in cards:
        assert one.rates is not None
        output = min(400, one.max_output_tokens)
        cost = pricing.cost(one.rates, Usage(input_tokens=tokens, output_tokens=output))
        seconds = one.ttft_ms / 1000 + output / one.tokens_per_second
        p = 1 / (1 + math.exp((needed - one.quality) / weights.spread))
        value = (weights.value_usd or 0) * p - float(cost) - (weights.second_usd or 0) * seconds
        seen.append((one, float(cost), seconds, p, value))
    able = [row for row in seen if row[3] >= weights.good_enough]
    if goal == "best" or not able:
        top = max(row[0].quality for row in seen)
        return min((row for row in seen if row[0].quality == top), key=lambda row: (row[1], row[2]))[0].slug
    key = {"balanced": lambda row: -row[4], "cheapest": lambda row: -row[4], "fastest": lambda row: row[2]}[goal]
    return min(able, key=lambda row: (key(row), -row[0].quality, row[1], row[2], row[0].slug))[0].slug


models = st.builds(
    lambda n, price, out, quality, speed, ttft, threshold: card(
        f"m{n}", quality=quality, tokens_per_second=float(speed), ttft_ms=ttft, provider=("openai", "google", "anthropic")[n % 3],
        rates=Rates(Decimal(price) / 100, Decimal(out) / 100, tier_threshold=threshold, tier_input=Decimal(price) / 25),
    ),
    st.integers(0, 10**6), st.integers(0, 3000), st.integers(0, 9000), st.integers(0, 100), st.integers(5, 400), st.integers(50, 9000),
    st.sampled_from([None, 1000, 20_000]),
)  # fmt: skip
# Whatever the settings allow, for each goal by itself.
any_weights = st.fixed_dictionaries(
    {
        goal: st.builds(
            RoutingWeights,
            spread=st.floats(1, 100),
            good_enough=st.floats(0.5, 0.99),
            value_usd=st.floats(0.0001, 1000),
            second_usd=st.floats(0, 1),
        )
        for goal in router.GOALS
    }
)


@pytest.mark.parametrize("goal", router.GOALS)
@pytest.mark.soak
@hypothesis_settings(max_examples=examples(60, 750), deadline=None)
@given(
    cards=st.lists(models, min_size=1, max_size=9, unique_by=lambda one: one.slug),
    hard=st.floats(0, 1),
    tokens=st.integers(1, 60_000),
)
def test_the_choice_is_the_maximum_that_is_found_by_trying_all(goal, cards, hard, tokens):
    asked = facts(f"auto:{goal}", difficulty=hard, input_tokens=tokens)
    assert first(asked, cards).slug == best_by_hand(cards, asked, goal)


@pytest.mark.parametrize("goal", router.GOALS)
@pytest.mark.soak
@hypothesis_settings(max_examples=examples(60, 750), deadline=None)
@given(
    cards=st.lists(models, min_size=1, max_size=9, unique_by=lambda one: one.slug),
    tokens=st.integers(1, 60_000),
    weights=any_weights,
)
def test_under_any_allowed_settings_the_choice_is_the_maximum_and_quality_never_falls_as_the_need_rises(goal, cards, tokens, weights):
    taken = []
    with override_settings(ROUTING_WEIGHTS=weights):
        for step in range(41):
            asked = facts(f"auto:{goal}", difficulty=step / 40, input_tokens=tokens)
            chosen = first(asked, cards)
            assert chosen.slug == best_by_hand(cards, asked, goal)
            taken.append(chosen.quality)
    assert taken == sorted(taken)


# Each number of each goal, and what it must change: the first choice between a weak and a strong model at difficulty 0.2 (need 48).
WEAK = card("weak", price=(0.1, 1), quality=60, tokens_per_second=900.0, ttft_ms=100)
GOOD = card("good", price=(0.2, 40), quality=90, tokens_per_second=20.0, ttft_ms=3000, provider="google")


@pytest.mark.parametrize(
    ("goal", "before", "after"),
    [
        ("balanced", {"value_usd": 0.005}, {"value_usd": 1}),
        ("balanced", {"value_usd": 1}, {"value_usd": 1, "second_usd": 0.1}),
        ("balanced", {"value_usd": 0.1}, {"value_usd": 0.1, "spread": 20}),
        ("balanced", {"value_usd": 0.005}, {"value_usd": 0.005, "good_enough": 0.95}),
        ("cheapest", {"value_usd": 0.005}, {"value_usd": 1}),
        ("cheapest", {"value_usd": 1}, {"value_usd": 1, "second_usd": 0.1}),
        ("cheapest", {"value_usd": 0.1}, {"value_usd": 0.1, "spread": 20}),
        ("cheapest", {"value_usd": 0.005}, {"value_usd": 0.005, "good_enough": 0.95}),
        ("fastest", {}, {"good_enough": 0.95}),
        ("fastest", {"good_enough": 0.8}, {"good_enough": 0.8, "spread": 20}),
    ],
)
def test_each_number_of_a_goal_moves_the_choice_of_that_goal_and_of_no_other(goal, before, after):
    def choices(given: dict[str, float]) -> dict[str, str]:
        plain = {"spread": 5.0, "good_enough": 0.5, "value_usd": 0.01, "second_usd": 0.0}
        weights = {one: RoutingWeights(**plain) for one in router.GOALS} | {goal: RoutingWeights(**(plain | given))}
        with override_settings(ROUTING_WEIGHTS=weights):
            return {one: first(facts(f"auto:{one}", difficulty=0.2, input_tokens=20), [WEAK, GOOD]).slug for one in router.GOALS}

    first_choices, then = choices(before), choices(after)
    assert {one for one in router.GOALS if first_choices[one] != then[one]} == {goal}


@pytest.mark.parametrize(("bar", "second"), [(0.5, "far"), (0.9, "near")])
def test_what_good_enough_means_to_best_decides_whether_the_second_choice_is_of_another_vendor(bar, second):
    cards = [card("top", quality=98), card("near", quality=95), card("far", quality=84, provider="google")]
    weights = RoutingWeights(spread=5, good_enough=bar)
    with override_settings(ROUTING_WEIGHTS=django_settings.ROUTING_WEIGHTS | {"best": weights}):
        route = router.rank(facts("auto:best", difficulty=0.7), cards, {}, {one.slug for one in cards})
    assert [one.card.slug for one in route.candidates][:2] == ["top", second]


def test_every_goal_has_its_weights_and_those_that_weigh_have_all_four():
    assert set(django_settings.ROUTING_WEIGHTS) == set(router.GOALS)
    for goal, weights in django_settings.ROUTING_WEIGHTS.items():
        weighs = goal in ("balanced", "cheapest")
        assert (weights.value_usd is not None) == (weights.second_usd is not None) == weighs


def test_each_number_of_the_environment_reaches_its_goal(monkeypatch):
    names = [name for name in Env.model_fields if name.startswith("routing_") and name != "routing_feedback"]
    assert len(names) == 12
    wanted = {name: 0.6 + position / 100 if "spread" not in name else 20.0 + position for position, name in enumerate(names)}
    for name, number in wanted.items():
        monkeypatch.setenv(name.upper(), str(number))
    printed = "import json; from dataclasses import asdict; from aiagents.settings import ai as s; w = s.ROUTING_WEIGHTS; "
    printed += "print(json.dumps({goal: asdict(w[goal]) for goal in w}))"
    answer = subprocess.run([sys.executable, "-c", printed], capture_output=True, text=True, check=True)
    found = json.loads(answer.stdout)
    assert {f"routing_{goal}_{name}": number for goal, row in found.items() for name, number in row.items() if number is not None} == wanted


NONSENSE = {
    "value_usd": ["0", "-0.01", "1001", "nan", "inf", "much"],
    "second_usd": ["-0.0001", "2", "nan", "inf", "soon"],
    "spread": ["0", "-5", "0.5", "101", "nan", "inf", "wide"],
    "good_enough": ["0", "0.49", "1", "1.5", "-1", "nan", "inf", "quite"],
}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        (name, value)
        for name in Env.model_fields
        if name.startswith("routing_") and name != "routing_feedback"
        for value in NONSENSE[name.split("_", 2)[2]]
    ],
)
def test_a_number_that_makes_no_sense_is_refused_at_start_by_its_name(name, value, monkeypatch, tmp_path):
    monkeypatch.setenv(name.upper(), value)
    with pytest.raises(ImproperlyConfigured, match=name.upper()):
        read(tmp_path / ".env")


# --- The shipped catalogue ------------------------------------------------------------------------


@pytest.fixture
def shipped(models) -> list[ModelCard]:
    return [one for one in catalogue.current_sync().cards.values() if one.usable]


@pytest.mark.parametrize("goal", router.GOALS)
@pytest.mark.parametrize("tokens", [20, 2000, 40_000, 200_000, 300_000, 900_000])
def test_on_the_shipped_catalogue_quality_never_falls_and_best_is_the_best(shipped, goal, tokens):
    taken = []
    for step in range(101):
        asked = facts(f"auto:{goal}", difficulty=step / 100, input_tokens=tokens)
        rows = [row for row in rows_of(asked, shipped) if row["removed"] is None]
        taken.append(rows[0]["quality"])
        if goal == "best":
            assert rows[0]["quality"] == max(row["quality"] for row in rows)
    assert taken == sorted(taken)


@pytest.mark.soak
@hypothesis_settings(max_examples=examples(15, 200), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(goal=st.sampled_from(router.GOALS), tokens=st.integers(1, 500_000), weights=any_weights)
def test_on_the_shipped_catalogue_quality_never_falls_under_any_allowed_settings(shipped, goal, tokens, weights):
    with override_settings(ROUTING_WEIGHTS=weights):
        taken = [
            next(row for row in rows_of(facts(f"auto:{goal}", difficulty=step / 50, input_tokens=tokens), shipped))["quality"]
            for step in range(51)
        ]
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


@pytest.mark.soak
@hypothesis_settings(max_examples=examples(40, 500), deadline=None)
@given(tokens=st.integers(1, 900_000), output=st.integers(1, 400), threshold=st.sampled_from([None, 1000, 128_000, 272_000]))
def test_the_estimate_is_what_the_price_charges_also_beyond_its_tier(tokens, output, threshold):
    rates = Rates(
        Decimal("1.25"), Decimal(10), Decimal("0.125"), tier_threshold=threshold,
        tier_input=Decimal("2.5"), tier_cached_input=Decimal("0.25"), tier_output=Decimal(15),
    )  # fmt: skip
    one = card("one", rates=rates)
    charged = pricing.cost(rates, Usage(input_tokens=tokens, output_tokens=output))
    assert expected_cost(one, tokens, output) == pytest.approx(float(charged), rel=1e-9)
    known = pricing.cost(rates, Usage(input_tokens=tokens, cached_input_tokens=int(0.8 * tokens), output_tokens=output))
    assert expected_cost(one, tokens, output, cached=int(0.8 * tokens)) == pytest.approx(float(known), rel=1e-9)
    assert expected_cost(one, tokens, output, cached=2 * tokens) == expected_cost(one, tokens, output, cached=tokens)


def test_a_model_without_a_price_is_the_last_choice_of_auto_with_a_note():
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


@pytest.mark.soak
@hypothesis_settings(max_examples=examples(60, 1000), deadline=None)
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
    assert cost and seconds and chance and bool(value) == (goal in ("balanced", "cheapest"))
    assert float(cost[1]) == pytest.approx(float(chosen["estimated_cost_usd"]), abs=1e-6)
    if value:
        assert float(value[1]) == pytest.approx(float(chosen["value_usd"]), abs=1e-6)
    assert float(seconds[1]) == pytest.approx(chosen["expected_seconds"], abs=0.051)
    assert float(chance[1]) == pytest.approx(100 * chosen["probability"], abs=0.051)
    weights = {name: float(number) for name, number in explanation["weights"].items() if number is not None}
    assert set(weights) == {"spread", "good_enough"} | ({"value_usd", "second_usd"} if value else set())
    for row in rows:
        assert value or row["value_usd"] is None
        if value:
            again = weights["value_usd"] * row["probability"] - float(row["estimated_cost_usd"])
            again -= weights["second_usd"] * row["expected_seconds"]
            assert float(row["value_usd"]) == pytest.approx(again, abs=1e-5)
        assert row["good_enough"] == (row["quality"] >= explanation["need"] - 1e-3) or abs(row["quality"] - explanation["need"]) < 1e-2
    able = [row for row in rows if row["good_enough"]]
    if "highest quality" in reason:
        assert chosen["quality"] == max(row["quality"] for row in rows)
    elif "soonest" in reason:
        assert all(chosen["expected_seconds"] <= row["expected_seconds"] for row in able)
    else:
        assert f"worth most by the weights of {goal}" in reason
        assert all(float(chosen["value_usd"]) >= float(row["value_usd"]) for row in able)


def test_the_order_does_not_depend_on_the_order_of_the_catalogue():
    cards = [card("a"), card("b"), card("c", quality=90), card("d", price=(0.1, 0.1), quality=70)]
    orders = {tuple(row["model"] for row in rows_of(facts(), list(one))) for one in itertools.permutations(cards)}
    assert len(orders) == 1
