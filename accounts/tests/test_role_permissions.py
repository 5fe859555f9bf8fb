"""No right of a ready-made group yields another right: what each may send is listed, and everything else is tried."""

from __future__ import annotations

import re
from typing import Any

import pytest
from django.contrib import admin
from django.contrib.auth.models import Group, Permission
from django.core import mail
from django.forms import Form
from django.test import Client, RequestFactory
from django.urls import NoReverseMatch, get_resolver, reverse

from accounts import keys
from accounts.mail import send
from accounts.models import AccountMail, ApiKey, TokenFamily, User
from accounts.sign_in import tokens
from accounts.tests.office import browser
from aiagents import roles

pytestmark = pytest.mark.django_db
NEW = "fine new words here"
PROFILE = {"name", "is_active", "default_model", "goal", "time_zone"}
HELP = {
    "send_password_link", "disable", "enable", "sign_out_everywhere", "clear_attempts", "allow_sharing", "withdraw_sharing",
    "export_selected",
}  # fmt: skip
# All staff have it, so those who may change users hand on nothing that they do not have.
HANDED_ON = {"agents.share_agent"}
# What each group may send on the pages of accounts: fields of an existing and of a new account, actions by page.
ALLOWED: dict[str, dict[str, set[str]]] = {
    "Administrator": {
        "change": PROFILE, "add": {"email", "name"}, "user": HELP | {"set_budget"}, "apikey": {"revoke", "export_selected"},
        "tokenfamily": {"revoke", "export_selected"}, "auditevent": {"export_selected"}, "group": {"export_selected"},
    },
    "Billing": {"change": set(), "add": set(), "user": {"export_selected", "set_budget"}, "apikey": {"export_selected"}},
    "Support": {
        "change": PROFILE, "add": set(), "user": HELP, "apikey": {"revoke", "export_selected"},
        "tokenfamily": {"revoke", "export_selected"},
    },
    "Auditor": {
        "change": set(), "add": set(), "user": {"export_selected"}, "apikey": {"export_selected"}, "tokenfamily": {"export_selected"},
        "auditevent": {"export_selected"}, "group": {"export_selected"},
    },
}  # fmt: skip
PAGES = {"user": User, "apikey": ApiKey, "tokenfamily": TokenFamily, "group": Group}


@pytest.fixture
def people(db) -> dict[str, User]:
    """One account of each kind that a member of staff may meet, each with a session and a key."""
    made = {
        "ordinary": User.objects.create_user("ann@example.com", "correct horse battery staple"),
        "colleague": User.objects.create_user("colleague@example.com", "correct horse battery staple", is_staff=True),
        "admin": User.objects.create_user("boss@example.com", "correct horse battery staple", role="admin"),
        "root": User.objects.create_superuser("root@example.com", "correct horse battery staple"),
    }
    for user in made.values():
        tokens.sign_in(user)
        keys.create(user, name="k", scopes=["chat"])
    return made


@pytest.fixture(params=sorted(roles.ROLES))
def me(request, db) -> User:
    user = User.objects.create_user("me@example.com", "correct horse battery staple", is_staff=True)
    user.groups.add(Group.objects.get(name=request.param))
    user.role_name = request.param
    return user


def editable(client: Client, path: str) -> set[str]:
    """The fields that the page's form takes; none where there is no form."""
    answer = client.get(path)
    if answer.status_code == 403:
        return set()
    assert answer.status_code == 200, path
    form: Form = answer.context["adminform"].form
    return set(form.fields)


def actions(user: User, model: Any) -> set[str]:
    request = RequestFactory().get("/")
    request.user = User.objects.get(pk=user.pk)
    page = admin.site._registry[model]
    return set(page.get_actions(request)) if page.has_view_permission(request) else set()


def test_every_group_has_a_row():
    assert set(ALLOWED) == set(roles.ROLES)


def test_a_group_may_send_exactly_what_its_row_lists(me: User, people: dict[str, User]):
    row, client = ALLOWED[me.role_name], browser(me)
    assert editable(client, f"/admin/accounts/user/{people['ordinary'].pk}/change/") == row["change"]
    assert editable(client, "/admin/accounts/user/add/") == row["add"]
    for who in (people["colleague"], people["admin"], people["root"], me):
        assert editable(client, f"/admin/accounts/user/{who.pk}/change/") == set(), who
    ours = {model._meta.model_name: model for model in admin.site._registry if model._meta.app_label in {"accounts", "auth"}}
    assert {name: actions(me, model) for name, model in ours.items()} == {name: row.get(name, set()) for name in ours}


