"""Staff in the admin of billing: set limits and prices, and read the usage log."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal as D

import pytest
from django.contrib.auth.models import Group
from django.test import Client
from django.urls import reverse
from django.utils import timezone
from rest_framework.test import APIClient

from accounts.models import AuditEvent, User
from accounts.sign_in import tokens
from aiagents.core.ids import uuid7
from billing.catalogue import snapshot as catalogue
from billing.models import AIModel, Budget, Hold, ModelPrice, UsageLog
from billing.tests.making import CENT, RATES, Ledger, balances, call_of, make_user, used

pytestmark = pytest.mark.django_db


@pytest.fixture
def staff(db) -> Client:
    client = Client()
    client.force_login(User.objects.create_superuser("root@example.com", "correct horse battery staple"))
    return client


@pytest.fixture
def model(db) -> AIModel:
    model = AIModel.objects.create(
        slug="m1", display_name="M1", provider="openai", vendor_model="m1", context_window=1000, max_output_tokens=100
    )
    model.prices.create(input=D(1), output=D(2), effective_from=timezone.now() - timedelta(days=1))
    return model


def url(name, *args):
    return reverse(f"admin:billing_{name}", args=args)


def page(client, name, *args):
    answer = client.get(url(name, *args))
    assert answer.status_code == 200, answer.content
    return answer.content.decode()


@pytest.fixture
def charged_user(db):
    user = make_user(D(1))
    Ledger.settle(Ledger.hold(call_of(user), CENT, RATES, 10), used(D("0.004")))
    Ledger.hold(call_of(user), CENT, RATES, 10)
    return user


def test_the_usage_log_is_read_only(staff, charged_user):
    row, hold = UsageLog.objects.get(), Hold.objects.filter(status="open").get()
    assert charged_user.email in page(staff, "usagelog_changelist")
    assert str(hold.pk) in page(staff, "hold_changelist")
    page(staff, "usagelog_change", row.pk)
    page(staff, "hold_change", hold.pk)
    for name, pk in [("usagelog", row.pk), ("hold", hold.pk)]:
        assert staff.get(url(f"{name}_add")).status_code == 403
        assert staff.post(url(f"{name}_change", pk), {"cost_usd": "0", "status": "settled"}).status_code == 403
        assert staff.post(url(f"{name}_delete", pk), {"post": "yes"}).status_code == 403
        staff.post(url(f"{name}_changelist"), {"action": "delete_selected", "_selected_action": [str(pk)], "post": "yes"})
    assert UsageLog.objects.get().cost_usd == D("0.004")
    assert Hold.objects.filter(status="open").count() == 1


def test_lookups_into_passwords_are_refused(staff, charged_user):
    assert staff.get(url("usagelog_changelist") + "?user__password__startswith=b").status_code in {302, 400}


def test_the_budgets_show_their_month(staff, charged_user):
    shown = page(staff, "budget_changelist")
    assert charged_user.email in shown
    assert "0.986" in shown
    assert "all users" in shown
    Budget.objects.create(scope="user", scope_id=uuid7(), time_zone="UTC")
    Budget.objects.create(scope="agent", scope_id=uuid7(), time_zone="UTC")
    page(staff, "budget_changelist")


# What a browser sends of the months below the form.
MONTHS = {"windows-TOTAL_FORMS": "0", "windows-INITIAL_FORMS": "0"}


def test_a_changed_limit_holds_and_is_recorded(staff, charged_user):
    budget = Budget.objects.get(scope="user", scope_id=charged_user.pk)
    assert staff.post(url("budget_change", budget.pk), {"limit_usd": "0.5", "time_zone": "Asia/Tokyo"} | MONTHS).status_code == 302
    budget.refresh_from_db()
    assert (budget.limit_usd, budget.time_zone) == (D("0.5"), "Asia/Tokyo")
    assert budget.lowered_at is not None
    event = AuditEvent.objects.get(action="budget.set")
    assert (event.target_id, event.details["limit_usd"]) == (str(budget.pk), "0.5")
    assert staff.post(url("budget_change", budget.pk), {"limit_usd": "", "time_zone": "Asia/Tokyo"} | MONTHS).status_code == 302
    budget.refresh_from_db()
    assert budget.limit_usd is None
    assert balances("user", charged_user.pk) == (D("0.004"), CENT)


def test_a_new_budget_takes_over_what_was_spent(staff, charged_user):
    agent = uuid7()
    Ledger.settle(Ledger.hold(call_of(charged_user, agent_id=agent), CENT, RATES, 10), used(CENT))
    form = {"scope": "agent", "scope_id": str(agent), "limit_usd": "2", "time_zone": "UTC"}
    assert staff.post(url("budget_add"), form).status_code == 302
    assert balances("agent", agent) == (CENT, 0)


@pytest.mark.parametrize("scope", [("system", str(uuid7())), ("user", "")])
def test_a_budget_without_a_subject_is_refused(staff, scope):
    before = set(Budget.objects.values_list("pk", flat=True))
    answer = staff.post(url("budget_add"), {"scope": scope[0], "scope_id": scope[1], "limit_usd": "2", "time_zone": "UTC"})
    assert answer.status_code == 200
    assert set(Budget.objects.values_list("pk", flat=True)) == before


def test_budgets_and_models_are_not_deleted(staff, charged_user, model):
    budget = Budget.objects.first()
    assert staff.post(url("budget_delete", budget.pk), {"post": "yes"}).status_code == 403
    assert staff.post(url("aimodel_delete", model.pk), {"post": "yes"}).status_code == 403


def form_of(model, **prices):
    fields = [
        "display_name", "provider", "connection", "vendor_model", "description", "context_window", "max_output_tokens", "dimensions",
        "quality", "tokens_per_second", "ttft_ms", "lifecycle", "replaced_by",
    ]  # fmt: skip
    switches = {name: "on" for name in [*catalogue.CAPABILITIES, "enabled"] if getattr(model, name)}
    added = {f"prices-0-{name}": value for name, value in prices.items()}
    counts = {"prices-TOTAL_FORMS": len(prices) and 1, "prices-INITIAL_FORMS": 0}
    return {**{name: getattr(model, name) for name in fields}, **switches, **counts, **added}


def test_a_new_price_is_a_new_row_and_shows_at_once(staff, model):
    assert "1 / 2" in page(staff, "aimodel_changelist")
    now = timezone.now()
    price = {"effective_from_0": f"{now:%Y-%m-%d}", "effective_from_1": f"{now:%H:%M:%S}", "input": "3", "output": "4"}
    answer = staff.post(url("aimodel_change", model.pk), form_of(model, **price))
    assert answer.status_code == 302, answer.content.decode()
    assert catalogue.current_sync().get("m1").rates.input == 3
    assert list(ModelPrice.objects.order_by("effective_from").values_list("input", "source")) == [(D(1), "staff"), (D(3), "staff")]
    assert AuditEvent.objects.get(action="model.price").details["output"] in {"4", "4.000000"}


def test_a_price_that_was_charged_cannot_be_edited(staff, model):
    row = model.prices.get()
    form = form_of(model) | {
        "prices-TOTAL_FORMS": 1, "prices-INITIAL_FORMS": 1, "prices-0-id": row.pk, "prices-0-model": model.pk,
        "prices-0-input": "9", "prices-0-output": "9", "prices-0-DELETE": "on",
    }  # fmt: skip
    staff.post(url("aimodel_change", model.pk), form)
    row.refresh_from_db()
    assert row.input == 1


def test_models_are_switched_from_the_list(staff, model):
    for action, enabled in [("switch_off", False), ("switch_on", True)]:
        staff.post(url("aimodel_changelist"), {"action": action, "_selected_action": [str(model.pk)]})
        assert catalogue.current_sync().get("m1").enabled is enabled
    assert set(AuditEvent.objects.values_list("action", flat=True)) == {"model.disable", "model.enable"}


def test_a_model_is_added_and_changed(staff, model):
    form = form_of(model) | {"slug": "m2", "display_name": "M2"}
    assert staff.post(url("aimodel_add"), form).status_code == 302
    assert "unknown" in page(staff, "aimodel_changelist")
    added = AIModel.objects.get(slug="m2")
    staff.post(url("aimodel_change", added.pk), form_of(added) | {"quality": "91", "slug": "renamed"})
    added.refresh_from_db()
    assert (added.quality, added.slug, str(added)) == (91, "m2", "m2")
    assert str(ModelPrice.objects.get()).endswith("/2.000000 from " + f"{timezone.now() - timedelta(days=1):%Y-%m-%d}")


@pytest.mark.parametrize(("answer", "status", "rate"), [({}, 200, None), ({"free": "on"}, 302, 0), ("price", 302, 3), ("both", 200, None)])
def test_a_self_hosted_model_is_added_free_or_with_a_price(staff, model, answer, status, rate):
    now = timezone.now()
    price = {"effective_from_0": f"{now:%Y-%m-%d}", "effective_from_1": f"{now:%H:%M:%S}", "input": "3", "output": "4"}
    form = form_of(model, **(price if isinstance(answer, str) else {})) | {"slug": "llama", "provider": "openai_compatible"}
    form |= {"free": "on"} if answer == "both" else answer if isinstance(answer, dict) else {}
    page_after = staff.post(url("aimodel_add"), form)
    assert page_after.status_code == status, page_after.content.decode()
    if status == 200:
        assert "free of charge" in page_after.content.decode() and not AIModel.objects.filter(slug="llama").exists()
    else:
        card = catalogue.current_sync().get("llama")
        assert card.rates is not None and card.rates.input == rate
        assert AuditEvent.objects.filter(action="model.price").exists()


def test_an_unpriced_model_is_made_free_later(staff, model):
    model.prices.all().delete()
    assert staff.post(url("aimodel_change", model.pk), form_of(model) | {"free": "on"}).status_code == 302
    assert catalogue.current_sync().get("m1").rates.output == 0


# --- one's own budget -------------------------------------------------------------------------------


def _clerk(**more: object) -> User:
    """Staff who may set budgets, with a budget of one dollar."""
    clerk = make_user(D(1))
    User.objects.filter(pk=clerk.pk).update(is_staff=True, **more)
    clerk.groups.add(Group.objects.get(name="Billing"))
    return User.objects.get(pk=clerk.pk)


def _limits(*users: User) -> list[D | None]:
    return [Budget.objects.get(scope="user", scope_id=user.pk).limit_usd for user in users]


def _set_by_form(client: Client, clerk: User, user: User) -> None:
    budget = Budget.objects.get(scope="user", scope_id=user.pk)
    assert client.post(url("budget_change", budget.pk), {"limit_usd": "500", "time_zone": "UTC"} | MONTHS).status_code == 302


def _set_by_action(client: Client, clerk: User, user: User) -> None:
    data = {"action": "set_budget", "_selected_action": [str(user.pk)], "apply": "1", "monthly_budget_usd": "500"}
    assert client.post(reverse("admin:accounts_user_changelist"), data).status_code == 302


def _set_by_api(path: str, body: dict, clerk: User) -> None:
    api = APIClient()
    api.credentials(HTTP_AUTHORIZATION=f"Bearer {tokens.sign_in(clerk).access}")
    answer = (api.put if path.endswith("budgets") else api.patch)(path, body, format="json")
    assert answer.status_code == 200 or answer.json()["error"]["code"] == "own_budget", answer.content


WAYS = {
    "form": _set_by_form,
    "action on users": _set_by_action,
    "API, users": lambda client, clerk, user: _set_by_api(f"/api/v1/admin/users/{user.pk}", {"monthly_budget_usd": "500"}, clerk),
    "API, budgets": lambda client, clerk, user: _set_by_api(
        "/api/v1/admin/budgets", {"scope": "user", "scope_id": str(user.pk), "limit_usd": "500"}, clerk
    ),
}


@pytest.mark.parametrize("way", WAYS)
def test_ones_own_budget_is_set_by_another_person(way: str):
    clerk, other = _clerk(role="admin"), make_user(D(1))
    client = Client()
    client.force_login(clerk)
    WAYS[way](client, clerk, clerk)
    assert _limits(clerk) == [D(1)] and not AuditEvent.objects.filter(action__in=("budget.set", "user.update")).exists()
    WAYS[way](client, clerk, other)
    assert _limits(clerk, other) == [D(1), D(500)]


def test_ones_own_budget_is_not_made_either():
    clerk = _clerk()
    Budget.objects.filter(scope="user", scope_id=clerk.pk).delete()
    client = Client()
    client.force_login(clerk)
    data = {"scope": "user", "scope_id": str(clerk.pk), "limit_usd": "500", "time_zone": "UTC"}
    assert client.post(url("budget_add"), data).status_code == 302
    assert not Budget.objects.filter(scope="user", scope_id=clerk.pk).exists()


@pytest.mark.parametrize("way", ["form", "action on users"])
def test_the_refusal_stands_on_the_page(way: str):
    clerk = _clerk()
    client = Client()
    client.force_login(clerk)
    WAYS[way](client, clerk, clerk)
    shown = client.get(url("budget_changelist")).content.decode()
    assert "You cannot set your own budget" in shown and _limits(clerk) == [D(1)]


@pytest.mark.parametrize("way", WAYS)
def test_a_superuser_sets_their_own_and_it_is_written_down(way: str):
    root = _clerk(role="admin", is_superuser=True)
    client = Client()
    client.force_login(root)
    WAYS[way](client, root, root)
    assert _limits(root) == [D(500)]
    assert AuditEvent.objects.filter(actor=root, action__in=("budget.set", "user.update")).count() == 1
