"""One-time links to set a password, and what a change of e-mail does."""

from __future__ import annotations

import smtplib
from datetime import timedelta
from urllib.parse import urlsplit

import pytest
from django.core import mail
from django.test import Client
from django.utils import timezone

from accounts import tasks
from accounts.mail import send
from accounts.models import AccountMail, AuditEvent, User
from accounts.sign_in import password_links
from accounts.tests.conftest import PASSWORD, Caller
from accounts.tests.office import act, browser, form

NEW = "fine new words here"
URL = "/api/v1/auth/password-link"
pytestmark = pytest.mark.django_db


def mailed(count: int = 1) -> str:
    """Send what is due; the text of the last mail."""
    for mail_id in send.due():
        tasks.send_mail(str(mail_id))
    assert len(mail.outbox) == count
    return str(mail.outbox[-1].body)


def link_in(text: str) -> str:
    return next(word for word in text.split() if "/password#" in word)


def token_in(text: str) -> str:
    return urlsplit(link_in(text)).fragment


def use(api, token: str, password: str = NEW, **more):
    return api.post(URL, {"token": token, "new_password": password} | more, format="json")


def request_link(user: User) -> str:
    AccountMail.objects.enqueue(user, AccountMail.Kind.PASSWORD_LINK)
    return token_in(mailed(len(mail.outbox) + 1))


def test_staff_send_a_link_that_sets_the_password_once_and_ends_every_session(staff: User, user: User, ann: Caller, api):
    assert act(browser(staff), "user", "send_password_link", user) == 302
    event = AuditEvent.objects.get(action="user.password_link")
    assert (event.actor, event.target_id) == (staff, str(user.pk))
    text = mailed()
    assert mail.outbox[0].to == [user.email]
    token = token_in(text)
    assert use(api, token).status_code == 204
    assert not ann.works() and ann.refresh().status_code == 401
    assert Caller(user.email, NEW).works()
    again = use(api, token, "other new words here")
    assert (again.status_code, again.json()["error"]["code"]) == (400, "link_invalid")
    assert AuditEvent.objects.get(action="password.link_used").target_id == str(user.pk)


def test_the_links_host_is_the_sites_and_never_the_requests(staff: User, user: User, settings):
    settings.SITE_URL, settings.ALLOWED_HOSTS = "https://ai.example.com", ["*"]
    client = browser(staff)
    data = {"action": "send_password_link", "_selected_action": [str(user.pk)]}
    assert (
        client.post("/admin/accounts/user/", data, headers={"host": "evil.example", "x-forwarded-host": "evil.example"}).status_code == 302
    )
    text = mailed()
    assert link_in(text).startswith("https://ai.example.com/password#")
    assert "evil.example" not in text and "evil.example" not in str(mail.outbox[0].alternatives)


def test_the_link_is_stored_nowhere(user: User, monkeypatch):
    sent = []
    monkeypatch.setattr("accounts.mail.queue.current_app.send_task", lambda *args, **kwargs: sent.append((args, kwargs)))
    AccountMail.objects.enqueue(user, AccountMail.Kind.PASSWORD_LINK)
    token = token_in(mailed())
    kept = str(list(AccountMail.objects.values())) + str(list(AuditEvent.objects.values())) + str(sent)
    assert token not in kept and token.partition(".")[2] not in kept


@pytest.mark.parametrize(
    "event",
    [
        "expired", "disabled", "password changed", "e-mail changed", "another's id", "no token", "cut", "signature", "no id",
        "another link used",
    ],
)  # fmt: skip
def test_every_link_that_is_no_good_answers_alike(user: User, other: User, api, settings, event: str):
    token = request_link(user)
    name, _, rest = token.partition(".")
    if event == "expired":
        settings.PASSWORD_RESET_TIMEOUT = -1
    elif event == "disabled":
        user.is_active = False
        user.save()
    elif event == "password changed":
        user.set_password("some other words")
        user.save()
    elif event == "e-mail changed":
        user.email = "new@example.com"
        user.save()
    elif event == "another link used":
        assert use(api, request_link(user)).status_code == 204
    wrong = {
        "another's id": f"{other.pk.hex}.{rest}", "no token": name, "cut": token[:-1], "signature": f"{name}.{rest[:-3]}abc",
        "no id": f"nobody.{rest}",
    }  # fmt: skip
    before = User.objects.values_list("password", flat=True).get(pk=user.pk)
    answer = use(api, wrong.get(event, token), "quite other words 77")
    error = answer.json()["error"]
    assert answer.status_code == 400
    assert {name: error[name] for name in ("type", "code", "param", "message", "details")} == {
        "type": "invalid_request", "code": "link_invalid", "param": "token", "details": {},
        "message": "This link is no longer valid. Request a new one.",
    }  # fmt: skip
    assert User.objects.values_list("password", flat=True).get(pk=user.pk) == before


