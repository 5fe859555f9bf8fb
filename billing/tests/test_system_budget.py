"""The system's budget: a limit by default, also where an earlier version made it without one; off only by the word `none`."""

from __future__ import annotations

import logging
from datetime import timedelta
from decimal import Decimal
from importlib import import_module

import pytest
from django.apps import apps
from django.utils import timezone

from aiagents.management.commands import doctor
from aiagents.settings.env import Env
from billing.budgets import budgets
from billing.models import Budget

D = Decimal
pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _default(settings) -> None:
    settings.MONTHLY_COST_LIMIT = Env.model_fields["monthly_cost_limit"].default


def upgrade() -> None:
    import_module("billing.migrations.0007_system_budget_by_default").limit(apps, None)


def system_limit() -> Decimal | None:
    return budgets.month_of_scope(Budget.Scope.SYSTEM, None).limit_usd


def test_there_is_a_limit_before_anything_was_spent():
    assert not Budget.objects.filter(scope="system").exists()
    assert system_limit() == D(1000)


def test_the_word_none_switches_it_off(settings):
    settings.MONTHLY_COST_LIMIT = None
    assert system_limit() is None
    budgets.create(Budget.Scope.SYSTEM, None, None)
    upgrade()
    assert system_limit() is None


def test_the_upgrade_sets_the_limit_where_staff_did_not_remove_it(settings, caplog):
    budgets.create(Budget.Scope.SYSTEM, None, None)
    user_without = budgets.create(Budget.Scope.USER, Budget().pk, None)
    settings.MONTHLY_COST_LIMIT = D(250)
    with caplog.at_level(logging.WARNING):
        upgrade()
    assert system_limit() == D(250) and "250" in caplog.text
    assert Budget.objects.get(scope="system").lowered_at is not None
    user_without.refresh_from_db()
    assert user_without.limit_usd is None


def test_the_upgrade_leaves_what_staff_chose():
    budget = budgets.create(Budget.Scope.SYSTEM, None, D(5))
    upgrade()
    assert system_limit() == D(5)
    Budget.objects.filter(pk=budget.pk).update(created_at=timezone.now() - timedelta(days=3))
    budgets.set_limit(Budget.Scope.SYSTEM, None, None)
    upgrade()
    assert system_limit() is None


def test_the_doctor_says_whether_there_is_one(settings):
    def levels() -> list[str]:
        return [level for level, subject, _ in doctor.diagnose() if subject == "budget"]

    assert levels() == ["ok"]
    settings.MONTHLY_COST_LIMIT = None
    assert levels() == ["warning"]
