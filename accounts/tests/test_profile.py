"""The profile: what a user sees and may change of themselves."""

from __future__ import annotations

from decimal import Decimal

import pytest

from accounts import hooks
from accounts.models import User
from accounts.tests.conftest import Caller

PROFILE = "/api/v1/auth/profile"


def test_the_profile_shows_permissions_preferences_and_month(ann: Caller, user: User):
    body = ann.get(PROFILE).json()
    assert body["id"] == str(user.id) and body["email"] == user.email and body["role"] == "user"
    assert body["permissions"] == ["agents", "approve", "billing", "chat", "read", "tasks"]
    assert body["preferences"] == {"default_model": "auto", "goal": "balanced", "time_zone": "UTC"}


def test_the_month_comes_from_the_budget_hook_with_money_as_text(ann: Caller, user: User):
    before = hooks.registered_hooks
    hooks.register(profile_budget=lambda who: {"of": str(who.pk), "spent_usd": Decimal("0.000421500"), "limit_usd": None})
    try:
        assert ann.get(PROFILE).json()["budget"] == {"of": str(user.id), "spent_usd": "0.00042150", "limit_usd": None}
    finally:
        hooks.registered_hooks = before


def test_the_profile_shows_the_admin_role(db):
    User.objects.create_superuser("root@example.com", "correct horse battery staple")
    assert "admin" in Caller("root@example.com").get(PROFILE).json()["permissions"]


def test_name_and_preferences_change_one_by_one(ann: Caller, user: User):
    assert ann.patch(PROFILE, {"preferences": {"goal": "fastest"}}, format="json").status_code == 200
    body = ann.patch(
        PROFILE, {"name": "Ann B.", "preferences": {"time_zone": "Europe/Berlin", "default_model": "gpt-4o-mini"}}, format="json"
    ).json()
    assert body["name"] == "Ann B."
    assert body["preferences"] == {"default_model": "gpt-4o-mini", "goal": "fastest", "time_zone": "Europe/Berlin"}
    user.refresh_from_db()
    assert (user.name, user.goal, user.time_zone, user.default_model) == ("Ann B.", "fastest", "Europe/Berlin", "gpt-4o-mini")
    assert ann.works()


@pytest.mark.parametrize("model", ["auto", "auto:cheapest", "gpt-4o-mini", "claude-3.5", "meta-llama/Llama-3:free"])
def test_a_default_model_is_any_id(ann: Caller, model: str):
    assert ann.patch(PROFILE, {"preferences": {"default_model": model}}, format="json").status_code == 200


WRITABLE = {"name", "preferences"}


def test_what_may_be_written_is_this_list(ann: Caller, user: User):
    shown = set(ann.get(PROFILE).json())
    fields = {field.name for field in User._meta.get_fields()} | shown | {"password", "budget", "is_admin", "spent", "monthly_budget_usd"}
    for name in sorted(fields - WRITABLE):
        answer = ann.patch(PROFILE, {name: "admin"}, format="json")
        assert answer.status_code == 400 and name in answer.json()["error"]["details"], name
    before = User.objects.filter(pk=user.pk).values().get()
    assert before["role"] == "user" and before["auth_epoch"] == 0


@pytest.mark.parametrize(
    "preferences",
    [{"goal": "best!"}, {"time_zone": "Mars/Base"}, {"time_zone": "../etc/passwd"}, {"default_model": ""}, {"default_model": "a b"},
     {"default_model": "x\ny"}, {"default_model": "x" * 101}, {"role": "admin"}, {"goal": None}, [], "x", None],
)  # fmt: skip
def test_preferences_that_do_not_exist_are_400(ann: Caller, preferences):
    assert ann.patch(PROFILE, {"preferences": preferences}, format="json").status_code == 400


@pytest.mark.parametrize("method", ["put", "post", "delete"])
def test_other_methods_are_405(ann: Caller, method: str):
    assert getattr(ann, method)(PROFILE, {}, format="json").status_code == 405