def test_a_password_that_will_not_do_leaves_the_link_working(user: User, api):
    token = request_link(user)
    weak = use(api, token, "1234567890")
    assert weak.status_code == 400 and "new_password" in weak.json()["error"]["details"]
    assert use(api, token).status_code == 204


def test_the_link_lives_as_long_as_the_setting_says(user: User, api, settings, monkeypatch):
    token = request_link(user)
    clock = timezone.localtime().replace(tzinfo=None)
    for minutes, status in [(settings.PASSWORD_RESET_TIMEOUT / 60 + 1, 400), (settings.PASSWORD_RESET_TIMEOUT / 60 - 1, 204)]:
        monkeypatch.setattr(password_links.link_tokens, "_now", lambda later=minutes: clock + timedelta(minutes=later))
        assert use(api, token).status_code == status


def test_api_keys_end_only_when_asked(user: User, api):
    from accounts import keys

    _, raw = keys.create(user, name="k", scopes=["chat"])
    assert use(api, request_link(user)).status_code == 204
    assert keys.find(raw) is not None
    assert use(api, request_link(user), "quite other words 77", revoke_api_keys=True).status_code == 204
    assert keys.find(raw) is None


def test_guesses_are_limited_by_address(user: User, api, settings):
    settings.LOGIN_LIMIT_IP = "3/5m"
    assert [use(api, "x.y").status_code for _ in range(4)] == [400, 400, 400, 429]


def test_the_page_is_the_same_for_all_users_and_leaks_nothing(client: Client):
    page = client.get("/password")
    assert page.status_code == 200 and "password/page.js" in page.content.decode()
    assert page["Referrer-Policy"] == "no-referrer" and page["Cache-Control"] == "no-store"


def test_a_mail_that_fails_is_sent_later_and_a_disabled_account_gets_none(user: User, monkeypatch):
    AccountMail.objects.enqueue(user, AccountMail.Kind.PASSWORD_LINK)
    row = AccountMail.objects.get()

    def refuse(self):
        raise smtplib.SMTPServerDisconnected

    monkeypatch.setattr("django.core.mail.EmailMultiAlternatives.send", refuse)
    assert tasks.send_mail(str(row.pk)) is False
    row.refresh_from_db()
    assert row.state == "due" and row.due_at > timezone.now() + timedelta(seconds=50)
    assert not send.due()
    monkeypatch.undo()
    AccountMail.objects.update(due_at=timezone.now())
    User.objects.filter(pk=user.pk).update(is_active=False)
    assert tasks.send_mail(str(row.pk)) is False and not mail.outbox
    row.refresh_from_db()
    assert row.state == "dropped"


def test_an_account_made_by_staff_has_no_password_and_its_owner_gets_a_link(staff: User, api):
    client = browser(staff)
    page = client.get("/admin/accounts/user/add/").content.decode()
    assert "password1" not in page and 'name="email"' in page
    tried = {"email": "New@Example.com", "name": "New", "usable_password": "true", "password1": NEW, "password2": NEW, "role": "admin"}
    assert client.post("/admin/accounts/user/add/", tried).status_code == 302
    made = User.objects.get(email="new@example.com")
    assert not made.has_usable_password() and made.role == "user"
    assert api.post("/api/v1/auth/login", {"email": made.email, "password": NEW}, format="json").status_code == 401
    token = token_in(mailed())
    assert mail.outbox[0].to == ["new@example.com"] and "made for you" in mail.outbox[0].body
    assert use(api, token).status_code == 204
    assert Caller(made.email, NEW).works()


def test_an_account_without_a_password_made_by_a_superuser_gets_a_link_too(root: User):
    data = {"email": "new@example.com", "name": "", "usable_password": "false", "password1": "", "password2": ""}
    assert browser(root).post("/admin/accounts/user/add/", data).status_code == 302
    assert "made for you" in mailed()


@pytest.mark.parametrize("way", ["admin", "code"])
def test_a_new_e_mail_is_announced_to_the_old_address_and_ends_the_sessions(root: User, user: User, ann: Caller, way: str):
    if way == "admin":
        assert browser(root).post(f"/admin/accounts/user/{user.pk}/change/", form(user, email="new@example.com")).status_code == 302
        event = AuditEvent.objects.get(action="user.update")
        assert event.details == {"fields": ["email"], "email": ["ann@example.com", "new@example.com"]}
    else:
        user.email = "new@example.com"
        user.save()
    assert not ann.works() and ann.refresh().status_code == 401
    text = mailed()
    assert mail.outbox[0].to == ["ann@example.com"] and "changed to new@example.com" in text and "/password#" not in text
    assert Caller("new@example.com", PASSWORD).works()
