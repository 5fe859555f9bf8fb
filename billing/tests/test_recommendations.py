"""Recommendations come from the user's own calls, with figures that add up."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal as D

import pytest

from accounts import keys
from aiagents.core.ids import uuid7
from billing import pricing
from billing.budgets import budgets
from billing.catalogue import snapshot as catalogue
from billing.models import AIModel
from billing.pricing import Usage
from billing.reports import recommendations
from billing.reports.rollups import DAY
from billing.tests.making import make_user
from billing.tests.rollup_rows import NOON, Clock, log
from tests.kit import catalogue as installed_catalogue

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def noon(monkeypatch, db):
    """The database's clock stands at noon, and the catalogue is there, before `user` is made."""
    monkeypatch.setattr(budgets, "database_now", Clock(NOON))
    installed_catalogue.load()


@pytest.fixture
def monthly_limit() -> D:
    return D(50)


def calls(
    user, count: int, model: str = "gpt-4o-mini", *, days: float = 10, usage: Usage | None = None, pinned: bool = True, **values
) -> D:
    """So many calls spread evenly over the last days, at the catalogue's price; what they cost."""
    used = usage or Usage(1000, 0, 0, 200, 0)
    rates = catalogue.current_sync().cards[model].rates
    cost = pricing.cost(rates, used)
    for number in range(count):
        at = NOON - timedelta(days=days) + timedelta(days=days) * number / count
        log(
            at, user_id=user.pk, model=model, requested_model=model if pinned else "auto", provider="openai", cost_usd=cost,
            **used.as_dict(), **values,
        )  # fmt: skip
    return cost * count


def found(user) -> dict[str, recommendations.Recommendation]:
    report = recommendations.for_user(user.pk)
    assert report.enough_data
    return {one.kind: one for one in report.recommendations}


@pytest.mark.parametrize(("count", "days"), [(0, 10), (29, 10), (200, 2)])
def test_too_little_data_gives_no_recommendations(user, count, days):
    calls(user, count, "gpt-4o", days=days, usage=Usage(50_000, 0, 0, 2000, 0), status="failed")
    report = recommendations.for_user(user.pk)
    assert (report.enough_data, report.recommendations, report.calls) == (False, (), count)


def test_others_calls_and_old_ones_say_nothing(user):
    calls(make_user(), 100, "gpt-4o")
    for _ in range(60):
        log(NOON - 31 * DAY, user_id=user.pk, status="failed")
    assert recommendations.for_user(user.pk).calls == 0


def test_good_and_cheap_work_is_left_in_peace(user):
    AIModel.objects.exclude(slug="gpt-4o-mini").update(enabled=False)
    AIModel.objects.filter(slug="gpt-4o-mini").update(lifecycle="active")
    catalogue.invalidate()
    calls(user, 100)
    assert found(user) == {}


def test_the_cheaper_model_is_as_good_and_priced_at_the_same_tokens(user):
    used = Usage(20_000, 0, 0, 2_000, 0)
    cost = calls(user, 60, "gpt-4o", usage=used)
    one = found(user)["cheaper_model"]
    cards = catalogue.current_sync().cards
    other = cards[one.evidence["alternative"]]
    assert other.quality >= cards["gpt-4o"].quality - 3
    assert other.capabilities >= cards["gpt-4o"].capabilities - {"reasoning"}
    assert D(one.evidence["cost_usd"]) == cost
    assert D(one.evidence["alternative_cost_usd"]) == pricing.cost(other.rates, used) * 60
    assert one.saving_per_month_usd == pytest.approx((cost - D(one.evidence["alternative_cost_usd"])) * 3, rel=D("0.001"))


def test_what_the_router_chose_is_not_held_against_the_user(user):
    calls(user, 60, "gpt-4o", usage=Usage(20_000, 0, 0, 2_000, 0), pinned=False)
    assert "cheaper_model" not in found(user)


def test_a_model_that_cannot_take_the_longest_call_is_no_alternative(user):
    calls(user, 60, "gpt-4o", usage=Usage(20_000, 0, 0, 2_000, 0))
    names = {found(user)["cheaper_model"].evidence["alternative"]}
    AIModel.objects.filter(slug__in=names).update(context_window=21_999)
    catalogue.invalidate()
    later = found(user).get("cheaper_model")
    assert later is None or later.evidence["alternative"] not in names


