"""Routing: which model, in which order, and a reason that names every candidate."""

from __future__ import annotations

import time
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.messages import CompletionRequest, Message, Text
from agents.routing import rank as router
from agents.routing.health import ModelHealth
from agents.routing.rank import Facts, difficulty
from agents.tests.cards import card, facts
from aiagents.core.errors import BudgetExceeded, InvalidRequest, ModelNotFound, NoModelAvailable

CHEAP = card("cheap", price=(0.1, 0.4), quality=45, provider="google")
FAST = card("fast", price=(0.5, 2), quality=55, tokens_per_second=400.0, ttft_ms=150)
STRONG = card("strong", price=(10, 40), quality=95, tokens_per_second=40.0, provider="anthropic")
MIDDLE = card("middle", price=(1, 4), quality=75)
ALL = (CHEAP, FAST, STRONG, MIDDLE)


def ranked(asked: Facts, cards=ALL, health=None, configured=None) -> list[str]:
    known = {one.slug for one in cards} if configured is None else configured
    return [one.card.slug for one in router.rank(asked, cards, health or {}, known).candidates]


def test_each_goal_takes_the_model_that_is_best_at_it():
    assert ranked(facts("auto:cheapest", difficulty=0.1))[0] == "cheap"
    assert ranked(facts("auto:fastest", difficulty=0.1))[0] == "fast"
    assert ranked(facts("auto:best", difficulty=0.1))[0] == "strong"


def test_balanced_sends_easy_requests_to_cheap_models_and_hard_ones_to_strong_models():
    assert ranked(facts(difficulty=0.05))[0] in ("cheap", "fast")
    assert ranked(facts(difficulty=0.5))[0] == "middle"
    assert ranked(facts(difficulty=1.0))[0] == "strong"


def test_the_explanation_names_every_model_with_its_numbers_or_what_removed_it():
    old = card("old", lifecycle="deprecated")
    blind = card("blind", capabilities=frozenset())
    route = router.rank(facts(needs=frozenset({"vision"})), (*ALL, old, blind), {}, {"cheap", "fast", "middle", "old", "blind"})
    rows = {row["model"]: row for row in route.explanation["candidates"]}
    assert set(rows) == {"cheap", "fast", "strong", "middle", "old", "blind"}
    assert "not configured" in rows["strong"]["removed"]
    assert "deprecated" in rows["old"]["removed"]
    assert "vision" in rows["blind"]["removed"]
    assert {"quality", "probability", "good_enough", "value_usd", "estimated_cost_usd", "expected_seconds"} <= set(rows["cheap"])
    codes = {name: rows[name]["removed_code"] for name in ("strong", "old", "blind", "cheap")}
    assert codes == {"strong": "not_configured", "old": "only_by_name", "blind": "capability_missing", "cheap": None}
    assert rows["cheap"]["removed"] is None
    assert route.explanation["chosen"] == route.candidates[0].card.slug
    assert route.explanation["reason"]


def test_the_saving_is_measured_against_the_baseline(settings):
    settings.ROUTING_BASELINE_MODEL = "strong"
    baseline = router.rank(facts("auto:cheapest", difficulty=0.1), ALL, {}, {"cheap", "strong"}).explanation["baseline"]
    assert baseline["model"] == "strong" and Decimal(baseline["saving_usd"]) > 0


def test_a_named_model_is_used_in_spite_of_an_open_breaker():
    assert ranked(facts("strong"), health={"strong": ModelHealth("open")}) == ["strong"]


def test_named_fallbacks_follow_in_their_order():
    assert ranked(facts("strong", fallbacks=("cheap", "fast"))) == ["strong", "cheap", "fast"]


def test_a_retired_model_is_replaced_by_its_successor_with_a_note():
    gone = card("gone", lifecycle="retired", replaced_by="middle")
    route = router.rank(facts("gone"), (*ALL, gone), {}, {"gone", "middle"})
    assert route.candidates[0].card.slug == "middle"
    assert "gone is retired and replaced by middle" in route.explanation["reason"]


def test_unknown_models_and_impossible_requests_have_different_errors():
    with pytest.raises(ModelNotFound):
        ranked(facts("nonsense"))
    with pytest.raises(ModelNotFound):
        ranked(facts("cheap", fallbacks=("nonsense",)))
    with pytest.raises(ModelNotFound):
        ranked(facts("cheap"), configured=set())
    with pytest.raises(InvalidRequest, match="window"):
        ranked(facts("cheap", input_tokens=500_000))
    with pytest.raises(InvalidRequest, match="files"):
        ranked(facts("cheap", needs=frozenset({"files"})))
    with pytest.raises(InvalidRequest):
        ranked(facts("auto:happiest"))
    with pytest.raises(BudgetExceeded):
        ranked(facts("strong", max_cost_usd=Decimal("0.0001")))
    with pytest.raises(BudgetExceeded):
        ranked(facts(max_cost_usd=Decimal("0.0000001")))
    with pytest.raises(NoModelAvailable):
        ranked(facts(), configured=set())


def test_an_open_breaker_removes_a_model_from_auto_but_never_the_last_one(settings):
    settings.DEFAULT_MODEL = "middle"
    assert "cheap" not in ranked(facts("auto:cheapest"), health={"cheap": ModelHealth("open")})
    assert "strong" not in ranked(facts("auto:best"), health={"@anthropic": ModelHealth("open")})
    everything = {one.slug: ModelHealth("open") for one in ALL}
    route = router.rank(facts(), ALL, everything, set(everything))
    assert route.candidates[0].card.slug == "middle" and "last resort" in route.explanation["reason"]


