"""The checker finds what is wrong, and only that."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal as D
from io import StringIO

import pytest
from django.core.management import call_command
from django.core.management.base import CommandError
from django.utils import timezone

from billing import invariants
from billing.budgets import budgets
from billing.models import Budget, BudgetWindow, Hold, UsageLog
from billing.tests.making import CENT, RATES, Ledger, call_of, make_user, used, window

pytestmark = pytest.mark.django_db


@pytest.fixture
def ledger_rows(db):
    user = make_user(D(1))
    closed = Ledger.hold(call_of(user), CENT, RATES, 1000)
    Ledger.settle(closed, used(D("0.004")))
    open_ = Ledger.hold(call_of(user), CENT, RATES, 1000)
    return user, closed, open_


def rules() -> list[str]:
    return [one.rule for one in invariants.violations()]


def test_a_correct_ledger_has_no_violations(ledger_rows):
    assert invariants.violations() == []
    out = StringIO()
    call_command("invariants", stdout=out)
    assert "all invariants hold" in out.getvalue()


def test_a_closed_call_without_its_row(ledger_rows):
    UsageLog._base_manager.all()._raw_delete("default")
    assert set(rules()) == {"I2", "I3"}


def test_a_charged_call_that_still_holds(ledger_rows):
    Hold.objects.filter(status="settled").update(status="open")
    assert "I2" in rules()


def test_a_charge_that_was_never_held(ledger_rows):
    Hold.objects.filter(status="settled").delete()
    assert rules() == ["I2"]
    UsageLog._base_manager.update(created_at=timezone.now() - timedelta(days=3))
    BudgetWindow.objects.update(starts_at=timezone.now() - timedelta(days=60))
    assert rules() == []  # pruned long ago


def test_a_hold_that_is_not_swept(ledger_rows):
    Hold.objects.filter(status="open").update(heartbeat_at=timezone.now() - timedelta(minutes=5))
    assert rules() == ["I2"]


@pytest.mark.parametrize("column", ["spent_usd", "held_usd"])
@pytest.mark.parametrize("scope", ["user", "system"])
def test_a_balance_that_is_off_by_the_last_digit(ledger_rows, column, scope):
    row = window(scope, ledger_rows[0].pk if scope == "user" else None)
    setattr(row, column, getattr(row, column) + D("1e-12"))
    row.save()
    assert rules() == ["I3"]


def test_a_row_that_costs_something_else_than_its_tokens(ledger_rows):
    UsageLog._base_manager.update(output_tokens=1)
    assert rules() == ["I3"]


def test_more_taken_than_the_limit_allows(ledger_rows):
    user = ledger_rows[0]
    Budget.objects.filter(scope_id=user.pk).update(limit_usd=CENT, lowered_at=None)
    assert rules() == ["I4"]
    Budget.objects.filter(scope_id=user.pk).update(lowered_at=timezone.now())
    assert rules() == []


def test_an_overrun_is_no_violation():
    user = make_user()
    Budget.objects.filter(scope_id=user.pk).update(limit_usd=CENT, lowered_at=None)
    Ledger.settle(Ledger.hold(call_of(user), CENT, RATES, 1000), used(D("0.019")))
    assert invariants.violations() == []
    assert budgets.month_to_date(user).left_usd == 0


def test_other_apps_add_their_checks_and_the_command_fails_on_what_they_find(ledger_rows, monkeypatch):
    monkeypatch.setattr(invariants, "registered_checks", dict(invariants.registered_checks))
    invariants.register("mine", lambda: [invariants.Violation("I5", "a text was lost")])
    out = StringIO()
    with pytest.raises(CommandError, match="1 violations"):
        call_command("invariants", stdout=out)
    assert "I5: a text was lost" in out.getvalue()
