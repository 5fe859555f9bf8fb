"""Reports have the keys and types that their TypedDicts, and so the OpenAPI document, say."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal as D
from typing import Annotated, Any, TypedDict, get_type_hints

import pytest
from rest_framework import serializers

from aiagents.core.drf.typed_dicts import Id, Time, serializer_of
from billing.budgets import budgets, near_limit
from billing.models import Budget, BudgetWindow
from billing.reports import rollups, shapes, staff
from billing.tests.rollup_rows import NOON, USERS, Clock, log
from tests.kit import catalogue as installed_catalogue
from tests.kit.shapes import wrong

pytestmark = pytest.mark.django_db
FROM, TO = NOON - timedelta(days=20), NOON
REPORTS: dict[str, Callable[[], Any]] = {
    "overview": lambda: staff.overview(NOON),
    "usage": lambda: staff.usage(FROM, TO),
    **{f"usage by {name}": (lambda name=name: staff.usage(FROM, TO, name)) for name in staff.GROUPS},
    "cost_optimization": lambda: staff.cost_optimization(FROM, TO),
    "model_performance": lambda: staff.model_performance(FROM, TO),
    "user_activity": lambda: staff.user_activity(FROM, TO),
}
HINTS = {name: get_type_hints(getattr(staff, name.split(" by ")[0]), include_extras=True)["return"] for name in REPORTS}


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(budgets, "database_now", Clock(NOON))
    installed_catalogue.load()


@pytest.fixture
def usage(clock: None) -> None:
    """Enough for suggestions, alternatives, forecasts, errors, and a budget that is near its limit."""
    for day in range(20):
        for number in range(6):
            at = NOON - timedelta(days=day, hours=number)
            failed = {"status": "failed", "error_code": "timeout"} if number == 0 else {}
            log(at, user_id=USERS[number % 2], model="claude-opus-4-6" if number < 5 else "gpt-4o", cost_usd=D(9), **failed)
    budget = Budget.objects.get_or_create(scope=Budget.Scope.USER, scope_id=USERS[0], defaults={"limit_usd": D(10)})[0]
    Budget.objects.filter(pk=budget.pk).update(limit_usd=D(10))
    BudgetWindow.objects.filter(budget=budget).delete()
    BudgetWindow.objects.create(budget=budget, starts_at=NOON - timedelta(days=9), ends_at=NOON + timedelta(days=9), spent_usd=D(9))
    rollups.catch_up()


@pytest.mark.parametrize("name", REPORTS)
def test_a_report_of_usage_has_the_shape_of_its_type(name: str, usage: None):
    assert not list(wrong(REPORTS[name](), HINTS[name]))


@pytest.mark.parametrize("name", REPORTS)
def test_a_report_without_usage_has_it_too(name: str, clock: None):
    assert not list(wrong(REPORTS[name](), HINTS[name]))


def test_the_usage_reaches_what_may_be_empty(usage: None):
    """Else the shapes of these lists would be compared with nothing."""
    costs, overview = staff.cost_optimization(FROM, TO), staff.overview(NOON)
    assert costs["suggestions"] and any(model["alternative"] for model in costs["models"])
    assert overview["budgets_near_limit"] and overview["system_budget"]["forecast"] and overview["top_users"]
    assert any(model["errors"] for model in staff.model_performance(FROM, TO)["models"])
    assert near_limit.shown(5)


class Inner(TypedDict):
    """One of several."""

    id: Id


class Outer(shapes.Since):
    """A thing."""

    at: Annotated[Time | None, "when"]
    many: list[Inner]
    one: Inner | None
    share: float
    flags: list[bool]
    more: dict[str, Any]


class Unknown(TypedDict):
    at: object


def test_a_serializer_is_made_of_a_typed_dict():
    found = serializer_of(Outer)
    fields = found().fields
    assert found.__name__ == "OuterSerializer" and found.__doc__ == "A thing." and found is serializer_of(Outer)
    assert list(fields) == ["from", "at", "many", "one", "share", "flags", "more"]
    assert isinstance(fields["at"], serializers.DateTimeField) and fields["at"].allow_null and fields["at"].help_text == "when"
    assert isinstance(fields["many"], serializers.ListSerializer) and isinstance(fields["many"].child.fields["id"], serializers.UUIDField)
    assert fields["one"].allow_null and isinstance(fields["flags"].child, serializers.BooleanField)


def test_a_type_without_a_field_is_refused():
    with pytest.raises(TypeError, match="no field"):
        serializer_of(Unknown)