def test_an_unknown_price_is_never_chosen_by_auto_but_held_at_the_ceiling_by_name(settings):
    secret = card("secret", price=None, quality=100)
    assert "secret" not in ranked(facts("auto:best"), (*ALL, secret))
    named = router.rank(facts("secret"), (*ALL, secret), {}, {"secret"}).candidates[0]
    assert named.dearest_usd >= Decimal(2000) * settings.UNKNOWN_PRICE_CEILING_PER_MTOK / 1_000_000


def test_the_second_candidate_comes_from_another_vendor_when_scores_are_near():
    twins = (card("a", quality=80), card("b", quality=80), card("c", quality=79, provider="google"))
    assert ranked(facts("auto:best"), twins)[:2] == ["a", "c"]


def test_a_conversation_stays_with_its_model_while_the_cache_pays():
    twins = (card("a"), card("b"))
    assert ranked(facts(sticky="b", input_tokens=20_000), twins)[0] == "b"
    assert ranked(facts("auto:best", sticky="cheap"))[0] == "strong"


def test_live_measurements_outweigh_the_catalogue_as_samples_come():
    slow_now = {"fast": ModelHealth(ttft_ms=30_000, tokens_per_second=2, samples=50)}
    assert ranked(facts("auto:fastest"), health=slow_now)[0] != "fast"


def test_output_is_clamped_to_the_model_and_its_window():
    one = router.rank(facts("cheap", max_output_tokens=10**9), ALL, {}, {"cheap"}).candidates[0]
    assert one.output_tokens == 8000
    tight = card("tight", context_window=1200)
    assert router.rank(facts("tight", max_output_tokens=5000), (tight,), {}, {"tight"}).candidates[0].output_tokens == 200


@given(
    prices=st.lists(st.tuples(st.integers(1, 5000), st.integers(1, 90)), min_size=2, max_size=8),
    goal=st.sampled_from(router.GOALS),
    hard=st.floats(0, 1),
)
def test_a_model_that_is_cheaper_and_otherwise_equal_never_ranks_lower(prices, goal, hard):
    cards = [card(f"m{i}", price=(price / 100, price / 25), quality=quality) for i, (price, quality) in enumerate(prices)]
    first = cards[0]
    twin = card("twin", price=(prices[0][0] / 200, prices[0][0] / 50), quality=first.quality)
    asked = facts(f"auto:{goal}", difficulty=hard)
    rows = router.rank(asked, [*cards, twin], {}, {one.slug for one in [*cards, twin]}).explanation["candidates"]
    if goal in ("balanced", "cheapest"):
        values = {row["model"]: Decimal(row["value_usd"]) for row in rows}
        assert values["twin"] >= values[first.slug]
    names = [row["model"] for row in rows]
    assert names.index("twin") <= names.index(first.slug)
    assert rows == router.rank(asked, [*cards, twin], {}, {one.slug for one in [*cards, twin]}).explanation["candidates"]
    assert not [row for row in rows if row["removed"] and row["model"] == rows[0]["model"]]


def test_ranking_forty_models_takes_well_under_a_hundredth_of_a_second():
    cards = [card(f"m{i}", price=(i + 1, 4 * i + 4), quality=i * 2) for i in range(40)]
    names = {one.slug for one in cards}
    router.rank(facts(), cards, {}, names)
    began = time.process_time()
    for _ in range(20):
        router.rank(facts(), cards, {}, names)
    assert (time.process_time() - began) / 20 < 0.01


@pytest.mark.parametrize(
    ("easy", "hard"),
    [
        ("Hi", "Prove that there are infinitely many primes and analyse the complexity of the sieve algorithm."),
        ("Translate: good morning", "Refactor this:\n```python\ndef f(x):\n    return x\n```\nand compare the trade-offs step by step."),
        (
            "What time is it in Oslo?",
            "Design an architecture for a payment ledger, evaluate the trade-offs, derive the invariants." + " detail" * 300,
        ),
    ],
)
def test_hard_questions_look_harder_than_easy_ones(easy: str, hard: str):
    def rated(text: str) -> float:
        return difficulty(CompletionRequest((Message("user", (Text(text),)),)))

    assert 0 <= rated(easy) < rated(hard) <= 1


def test_a_text_full_of_select_is_read_in_linear_time():
    def took(text: str) -> float:
        request = CompletionRequest((Message("user", (Text(text),)),))
        began = time.process_time()
        difficulty(request)
        return time.process_time() - began

    assert min(took("SELECT " * 3000) for _ in range(3)) < 0.05  # 0.5 s when each SELECT read on to the end
    assert difficulty(CompletionRequest((Message("user", (Text("SELECT a SELECT b FROM c"),)),))) > difficulty(
        CompletionRequest((Message("user", (Text("a b c"),)),))
    )


@pytest.mark.parametrize(("model", "fallbacks", "estimated"), [("auto", (), True), ("m1", (), False), ("m1", ("auto:best",), True)])
def test_difficulty_is_estimated_only_where_it_chooses(model: str, fallbacks: tuple[str, ...], estimated: bool):
    cards = [card("m1"), card("m2")]
    assert router.weighs(model, fallbacks) is estimated
    route = router.rank(facts(model, fallbacks=fallbacks), cards, {}, {"m1", "m2"})
    assert (route.explanation["difficulty"] is not None) is estimated