def test_failed_calls_are_named_with_what_they_cost(user):
    calls(user, 80)
    cost = calls(user, 20, status="failed")
    one = found(user)["many_failed_calls"]
    assert (one.evidence["calls"], one.evidence["failed_calls"], D(one.evidence["failed_cost_usd"])) == (100, 20, cost)
    assert one.saving_per_month_usd == pytest.approx(cost * 3, rel=D("0.001"))


def test_answers_that_are_cut_off_are_counted(user):
    calls(user, 50, finish_reason="stop")
    calls(user, 10, finish_reason="length")
    assert found(user)["answers_cut_off"].evidence == {"model": "gpt-4o-mini", "calls": 60, "cut_off": 10}


def test_reasoning_is_priced(user):
    calls(user, 60, usage=Usage(100, 0, 0, 1000, 900))
    one = found(user)["much_reasoning"]
    rates = catalogue.current_sync().cards["gpt-4o-mini"].rates
    assert D(one.evidence["reasoning_cost_usd"]) == rates.output * 900 * 60 / 1_000_000
    assert one.saving_per_month_usd is None


def test_long_answers_tell_what_a_tenth_would_save(user):
    calls(user, 60, "gpt-4o", usage=Usage(100, 0, 0, 4000, 0))
    one = found(user)["long_outputs"]
    assert one.evidence["mean_output_tokens"] == 4000
    assert D(one.evidence["per_tenth_shorter_usd"]) == pytest.approx(D(one.evidence["output_cost_usd"]) / 10 * 3, rel=D("0.001"))


class TestCaching:
    def talk(self, user, *, cached: int = 0, minutes: float = 1, conversations: int = 10, turns: int = 5) -> None:
        cost = pricing.cost(catalogue.current_sync().cards["gpt-4o"].rates, Usage(10_000, cached, 0, 10, 0))
        for number in range(conversations):
            conversation, begun = uuid7(), NOON - 10 * DAY + timedelta(hours=200 * number / conversations)
            for turn in range(turns):
                log(
                    begun + timedelta(minutes=minutes * turn), user_id=user.pk, model="gpt-4o", requested_model="gpt-4o", cost_usd=cost,
                    input_tokens=10_000, cached_input_tokens=cached, output_tokens=10, conversation_id=conversation,
                )  # fmt: skip

    def test_text_that_is_sent_again_and_again_could_come_from_the_cache(self, user):
        self.talk(user)
        one = found(user)["prompt_caching"]
        rates = catalogue.current_sync().cards["gpt-4o"].rates
        # Four of five calls of each conversation repeat the one before.
        assert (one.evidence["calls"], one.evidence["repeated_tokens"], one.evidence["paid_in_full_tokens"]) == (40, 400_000, 400_000)
        assert one.saving_per_month_usd == pytest.approx((rates.input - rates.cached_input) * D("0.4") * 3, rel=D("0.01"))

    @pytest.mark.parametrize("how", [{"cached": 9_990}, {"minutes": 6}, {"turns": 1, "conversations": 50}])
    def test_what_is_cached_already_or_comes_too_late_or_only_once_is_not_counted(self, user, how):
        self.talk(user, **how)
        assert "prompt_caching" not in found(user)


def test_a_key_without_a_budget_is_named_while_it_lives_and_has_none(user):
    key, _ = keys.create(user, name="robot", scopes=["chat"])
    cost = calls(user, 40, api_key_id=key.pk)
    one = found(user)["key_without_budget"]
    assert (one.evidence, one.saving_per_month_usd) == (
        {"key_id": str(key.pk), "calls": 40, "cost_usd": recommendations.money(cost)}, None
    )  # fmt: skip
    budgets.set_limit("key", key.pk, D(5))
    assert "key_without_budget" not in found(user)
    budgets.set_limit("key", key.pk, None)
    assert "key_without_budget" in found(user)
    type(key).objects.filter(pk=key.pk).update(revoked_at=NOON)
    assert "key_without_budget" not in found(user)


def test_a_model_that_is_on_its_way_out_names_its_successor(user):
    calls(user, 40, "gpt-4o-mini")
    assert found(user)["deprecated_model"].evidence["replaced_by"] == "gpt-6-luna"
