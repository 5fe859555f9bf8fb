"""The admin: what staff see, what they may do, and what only superusers may."""

from __future__ import annotations

import pytest
from django.contrib.auth.models import Permission

from accounts import hooks, keys
from accounts.models import ApiKey, AuditEvent, TokenFamily, User
from accounts.sign_in import tokens
from accounts.tests.conftest import Caller
from accounts.tests.office import act, browser, form

PAGES = ["user", "apikey", "tokenfamily", "auditevent"]


@pytest.mark.parametrize("page", PAGES)
def test_every_page_opens_searches_and_shows_no_digest(root: User, user: User, page: str):
    key, raw = keys.create(user, name="k", scopes=["chat"])
    tokens.sign_in(user)
    client = browser(root)
    pages = [client.get(f"/admin/accounts/{page}/"), client.get(f"/admin/accounts/{page}/", {"q": "ann"})]
    row = {"user": user, "apikey": key, "tokenfamily": TokenFamily.objects.get(), "auditevent": AuditEvent.objects.first()}[page]
    pages.append(client.get(f"/admin/accounts/{page}/{row.pk}/change/"))
    for answer in pages:
        assert answer.status_code == 200
        for secret in (key.digest, raw, user.password):
            assert secret not in answer.content.decode()


@pytest.mark.parametrize("page", ["apikey", "tokenfamily", "auditevent"])
def test_keys_sessions_and_audit_are_read_only_even_for_superusers(root: User, user: User, page: str):
    keys.create(user, name="k", scopes=["chat"])
    tokens.sign_in(user)
    row = {"apikey": ApiKey, "tokenfamily": TokenFamily, "auditevent": AuditEvent}[page].objects.first()
    client = browser(root)
    assert client.get(f"/admin/accounts/{page}/add/").status_code == 403
    assert client.post(f"/admin/accounts/{page}/{row.pk}/change/", {"name": "x"}).status_code == 403
    assert client.post(f"/admin/accounts/{page}/{row.pk}/delete/", {"post": "yes"}).status_code == 403


@pytest.mark.parametrize("query", ["apikey/?digest__startswith=a", "apikey/?user__password__startswith=b", "user/?password__startswith=b"])
def test_secrets_cannot_be_searched_character_by_character(root: User, query: str):
    assert browser(root).get(f"/admin/accounts/{query}").status_code == 400


def test_a_user_made_here_signs_in(root: User):
    answer = browser(root).post(
        "/admin/accounts/user/add/",
        {
            "email": "New@Example.com",
            "name": "",
            "usable_password": "true",
            "password1": "fine new words here",
            "password2": "fine new words here",
        },
    )
    assert answer.status_code == 302, answer.content[:2000]
    assert Caller("new@example.com", "fine new words here").works()
    assert AuditEvent.objects.filter(action="user.create", actor=root).exists()


def test_a_superuser_makes_an_admin_and_it_is_written_down(root: User, user: User, ann: Caller):
    assert browser(root).post(f"/admin/accounts/user/{user.pk}/change/", form(user, role="admin")).status_code == 302
    assert User.objects.get(pk=user.pk).is_admin
    assert not ann.works()
    assert AuditEvent.objects.get(action="user.update").details == {"changes": {"role": ["user", "admin"]}}


def test_staff_change_names_but_no_permissions_not_even_their_own(staff: User, user: User):
    client = browser(staff)
    changes = {"name": "Ann B.", "role": "admin", "is_staff": "on", "is_superuser": "on", "user_permissions": [1], "groups": []}
    assert client.post(f"/admin/accounts/user/{user.pk}/change/", form(user, **changes)).status_code == 302
    after = User.objects.get(pk=user.pk)
    assert after.name == "Ann B." and after.role == "user" and not after.is_staff and not after.is_superuser
    assert not after.user_permissions.exists()
    assert client.post(f"/admin/accounts/user/{staff.pk}/change/", form(staff, is_superuser="on")).status_code == 403


def test_staff_cannot_become_an_admin_by_way_of_their_password_or_address(staff: User, root: User):
    client = browser(staff)
    new = {"usable_password": "true", "password1": "fine new words here", "password2": "fine new words here"}
    assert client.post(f"/admin/accounts/user/{root.pk}/password/", new).status_code == 403
    assert client.post(f"/admin/accounts/user/{root.pk}/change/", form(root, email="mine@example.com")).status_code == 403
    assert client.post(f"/admin/accounts/user/{root.pk}/delete/", {"post": "yes"}).status_code == 403
    assert User.objects.get(pk=root.pk).password == root.password


def test_disabling_ends_sessions_and_keys_and_spares_superusers_from_staff(staff: User, root: User, user: User, ann: Caller):
    assert act(browser(staff), "user", "disable", user, root, staff) == 302
    assert not ann.works()
    assert list(User.objects.filter(is_active=False)) == [user]
    event = AuditEvent.objects.get(action="user.update", actor=staff)
    assert (event.target_id, event.details) == (str(user.pk), {"changes": {"is_active": [True, False]}})
    assert act(browser(staff), "user", "enable", user) == 302
    assert User.objects.get(pk=user.pk).is_active


