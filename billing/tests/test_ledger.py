"""Hold, settle, reattempt, sweep: one at a time."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal as D
from types import SimpleNamespace

import pytest
from asgiref.sync import async_to_sync
from django.db import OperationalError, connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from accounts.models import ApiKey, User
from aiagents.core.errors import BudgetExceeded, Conflict, NotAuthenticated, Unavailable
from aiagents.core.ids import uuid7
from aiagents.core.live import outage_heartbeat
from billing.budgets import budgets
from billing.ledger import postgres, sqlite
from billing.ledger import service as ledger
from billing.ledger.charging import Outcome, charge, log_row
from billing.models import AIModel, Budget, BudgetWindow, Hold, UsageLog
from billing.pricing import Usage, ceiling_rates
from billing.tests.making import CENT, RATES, Ledger, balances, call_of, make_user, used

pytestmark = pytest.mark.django_db


def held_for(user, amount=CENT, **changes):
    return Ledger.hold(call_of(user, **changes), amount, RATES, 1000)


@pytest.fixture(params=["native", "portable"], autouse=True)
def store(request, monkeypatch):
    """Everything holds for both ways to write it; on PostgreSQL both run."""
    if request.param == "portable":
        if connection.vendor == "sqlite":
            pytest.skip("there it is the native one")
        monkeypatch.setattr(ledger, "store_for_database", lambda: sqlite)
    return request.param


@pytest.fixture
def monthly_limit() -> D:
    return D(50)


def make_key(user, **extra):
    return ApiKey.objects.create(user=user, name="k", prefix="aia_x", digest=uuid7().hex, **extra)


def test_a_hold_takes_the_money_from_the_user_and_the_system(user):
    held = held_for(user)
    assert len(held.windows) == 2
    assert balances("user", user.pk) == (0, CENT)
    assert balances("system") == (0, CENT)
    row = Hold.objects.get(pk=held.call.call_id)
    assert (row.status, row.amount_usd, row.windows) == ("open", CENT, list(held.windows))
    assert ledger.held_of(row) == held


def test_a_hold_takes_its_part_of_what_is_free_and_never_less_than_the_least():
    user = make_user(D(1))
    usual, least, amounts = D("0.1"), D("0.02"), []
    while True:
        try:
            held = Ledger.hold(call_of(user), D(5), RATES, 1000, usual=usual, least=least)
        except BudgetExceeded as refused:
            assert D(refused.details["left_usd"]) < least and D(refused.details["asked_usd"]) == least
            break
        free, others = D(1) - sum(amounts), sum(amounts, D(0))
        assert held.amount == Hold.objects.get(pk=held.call.call_id).amount_usd
        assert abs(held.amount - min(D(5), max(min(usual, free), free * usual / (2 * usual + others)))) <= D("1e-11")
        amounts.append(held.amount)
        assert balances("user", user.pk) == (0, sum(amounts)) and sum(amounts) <= 1
    assert amounts[0] == D("0.5") and len(amounts) >= 5
    unlimited = make_user(None)
    assert Ledger.hold(call_of(unlimited), D(5), RATES, 1000, usual=usual, least=least).amount == D(5)


def test_a_hold_with_range_fits_into_the_tightest_of_its_budgets(user):
    key = make_key(user)
    budgets.set_limit("key", key.pk, D("0.2"))
    held = Ledger.hold(call_of(user, api_key_id=key.pk), D(1), RATES, 1000, usual=D("0.15"), least=D("0.01"))
    assert held.amount == D("0.15") and balances("system") == balances("key", key.pk) == (0, D("0.15"))
    rest = Ledger.hold(call_of(user, api_key_id=key.pk), D(1), RATES, 1000, usual=D("0.15"), least=D("0.01"))
    assert rest.amount == D("0.05")
    with pytest.raises(BudgetExceeded):
        Ledger.hold(call_of(user, api_key_id=key.pk), D(1), RATES, 1000, usual=D("0.15"), least=D("0.01"))
    assert Ledger.hold(call_of(user, api_key_id=key.pk), D(0), RATES, 0, usual=D(0), least=D(0)).amount == 0  # a free model


def test_settling_moves_what_was_used_and_frees_the_rest(user):
    held = held_for(user)
    charged = Ledger.settle(held, used(D("0.004")))
    assert charged.cost_usd == D("0.004")
    assert balances("user", user.pk) == balances("system") == (D("0.004"), 0)
    row = UsageLog.objects.get(call_id=held.call.call_id)
    assert (row.cost_usd, row.status, row.user_id, row.finish_reason) == (D("0.004"), "ok", user.pk, "stop")
    assert (row.latency_ms, row.ttft_ms, row.attempt, row.surface) == (12, 3, 1, "rest")
    assert row.price == {"input": "2.5", "output": "10", "cached_input": "1.25", "source": "test"}
    assert row.created_at == Hold.objects.get(pk=held.call.call_id).created_at


def test_the_second_settlement_returns_the_first_charge(user):
    held = held_for(user)
    first = Ledger.settle(held, used(D("0.004")))
    assert Ledger.settle(held, used(D("0.009"))) == first
    assert balances("user", user.pk) == (D("0.004"), 0)
    assert UsageLog.objects.count() == 1


def test_the_last_cent_may_be_used_and_not_one_more(user):
    budgets.set_limit("user", user.pk, CENT)
    held_for(user)
    with pytest.raises(BudgetExceeded) as refused:
        held_for(user, D("0.000000000001"))
    details = refused.value.details
    assert details["budget"] == "user"
    assert D(details["limit_usd"]) == D(details["held_usd"]) == CENT
    assert D(details["left_usd"]) == D(details["spent_usd"]) == 0
    assert D(details["asked_usd"]) == D("0.000000000001")
    assert Hold.objects.count() == 1


def test_money_that_is_freed_can_be_held_again(user):
    budgets.set_limit("user", user.pk, CENT)
    held = held_for(user)
    Ledger.settle(held, Outcome("failed", None, started=False))
    assert (held_for(user)).amount == CENT


def test_the_system_budget_refuses_without_telling_what_others_spend(user):
    held_for(user)
    budgets.set_limit("system", None, D("0.015"))
    with pytest.raises(BudgetExceeded) as refused:
        held_for(user)
    assert set(refused.value.details) == {"budget", "asked_usd", "left_usd"}
    assert balances("user", user.pk) == (0, CENT)


def test_the_tightest_budget_is_named_and_nothing_is_held_anywhere(user):
    key, agent, task = make_key(user), uuid7(), uuid7()
    for scope, scope_id, limit in [("key", key.pk, "0.5"), ("agent", agent, "0.002"), ("task", task, "0.005")]:
        budgets.set_limit(scope, scope_id, D(limit))
    with pytest.raises(BudgetExceeded) as refused:
        held_for(user, api_key_id=key.pk, agent_id=agent, task_id=task)
    assert refused.value.details["budget"] == "agent"
    assert D(refused.value.details["left_usd"]) == D("0.002")
    assert set(BudgetWindow.objects.values_list("held_usd", flat=True)) <= {D(0)}


def test_every_scope_of_a_call_is_charged(user):
    key, agent, task = make_key(user), uuid7(), uuid7()
    for scope, scope_id in [("key", key.pk), ("agent", agent), ("task", task)]:
        budgets.set_limit(scope, scope_id, D(1))
    held = held_for(user, api_key_id=key.pk, agent_id=agent, task_id=task)
    assert len(held.windows) == 5
    order = [BudgetWindow.objects.get(pk=pk).budget.scope for pk in held.windows]
    assert order == ["user", "key", "agent", "task", "system"]
    Ledger.settle(held, used(D("0.003")))
    for scope, scope_id in [("user", user.pk), ("key", key.pk), ("agent", agent), ("task", task), ("system", None)]:
        assert balances(scope, scope_id) == (D("0.003"), 0)


def test_a_limit_that_changes_holds_for_the_next_call(user):
    held_for(user)
    budgets.set_limit("user", user.pk, D(0))
    with pytest.raises(BudgetExceeded):
        held_for(user)
    budgets.set_limit("user", user.pk, None)
    assert (held_for(user, D(1000))).amount == D(1000)


def test_a_disabled_user_holds_nothing(user):
    User.objects.filter(pk=user.pk).update(is_active=False)
    with pytest.raises(NotAuthenticated):
        held_for(user)


def test_a_raised_epoch_ends_the_token_in_the_same_statement(user):
    User.objects.filter(pk=user.pk).update(auth_epoch=1)
    with pytest.raises(NotAuthenticated):
        held_for(user)


def test_a_user_who_does_not_exist_holds_nothing(user):
    with pytest.raises(NotAuthenticated):
        held_for(user, user_id=uuid7())


@pytest.mark.parametrize("end", [{"revoked_at": timezone.now()}, {"expires_at": timezone.now() - timedelta(seconds=1)}])
def test_a_key_that_ended_holds_nothing(user, end):
    key = make_key(user, **end)
    with pytest.raises(NotAuthenticated):
        held_for(user, api_key_id=key.pk)
    assert not Hold.objects.exists()


def test_another_users_key_holds_nothing(user):
    with pytest.raises(NotAuthenticated):
        held_for(user, api_key_id=make_key(make_user()).pk)


def test_a_key_that_is_still_good_holds(user):
    key = make_key(user, expires_at=timezone.now() + timedelta(hours=1))
    assert (held_for(user, api_key_id=key.pk)).call.api_key_id == key.pk


def test_settling_a_user_who_was_disabled_or_deleted_meanwhile_still_charges():
    user = make_user()
    held = held_for(user)
    pk = user.pk
    user.delete()
    assert (Ledger.settle(held, used(D("0.001")))).cost_usd == D("0.001")
    assert UsageLog.objects.get().user_id == pk
    assert balances("system") == (D("0.001"), 0)


def test_more_than_was_held_is_charged_and_blocks_the_next_call(user):
    budgets.set_limit("user", user.pk, CENT)
    held = held_for(user)
    charged = Ledger.settle(held, used(D("0.015")))
    assert (charged.cost_usd, charged.overrun_usd, charged.flagged) == (D("0.015"), D("0.005"), "")
    assert balances("user", user.pk) == (D("0.015"), 0)
    assert UsageLog.objects.get().overrun_usd == D("0.005")
    with pytest.raises(BudgetExceeded) as refused:
        held_for(user, D("0.000001"))
    assert D(refused.value.details["left_usd"]) == 0


def test_a_vendor_that_reports_zero_is_believed(user):
    charged = Ledger.settle(held_for(user), Outcome("ok", Usage()))
    assert (charged.cost_usd, charged.estimated) == (0, False)


def test_a_call_that_never_began_costs_nothing(user):
    charged = Ledger.settle(held_for(user), Outcome("failed", None, started=False, error_code="provider_overloaded"))
    assert (charged.cost_usd, charged.estimated) == (0, False)
    row = UsageLog.objects.get()
    assert (row.status, row.error_code, row.cost_usd, row.baseline_cost_usd) == ("failed", "provider_overloaded", 0, None)


def test_without_a_report_the_estimate_is_charged_and_marked(user):
    charged = Ledger.settle(held_for(user), Outcome("cancelled", None, output_tokens_seen=20))
    assert charged.estimated
    assert charged.cost_usd == D("0.0027")  # 1,000 in at 2.50 and 20 out at 10
    assert UsageLog.objects.get().input_tokens == 1000


def test_an_estimate_is_never_more_than_was_held(user):
    charged = Ledger.settle(held_for(user), Outcome("interrupted", None, output_tokens_seen=10**7))
    assert (charged.cost_usd, charged.overrun_usd) == (CENT, 0)


@pytest.mark.parametrize(
    ("reported", "seen", "output", "cost"),
    [
        (100, 40, 100, "0.001"),  # the vendor had counted more than we saw
        (100, 250, 250, "0.0025"),  # and less
        (100, 10**7, 10**7, "0.01"),  # our own count never takes it above the hold
        (1500, 2000, 2000, "0.015"),  # which the vendor's may
    ],
)
def test_a_count_that_was_not_the_last_is_completed_by_what_was_seen(user, reported, seen, output, cost):
    outcome = Outcome("interrupted", Usage(output_tokens=reported), output_tokens_seen=seen, partial=True)
    charged = Ledger.settle(held_for(user), outcome)
    assert (charged.usage.output_tokens, charged.cost_usd, charged.estimated) == (output, D(cost), True)


@pytest.mark.parametrize("usage", [Usage(input_tokens=10**15), Usage(output_tokens=21_000), Usage(output_tokens=10**9 + 1)])
def test_absurd_usage_is_charged_at_the_hold_and_flagged(user, usage):
    charged = Ledger.settle(held_for(user), Outcome("ok", usage))
    assert (charged.cost_usd, charged.flagged, charged.overrun_usd, charged.estimated) == (CENT, "usage_absurd", 0, True)
    assert balances("user", user.pk) == (CENT, 0)


def test_negative_usage_counts_as_none_of_it(user):
    charged = Ledger.settle(held_for(user), Outcome("ok", Usage(input_tokens=-5, output_tokens=100, reasoning_tokens=900)))
    assert charged.usage == Usage(output_tokens=100, reasoning_tokens=100)
    assert charged.cost_usd == D("0.001")


def test_an_unknown_price_is_charged_at_the_ceiling_and_flagged(user, settings):
    settings.UNKNOWN_PRICE_CEILING_PER_MTOK = 150
    held = Ledger.hold(call_of(user), D(1), ceiling_rates(), 10)
    charged = Ledger.settle(held, Outcome("ok", Usage(input_tokens=100, output_tokens=100)))
    assert (charged.cost_usd, charged.flagged) == (D("0.03"), "price_unknown")
    assert UsageLog.objects.get().price["unknown"] is True


def test_amounts_finer_than_the_column_are_rounded_up(user):
    held = held_for(user, D("0.0000000000001"))
    assert held.amount == D("1e-12")


def test_overlong_and_dirty_texts_never_fail_a_settlement(user):
    held = held_for(user, requested_model="m\x00" * 200, request_id="r" * 99, purpose="p" * 40)
    Ledger.settle(held, Outcome("ok", Usage(), finish_reason="f\x00" * 50, error_code="e" * 99, latency_ms=10**12, ttft_ms=-4))
    row = UsageLog.objects.get()
    assert (len(row.requested_model), len(row.finish_reason), len(row.error_code)) == (100, 20, 50)
    assert (row.latency_ms, row.ttft_ms) == (2**31 - 1, 0)


def test_charge_says_what_settle_will_write(user):
    held, outcome = held_for(user), used(D("0.004"))
    assert charge(held, outcome) == Ledger.settle(held, outcome)


def test_the_baseline_cost_is_what_the_baseline_model_would_have_cost(user, settings):
    model = AIModel.objects.create(
        slug="dear", display_name="Dear", provider="openai", vendor_model="dear", context_window=1000, max_output_tokens=100
    )
    model.prices.create(input=D(10), output=D(30), effective_from=timezone.now() - timedelta(days=1))
    settings.ROUTING_BASELINE_MODEL = "dear"
    Ledger.settle(held_for(user), Outcome("ok", Usage(input_tokens=100, output_tokens=10)))
    assert UsageLog.objects.get().baseline_cost_usd == D("0.0013")


def test_a_failed_attempt_hands_its_money_on(user):
    budgets.set_limit("user", user.pk, CENT)
    first = held_for(user)
    following = call_of(user, attempt=2, model="claude-3-haiku", group_id=first.call.group_id)
    second = Ledger.reattempt(first, Outcome("failed", None, started=False, error_code="provider_overloaded"), following, RATES)
    assert (second.amount, second.windows, second.call) == (CENT, first.windows, following)
    assert balances("user", user.pk) == balances("system") == (0, CENT)
    Ledger.settle(second, used(D("0.002")))
    assert balances("user", user.pk) == (D("0.002"), 0)
    assert list(UsageLog.objects.order_by("attempt").values_list("attempt", "status", "model")) == [
        (1, "failed", "gpt-4o"),
        (2, "ok", "claude-3-haiku"),
    ]
    assert len(set(UsageLog.objects.values_list("created_at", flat=True))) == 1


def test_a_failed_attempt_that_cost_something_is_paid_beside_the_money_handed_on(user):
    first = held_for(user)
    second = Ledger.reattempt(first, used(D("0.004"), "failed"), call_of(user, attempt=2), RATES)
    assert balances("user", user.pk) == (D("0.004"), CENT)
    Ledger.settle(second, used(D("0.001")))
    assert balances("user", user.pk) == (D("0.005"), 0)


def test_without_room_for_what_the_failed_attempt_cost_there_is_no_next_one(user):
    budgets.set_limit("user", user.pk, CENT)
    first, failed = held_for(user), used(D("0.004"), "failed")
    with pytest.raises(BudgetExceeded) as refused:
        Ledger.reattempt(first, failed, call_of(user, attempt=2), RATES)
    assert refused.value.details["budget"] == "user"
    assert balances("user", user.pk) == (0, CENT)  # nothing was done: the caller settles the failed attempt
    Ledger.settle(first, failed)
    assert balances("user", user.pk) == (D("0.004"), 0)


def test_a_user_disabled_between_two_attempts_gets_no_second_one(user):
    first = held_for(user)
    User.objects.filter(pk=user.pk).update(is_active=False)
    with pytest.raises(NotAuthenticated):
        Ledger.reattempt(first, Outcome("failed", None, started=False), call_of(user, attempt=2), RATES)
    assert Hold.objects.get().status == "open"


def test_a_repeated_reattempt_finds_its_own_hold(user):
    first, following, failed = held_for(user), call_of(user, attempt=2), Outcome("failed", None, started=False)
    second = Ledger.reattempt(first, failed, following, RATES)
    assert Ledger.reattempt(first, failed, following, RATES) == second
    assert balances("user", user.pk) == (0, CENT)


def test_a_reattempt_after_the_sweeper_is_admitted_afresh(user):
    first = held_for(user)
    Hold.objects.update(heartbeat_at=timezone.now() - timedelta(minutes=1))
    assert Ledger.sweep() == 1
    second = Ledger.reattempt(first, Outcome("failed", None, started=False), call_of(user, attempt=2), RATES)
    assert balances("user", user.pk) == (D("0.0025"), CENT)
    assert Hold.objects.get(pk=second.call.call_id).status == "open"


def test_progress_is_kept_and_never_goes_back(user):
    held = held_for(user)
    long_ago = timezone.now() - timedelta(minutes=1)
    Hold.objects.update(heartbeat_at=long_ago)
    Ledger.progress({held.call.call_id: 40, uuid7(): 3})
    Ledger.progress({held.call.call_id: 30})
    Ledger.progress({})
    row = Hold.objects.get()
    assert row.output_tokens_seen == 40
    assert row.heartbeat_at > long_ago


def test_the_sweeper_charges_silent_holds_by_estimate_and_leaves_the_others(user):
    silent, living = held_for(user), held_for(user)
    Ledger.progress({silent.call.call_id: 50, living.call.call_id: 50})
    Hold.objects.filter(pk=silent.call.call_id).update(heartbeat_at=timezone.now() - timedelta(seconds=21))
    assert Ledger.sweep() == 1
    assert Ledger.sweep() == 0
    row = UsageLog.objects.get()
    assert (row.call_id, row.status, row.estimated, row.error_code) == (silent.call.call_id, "interrupted", True, "interrupted")
    assert row.cost_usd == D("0.003")
    assert balances("user", user.pk) == (D("0.003"), CENT)
    assert Hold.objects.get(pk=silent.call.call_id).status == "swept"
    late = Ledger.settle(silent, used(D("0.009")))
    assert (late.cost_usd, late.estimated) == (D("0.003"), True)


def test_the_sweeper_leaves_a_call_that_lives_but_cannot_reach_the_database_and_it_pays_what_it_used(user):
    held = held_for(user)
    Hold.objects.update(heartbeat_at=timezone.now() - timedelta(minutes=1))
    async_to_sync(outage_heartbeat.say)(ledger.ALIVE, [held.call.call_id], 20)
    assert Ledger.sweep() == 0
    assert Ledger.settle(held, used(D("0.009"))).cost_usd == D("0.009")


def test_a_hold_with_a_heartbeat_during_the_sweep_stays_open(user, monkeypatch):
    held = held_for(user)
    Hold.objects.update(heartbeat_at=timezone.now() - timedelta(minutes=1))
    read = ledger.held_of

    def with_heartbeat(row):
        Hold.objects.filter(pk=row.pk).update(heartbeat_at=timezone.now())
        return read(row)

    monkeypatch.setattr(ledger, "held_of", with_heartbeat)
    assert Ledger.sweep() == 0
    assert Hold.objects.get(pk=held.call.call_id).status == "open"


def test_an_unreadable_hold_does_not_stop_the_sweeper(user):
    broken, silent = held_for(user), held_for(user)
    Hold.objects.filter(pk=broken.call.call_id).update(call={})
    Hold.objects.update(heartbeat_at=timezone.now() - timedelta(minutes=1))
    assert Ledger.sweep() == 1
    assert Hold.objects.get(pk=silent.call.call_id).status == "swept"


def test_what_was_used_is_charged_even_when_the_hold_is_lost(user):
    held = held_for(user)
    Hold.objects.all().delete()
    BudgetWindow.objects.update(held_usd=0)  # a backup from before the call
    for _ in range(2):
        assert (Ledger.settle(held, used(D("0.004")))).cost_usd == D("0.004")
    assert UsageLog.objects.get().flagged == "hold_lost"
    assert balances("user", user.pk) == (D("0.004"), 0)


def test_a_month_that_ends_meanwhile_is_charged_where_it_was_held(user):
    held = held_for(user)
    past = timezone.now() - timedelta(days=40)
    BudgetWindow.objects.update(starts_at=past, ends_at=timezone.now() - timedelta(seconds=1))
    fresh = held_for(user)
    assert set(fresh.windows).isdisjoint(held.windows)
    Ledger.settle(held, used(D("0.004")))
    old = BudgetWindow.objects.get(pk=held.windows[0])
    assert (old.spent_usd, old.held_usd) == (D("0.004"), 0)
    assert balances("user", user.pk) == (0, CENT)


def test_the_first_hold_makes_the_budgets_from_the_settings(settings, db):
    settings.MONTHLY_COST_LIMIT, settings.NEW_USER_MONTHLY_LIMIT = D(100), D(7)
    user = User.objects.create_user("new@example.com", "correct horse battery staple")
    Budget.objects.all().delete()
    held_for(user)
    assert dict(Budget.objects.values_list("scope", "limit_usd")) == {"system": D(100), "user": D(7)}


def test_a_raw_statement_knows_every_column_of_the_log(user):
    """The PostgreSQL ledger fills UsageLog from JSON by column names: none may be missing."""
    held = held_for(user)
    row = log_row(held, used(CENT), charge(held, used(CENT)), RATES)
    assert set(row) | {"created_at"} == {field.column for field in UsageLog._meta.fields}


def test_two_late_settlements_of_a_lost_hold_charge_once(user, monkeypatch):
    """The second one finds the first one's row only when it writes its own."""
    held = held_for(user)
    Hold.objects.all().delete()
    first = Ledger.settle(held, used(D("0.004")))
    found = ledger.first_charge
    answers = iter([None])
    monkeypatch.setattr(ledger, "first_charge", lambda call_id: next(answers, found(call_id)))
    assert Ledger.settle(held, used(D("0.009"))) == replace(first, flagged="hold_lost")
    assert balances("user", user.pk)[0] == D("0.004")


