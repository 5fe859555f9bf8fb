"""Months, limits, and what a new budget takes over."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal as D

import pytest
from django.utils import timezone

from accounts import hooks
from accounts.models import ApiKey, User
from aiagents.core.ids import uuid7
from billing import invariants
from billing.budgets import budgets
from billing.ledger.charging import Outcome
from billing.models import Budget, Hold, UsageLog
from billing.tests.making import CENT, RATES, Ledger, balances, call_of, make_user, used


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("zone", "now", "starts_at", "ends_at"),
    [
        ("UTC", "2026-11-23T05:00", "2026-11-01T00:00", "2026-12-01T00:00"),
        ("UTC", "2026-12-31T23:59", "2026-12-01T00:00", "2027-01-01T00:00"),
        ("UTC", "2028-02-29T12:00", "2028-02-01T00:00", "2028-03-01T00:00"),
        ("America/Los_Angeles", "2026-12-01T07:59", "2026-11-01T07:00", "2026-12-01T08:00"),  # summer time ends in between
        ("America/Los_Angeles", "2026-12-01T08:00", "2026-12-01T08:00", "2027-01-01T08:00"),
        ("Asia/Tokyo", "2026-11-30T15:00", "2026-11-30T15:00", "2026-12-31T15:00"),
        ("Pacific/Kiritimati", "2026-01-31T10:00", "2026-01-31T10:00", "2026-02-28T10:00"),
    ],
)
def test_a_month_begins_at_midnight_in_the_budgets_zone(zone, now, starts_at, ends_at):
    assert budgets.month(zone, at(now)) == (at(starts_at), at(ends_at))


def test_after_a_change_of_zone_the_next_month_begins_where_the_last_one_ended():
    ended = at("2026-12-01T00:00")  # in UTC; in Los Angeles it is still November, for eight hours
    assert budgets.month("America/Los_Angeles", ended, after=ended) == (ended, at("2027-01-01T08:00"))
    ended = at("2026-12-01T08:00")  # in Los Angeles; in Tokyo December began long ago
    assert budgets.month("Asia/Tokyo", ended, after=ended) == (ended, at("2026-12-31T15:00"))
    assert budgets.month("UTC", at("2026-12-05T00:00"), after=at("2026-09-01T00:00"))[0] == at("2026-12-01T00:00")


@pytest.mark.django_db
class TestBudgets:
    def test_a_user_who_changes_their_zone_moves_no_window(self):
        user = make_user()
        held = Ledger.hold(call_of(user), CENT, RATES, 10)
        User.objects.filter(pk=user.pk).update(time_zone="Pacific/Kiritimati")
        assert Ledger.hold(call_of(user), CENT, RATES, 10).windows == held.windows

    def test_a_new_budget_takes_over_what_its_scope_spent_and_holds(self):
        user = make_user()
        key = ApiKey.objects.create(user=user, name="k", prefix="p", digest=uuid7().hex)
        Ledger.settle(Ledger.hold(call_of(user, api_key_id=key.pk), CENT, RATES, 10), used(D("0.004")))
        running = Ledger.hold(call_of(user, api_key_id=key.pk), CENT, RATES, 10)
        Ledger.hold(call_of(user), CENT, RATES, 10)  # not the key's
        budgets.set_limit("key", key.pk, D(1))
        assert balances("key", key.pk) == (D("0.004"), CENT)
        Ledger.settle(running, used(D("0.001")))
        assert balances("key", key.pk) == (D("0.005"), 0)
        assert invariants.violations() == []

    def test_last_months_spending_is_not_taken_over(self):
        user = make_user()
        agent = uuid7()
        Ledger.settle(Ledger.hold(call_of(user, agent_id=agent), CENT, RATES, 10), used(CENT))
        UsageLog._base_manager.update(created_at=timezone.now() - timedelta(days=40))
        budgets.set_limit("agent", agent, D(1))
        assert balances("agent", agent) == (0, 0)

    def test_lowering_a_limit_is_remembered_and_raising_it_is_not(self):
        user = User.objects.create_user("a@example.com", "correct horse battery staple")
        budgets.user_created(user)
        assert Budget.objects.get(scope_id=user.pk).lowered_at is None
        assert budgets.set_limit("user", user.pk, D(500)).lowered_at is None
        assert budgets.set_limit("user", user.pk, None).lowered_at is None
        assert budgets.set_limit("user", user.pk, D(3)).lowered_at is not None

    def test_month_to_date_tells_what_is_left(self):
        user = make_user(D(1))
        Ledger.settle(Ledger.hold(call_of(user), CENT, RATES, 10), used(D("0.004")))
        Ledger.hold(call_of(user), CENT, RATES, 10)
        found = budgets.month_to_date(user)
        assert (found.spent_usd, found.held_usd, found.limit_usd, found.left_usd) == (D("0.004"), CENT, 1, D("0.986"))
        assert found.starts_at <= timezone.now() < found.ends_at
        budgets.set_limit("user", user.pk, None)
        assert budgets.month_to_date(user).left_usd is None
        budgets.set_limit("user", user.pk, D(0))
        assert budgets.month_to_date(user).left_usd == 0

    def test_month_to_date_of_a_user_without_a_budget_tells_the_default(self, settings):
        settings.NEW_USER_MONTHLY_LIMIT = D(7)
        user = User.objects.create_user("a@example.com", "correct horse battery staple")
        Budget.objects.all().delete()
        found = budgets.month_to_date(user)
        assert (found.spent_usd, found.limit_usd, found.left_usd) == (0, 7, 7)

    def test_accounts_reaches_us_through_its_hooks(self, settings):
        settings.NEW_USER_MONTHLY_LIMIT = D(9)
        user = User.objects.create_user("a@example.com", "correct horse battery staple")
        Budget.objects.all().delete()
        hooks.user_created(user)
        hooks.user_created(user)
        assert hooks.profile_budget(user)["limit_usd"] == 9
        keys = [ApiKey.objects.create(user=user, name="k", prefix="p", digest=uuid7().hex).pk for _ in range(3)]
        hooks.set_key_budget(keys[0], D(2))
        hooks.set_key_budget(keys[1], D(3))
        hooks.set_key_budget(keys[1], None)
        hooks.set_key_budget(keys[2], None)
        assert hooks.key_budgets(keys) == {keys[0]: D(2)}
        assert not Budget.objects.filter(scope_id=keys[2]).exists()

    def test_a_deleted_users_budget_that_is_made_again_knows_what_was_spent(self):
        user = make_user()
        Ledger.settle(Ledger.hold(call_of(user), CENT, RATES, 10), used(CENT))
        Budget.objects.filter(scope="user").delete()
        Ledger.settle(Ledger.hold(call_of(user), CENT, RATES, 10), Outcome("failed", None, started=False))
        assert balances("user", user.pk) == (CENT, 0)

    def test_names_in_lists(self):
        user = make_user()
        held = Ledger.hold(call_of(user), CENT, RATES, 10)
        Ledger.settle(held, used(CENT))
        assert str(Budget.objects.get(scope="system")) == "system"
        assert str(Budget.objects.get(scope="user")) == f"user {user.pk}"
        assert str(UsageLog.objects.get()) == "gpt-4o 0.010000000000"


@pytest.mark.django_db
def test_the_usage_log_is_written_once():
    user = make_user()
    Ledger.settle(Ledger.hold(call_of(user), CENT, RATES, 10), used(CENT))
    row = UsageLog.objects.get()
    with pytest.raises(TypeError):
        row.save()
    with pytest.raises(TypeError):
        row.delete()
    with pytest.raises(TypeError):
        UsageLog.objects.update(cost_usd=0)
    with pytest.raises(TypeError):
        UsageLog.objects.all().delete()


@pytest.mark.django_db
def test_only_old_closed_holds_are_pruned(settings):
    from billing.tasks import prune_holds, sweep_holds

    user = make_user()
    held = [Ledger.hold(call_of(user), CENT, RATES, 10) for _ in range(3)]
    for one in held[:2]:
        Ledger.settle(one, used(CENT))
    Hold.objects.filter(pk=held[0].call.call_id).update(closed_at=timezone.now() - timedelta(seconds=settings.HOLD_KEEP_SECONDS + 60))
    Hold.objects.filter(pk=held[2].call.call_id).update(created_at=timezone.now() - timedelta(days=9))
    assert prune_holds() == 1
    assert set(Hold.objects.values_list("pk", flat=True)) == {one.call.call_id for one in held[1:]}
    assert sweep_holds() == 0


@pytest.mark.django_db
def test_a_balance_is_exact_beyond_what_a_double_holds():
    """Fifteen digits are what SQLite's numbers keep; a running balance has more."""
    user = make_user(None)
    for amount in (D("987654.321098765432"), D("0.000000000001")):
        Ledger.hold(call_of(user), amount, RATES, 10)
    assert balances("user", user.pk) == (0, D("987654.321098765433"))