def test_the_role_goes_through_the_apis_function_which_keeps_the_last_admin(staff: User, root: User, user: User):
    boss = User.objects.create_user("boss@example.com", "correct horse battery staple", is_staff=True, role="admin")
    boss.user_permissions.set(staff.user_permissions.all())
    act(browser(staff), "user", "make_admin", user)
    assert not User.objects.get(pk=user.pk).is_admin, "only admins make admins"
    assert act(browser(boss), "user", "make_admin", user) == 302
    assert User.objects.get(pk=user.pk).is_admin
    act(browser(boss), "user", "make_user", root, boss, user)
    assert set(User.objects.filter(role="admin")) == {root, boss}, "no superuser, and no admin's own role"
    assert (
        browser(root).post(f"/admin/accounts/user/{root.pk}/change/", form(root, role="user", is_staff="on", is_superuser="on")).status_code
        == 302
    )
    assert User.objects.get(pk=root.pk).is_admin


def test_budgets_are_set_for_many_by_those_who_may(staff: User, root: User, user: User):
    client = browser(root)
    data = {"action": "set_budget", "_selected_action": [str(user.pk), str(staff.pk)]}
    response = client.post("/admin/accounts/user/", data)
    assert response.status_code == 200 and user.email in response.content.decode()
    assert client.post("/admin/accounts/user/", data | {"apply": "1", "monthly_budget_usd": "-1"}).status_code == 200
    assert client.post("/admin/accounts/user/", data | {"apply": "1", "monthly_budget_usd": "12.5"}).status_code == 302
    both = {"apply": "1", "monthly_budget_usd": "5", "no_limit": "on"}
    for nothing in ({"apply": "1"}, {"apply": "1", "monthly_budget_usd": ""}, {"apply": "1", "monthly_budget_usd": " "}, both):
        refused = client.post("/admin/accounts/user/", data | nothing)
        assert refused.status_code == 200 and refused.context["form"].errors, nothing
    found = hooks.with_month(User.objects.filter(pk__in=[user.pk, staff.pk]))
    assert {str(one.month_limit.normalize()) for one in found} == {"12.5"}
    details = AuditEvent.objects.filter(action="user.update", actor=root).values_list("details", flat=True)
    assert list(details) == [{"changes": {"monthly_budget_usd": "12.50000000"}}] * 2
    browser(staff).post("/admin/accounts/user/", data | {"apply": "1", "monthly_budget_usd": "99"})
    browser(staff).post("/admin/accounts/user/", data | {"apply": "1", "no_limit": "on"})
    assert str(hooks.with_month(User.objects.filter(pk=user.pk)).get().month_limit.normalize()) == "12.5"
    assert client.post("/admin/accounts/user/", data | {"apply": "1", "no_limit": "on"}).status_code == 302
    assert {one.month_limit for one in hooks.with_month(User.objects.filter(pk__in=[user.pk, staff.pk]))} == {None}


def test_signing_out_everywhere_ends_sessions_only(root: User, user: User, ann: Caller):
    assert act(browser(root), "user", "sign_out_everywhere", user) == 302
    assert not ann.works() and Caller(user.email).works()


def test_a_new_password_set_here_ends_sessions(root: User, user: User, ann: Caller):
    new = {"usable_password": "true", "password1": "fine new words here", "password2": "fine new words here"}
    assert browser(root).post(f"/admin/accounts/user/{user.pk}/password/", new).status_code == 302
    assert not ann.works() and Caller(user.email, "fine new words here").works()
    assert AuditEvent.objects.filter(action="user.password_set", actor=root).count() == 1


def test_keys_and_sessions_are_ended_by_action(root: User, user: User, ann: Caller):
    key, raw = keys.create(user, name="k", scopes=["chat"])
    assert act(browser(root), "apikey", "revoke", key) == 302
    assert keys.find(raw) is None
    assert act(browser(root), "tokenfamily", "revoke", TokenFamily.objects.get()) == 302
    assert not ann.works()


def test_view_permissions_alone_end_nothing(user: User, ann: Caller):
    viewer = User.objects.create_user("viewer@example.com", "correct horse battery staple", is_staff=True)
    viewer.user_permissions.set(Permission.objects.filter(content_type__app_label="accounts", codename__startswith="view_"))
    client = browser(viewer)
    for page, action, row in [("user", "disable", user), ("tokenfamily", "revoke", TokenFamily.objects.get())]:
        assert client.get(f"/admin/accounts/{page}/").status_code == 200
        act(client, page, action, row)
    assert ann.works()


def test_clearing_attempts_lets_the_owner_in(root: User, user: User, settings, ann: Caller):
    settings.LOGIN_LIMIT_ACCOUNT = "2/5m"
    guess = {"email": user.email, "password": "wrong password"}
    codes = [ann.post("/api/v1/auth/login", guess, format="json").status_code for _ in range(3)]
    assert codes[-1] == 429
    assert act(browser(root), "user", "clear_attempts", user) == 302
    assert Caller(user.email).works()