def test_budgets_that_cannot_be_opened_are_an_honest_503(user, monkeypatch):
    monkeypatch.setattr(budgets, "ensure", lambda call: None)
    with pytest.raises(Unavailable):
        held_for(user)


def test_an_unreachable_database_is_retried_once_and_then_reported(monkeypatch):
    tries = []

    def away():
        tries.append(1)
        raise OperationalError

    monkeypatch.setattr(ledger, "connection", SimpleNamespace(in_atomic_block=False, close=lambda: None))
    with pytest.raises(OperationalError):
        ledger.retry_once(away)
    assert len(tries) == 2
    monkeypatch.setattr(ledger, "connection", SimpleNamespace(in_atomic_block=True))
    with pytest.raises(OperationalError):
        ledger.retry_once(away)
    assert len(tries) == 3


@pytest.mark.django_db(transaction=True)
def test_a_repeated_hold_returns_the_first_one():
    user = make_user()
    call = call_of(user)
    first = Ledger.hold(call, CENT, RATES, 1000)
    assert Ledger.hold(call, CENT, RATES, 1000) == first
    assert balances("user", user.pk) == (0, CENT)
    Ledger.settle(first, used(D("0.001")))
    with pytest.raises(Conflict):
        Ledger.hold(call, CENT, RATES, 1000)


def test_hold_and_settle_are_one_statement_each(user, store, monkeypatch):
    if connection.vendor != "postgresql" or store != "native":
        pytest.skip("PostgreSQL's round trips")
    Ledger.settle(held_for(user), used(CENT))
    sent, execute = [], postgres.execute
    monkeypatch.setattr(postgres, "execute", lambda statement, values: sent.append(statement) or execute(statement, values))
    with CaptureQueriesContext(connection) as others:
        Ledger.settle(held_for(user), used(CENT))
    assert len(sent) == 2
    # Besides them only the catalogue may be read (for the baseline), which happens every few seconds.
    assert all("aimodel" in one["sql"] or "modelprice" in one["sql"] for one in others.captured_queries)