def admin_posts(people: dict[str, User]) -> list[tuple[str, dict[str, Any]]]:
    """A form for every page of accounts and groups that takes one, with each field that would raise an account's permissions."""
    tampered = {
        "email": "mine@example.com", "name": "x", "password": NEW, "password1": NEW, "password2": NEW, "usable_password": "true",
        "role": "admin", "is_active": "on", "is_staff": "on", "is_superuser": "on", "auth_epoch": "0", "default_model": "auto",
        "goal": "balanced", "time_zone": "UTC", "groups": [str(pk) for pk in Group.objects.values_list("pk", flat=True)],
        "user_permissions": [str(pk) for pk in Permission.objects.values_list("pk", flat=True)[:50]], "user": str(people["root"].pk),
        "scopes": '["chat"]', "permissions": [str(pk) for pk in Permission.objects.values_list("pk", flat=True)], "save": "Save",
    }  # fmt: skip
    found: list[tuple[str, dict[str, Any]]] = []
    names = {name for name in get_resolver().namespace_dict["admin"][1].reverse_dict if isinstance(name, str)}
    for name in sorted(names):
        match = re.match(r"(?:accounts|auth)_(user|apikey|tokenfamily|group)_", name)
        if not match or name.endswith(("_changelist", "_export", "_history")):
            continue
        rows = [row.pk for row in PAGES[match[1]].objects.all()]
        for args in [[], *([pk] for pk in rows)]:
            try:
                found.append((reverse(f"admin:{name}", args=args), tampered | ({"post": "yes"} if name.endswith("_delete") else {})))
            except NoReverseMatch:
                continue
    assert len(found) > 20
    return found


def permissions_of(user: User) -> tuple:
    fresh = User.objects.get(pk=user.pk)
    own = sorted(fresh.get_all_permissions() - HANDED_ON)
    return (
        fresh.email,
        fresh.password,
        fresh.role,
        fresh.is_staff,
        fresh.is_superuser,
        own,
        sorted(fresh.groups.values_list("name", flat=True)),
    )


def test_no_request_of_a_group_member_adds_permissions_or_another_sign_in(me: User, people: dict[str, User]):
    client = browser(me)
    everyone = [*people.values(), me]
    before, keys_before = [permissions_of(user) for user in everyone], set(ApiKey.objects.values_list("pk", flat=True))
    groups = {group.name: set(group.permissions.values_list("pk", flat=True)) for group in Group.objects.all()}
    for path, data in admin_posts(people):
        assert client.post(path, data).status_code in {200, 302, 403, 404, 405, 413}, path
    for model in PAGES.values():
        page = f"/admin/{model._meta.app_label}/{model._meta.model_name}/"
        for action in admin.site._registry[model].actions:
            name = action if isinstance(action, str) else action.__name__
            data = {
                "action": name,
                "_selected_action": [str(row.pk) for row in model.objects.all()],
                "apply": "1",
                "monthly_budget_usd": "5",
            }
            assert client.post(page, data).status_code in {200, 302, 403}, (page, name)
    assert [permissions_of(user) for user in everyone] == before
    assert {group.name: set(group.permissions.values_list("pk", flat=True)) for group in Group.objects.all()} == groups
    assert set(ApiKey.objects.values_list("pk", flat=True)) == keys_before
    # An account that was made on the way is its own and has no password; its link goes to its own address.
    for made in User.objects.exclude(pk__in=[user.pk for user in everyone]):
        assert not made.has_usable_password() and made.role == "user" and not made.is_staff and made.get_all_permissions() <= HANDED_ON
    for mail_id in send.due():
        send.send(mail_id)
    addressed = {to for message in mail.outbox for to in message.to}
    assert addressed <= {"ann@example.com", "mine@example.com"}
    links = AccountMail.objects.filter(kind="password_link").values_list("user__email", flat=True)
    assert set(links) <= {"ann@example.com", "mine@example.com"}


def test_staff_lock_out_neither_colleagues_nor_admins(me: User, people: dict[str, User]):
    client = browser(me)
    for page, action in [("user", "disable"), ("user", "sign_out_everywhere"), ("apikey", "revoke"), ("tokenfamily", "revoke")]:
        model = PAGES[page]
        client.post(f"/admin/accounts/{page}/", {"action": action, "_selected_action": [str(row.pk) for row in model.objects.all()]})
    above = [people[name] for name in ("colleague", "admin", "root")]
    assert User.objects.filter(pk__in=[user.pk for user in above], is_active=True).count() == 3
    assert ApiKey.objects.filter(user__in=above, revoked_at=None).count() == 3
    assert TokenFamily.objects.filter(user__in=above, revoked_at=None).count() == 3


def test_only_a_superuser_sets_passwords_and_it_is_written_down(me: User, people: dict[str, User]):
    path = f"/admin/accounts/user/{people['ordinary'].pk}/password/"
    assert browser(me).get(path).status_code == 403
    assert browser(me).post(path, {"usable_password": "true", "password1": NEW, "password2": NEW}).status_code == 403
    assert browser(people["root"]).get(path).status_code == 200
