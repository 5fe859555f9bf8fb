"""Demo usage violates no invariant."""

from __future__ import annotations

import random
import time
from decimal import Decimal as D

import pytest
from django.core.management import CommandError, call_command

from accounts.models import ApiKey, User
from aiagents.core.ids import uuid7
from billing import invariants, pricing
from billing.budgets import alerts, budgets
from billing.catalogue import snapshot as catalogue
from billing.demo import rows as demo_rows
from billing.demo import service as demo
from billing.models import Budget, BudgetAlert, BudgetWindow, UsageLog
from billing.pricing import Usage
from billing.reports import rollups
from billing.reports import staff as analytics
from billing.tests.making import CENT, RATES, Ledger, call_of, make_user, used
from tests.kit import catalogue as installed_catalogue

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def loaded(db):
    installed_catalogue.load()


def test_every_invariant_holds_beside_real_calls():
    user = make_user(None)
    Ledger.settle(Ledger.hold(call_of(user), CENT, RATES, 10), used(CENT))
    agent_id = uuid7()
    agent = budgets.create(Budget.Scope.AGENT, agent_id, None)
    people = [demo.Person(user.pk, 2.0, (), [agent_id]), *[demo.Person(one.pk) for one in demo.colleagues(3)]]
    cost = demo.make(people, 800, 70)
    assert UsageLog.objects.count() == 801
    assert UsageLog.objects.filter(simulated=True).count() == 800
    assert invariants.violations() == []
    system = BudgetWindow.objects.filter(budget__scope="system")
    assert sum(window.spent_usd for window in system) == cost + CENT
    assert system.count() >= 3
    assert sum(window.spent_usd for window in agent.windows.all()) > 0
    demo.make(people, 300, 5, seed=2)
    assert invariants.violations() == []


def test_its_arithmetic_is_the_ledgers():
    dice = random.Random(3)
    for card in catalogue.current_sync().usable():
        if card.rates is None:
            continue
        into = dice.randint(0, 60_000 if card.rates.tier_threshold is None else min(60_000, card.rates.tier_threshold))
        cached = dice.randint(0, into)
        usage = [into, cached, dice.randint(0, into - cached), dice.randint(0, 9999), 0]
        assert D(demo_rows.pico(demo_rows.whole_rates(card.rates), usage)).scaleb(-12) == pricing.cost(card.rates, Usage(*usage))


def test_the_month_of_make_run_shows_something_everywhere_and_is_made_once():
    admin, user = make_user(role="admin"), make_user()
    begun = time.perf_counter()
    assert demo.month([admin, user], 1500) == 1500
    seconds = time.perf_counter() - begun
    assert demo.month([admin, user], 1500) == 0
    assert seconds < 20
    assert invariants.violations() == []
    found = analytics.overview()
    assert found["last_30_days"]["calls"] == found["last_30_days"]["simulated_calls"] > 1400
    assert found["users"]["active_30_days"] == 8
    key = ApiKey.objects.get(user=user)
    assert set(BudgetAlert.objects.filter(window__budget__scope_id=key.pk).values_list("threshold", flat=True)) == {50, 80}
    assert set(BudgetAlert.objects.values_list("user", flat=True)) == {user.pk}
    assert alerts.raise_due() == []
    assert not User.objects.get(email="demo-001@example.com").has_usable_password()


def test_the_command_writes_what_it_says(capsys):
    call_command("demo_usage", "--rows", "400", "--days", "40", "--users", "4")
    assert "400 rows over 40 days" in capsys.readouterr().out
    assert UsageLog.objects.count() == 400
    assert invariants.violations() == []
    assert list(rollups.differences()) == []
    for budget in Budget.objects.filter(scope="user"):
        assert budget.limit_usd is not None and all(window.spent_usd < budget.limit_usd for window in budget.windows.all())


def test_it_refuses_in_production_and_where_it_would_use_up_a_limit(settings):
    settings.ENVIRONMENT = "production"
    with pytest.raises(CommandError, match="production"):
        call_command("demo_usage", "--rows", "1")
    settings.ENVIRONMENT = "test"
    budgets.set_limit("system", None, D(100))
    with pytest.raises(CommandError, match="limit"):
        call_command("demo_usage", "--rows", "1")
    call_command("demo_usage", "--rows", "5", "--force")
    assert UsageLog.objects.count() == 5


def test_it_needs_a_catalogue(monkeypatch):
    from billing.models import AIModel

    AIModel.objects.all().delete()
    with pytest.raises(ValueError, match="catalogue"):
        demo.make([demo.Person(make_user().pk)], 5, 2)
