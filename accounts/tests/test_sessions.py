"""Registration, sign-in, sign-out and password change, through the API."""

from __future__ import annotations

import time

import pytest
from rest_framework.test import APIClient

from accounts.models import ApiKey, AuditEvent, TokenFamily, User
from accounts.tests.conftest import PASSWORD, Caller, with_key
from accounts.tests.hashers import CountingHasher

REGISTER, LOGIN = "/api/v1/auth/register", "/api/v1/auth/login"


def post(path: str, body: dict, **extra):
    return APIClient().post(path, body, format="json", **extra)


def comparable(answer) -> tuple:
    body = answer.json()
    body["error"]["request_id"] = ""
    return answer.status_code, body, {name for name in answer.headers if name.lower() not in {"x-request-id"}}


def test_registering_gives_an_ordinary_user_with_working_tokens(db):
    answer = post(REGISTER, {"email": " New@Example.COM ", "password": PASSWORD, "name": "New"})
    assert answer.status_code == 201 and answer["Cache-Control"] == "no-store"
    body = answer.json()
    assert set(body) == {"access", "refresh", "user"}
    assert body["user"]["email"] == "new@example.com" and body["user"]["role"] == "user"
    user = User.objects.get()
    assert not (user.is_staff or user.is_superuser or user.is_admin)
    assert APIClient().get("/api/v1/auth/profile", headers={"authorization": f"Bearer {body['access']}"}).status_code == 200


@pytest.mark.parametrize(
    "field", ["role", "is_staff", "is_superuser", "is_active", "budget", "auth_epoch", "id", "permissions", "groups", "created_at"]
)
def test_registration_refuses_other_fields(db, field: str):
    answer = post(REGISTER, {"email": "new@example.com", "password": PASSWORD, field: "admin"})
    assert answer.status_code == 400 and field in answer.json()["error"]["details"]
    assert not User.objects.exists()


@pytest.mark.parametrize(
    "password",
    ["password1", "short7!", "1234567890", "new.person@example.com", "my new.person secret", "x NEW.PERSON@EXAMPLE.COM and much more"],
)
def test_a_weak_password_is_400(db, password: str):
    answer = post(REGISTER, {"email": "new.person@example.com", "password": password})
    assert answer.status_code == 400 and "password" in answer.json()["error"]["details"]


@pytest.mark.parametrize("password", ["😀" * 64, "ab c" * 50, "  spaces stay where they are  ", "x" * 4095 + "y"])
def test_long_and_odd_passwords_are_taken_whole(db, password: str):
    assert post(REGISTER, {"email": "new@example.com", "password": password}).status_code == 201
    assert post(LOGIN, {"email": "new@example.com", "password": password}).status_code == 200
    assert post(LOGIN, {"email": "new@example.com", "password": password[:-1]}).status_code == 401


@pytest.mark.parametrize("path", [REGISTER, LOGIN])
def test_a_megabyte_of_password_is_refused_unhashed_and_fast(user: User, settings, path: str):
    settings.PASSWORD_HASHERS = ["accounts.tests.hashers.CountingHasher"]
    before, started = CountingHasher.hashed, time.process_time()
    answer = post(path, {"email": user.email, "password": "é" * 500_000})
    assert answer.status_code == 413 and time.process_time() - started < 0.5
    assert CountingHasher.hashed == before


def test_unknown_wrong_and_disabled_answer_alike_after_one_hash_each(user: User, other: User, settings):
    settings.PASSWORD_HASHERS = ["accounts.tests.hashers.CountingHasher"]
    User.objects.filter(pk=other.pk).update(is_active=False)
    seen, hashes = [], []
    for email, password in [("nobody@example.com", PASSWORD), (user.email, "wrong password"), (other.email, PASSWORD)]:
        before = CountingHasher.hashed
        seen.append(comparable(post(LOGIN, {"email": email, "password": password})))
        hashes.append(CountingHasher.hashed - before)
    assert seen[0][0] == 401 and seen[0] == seen[1] == seen[2]
    assert hashes == [1, 1, 1]


def test_a_taken_email_is_refused_without_a_word_of_it_after_the_same_hash(user: User, settings):
    settings.PASSWORD_HASHERS = ["accounts.tests.hashers.CountingHasher"]
    before = CountingHasher.hashed
    answer = post(REGISTER, {"email": user.email.upper(), "password": "some other password"})
    taken, before = CountingHasher.hashed - before, CountingHasher.hashed
    assert answer.status_code == 400 and "mail" not in answer.content.decode() and answer.json()["error"]["details"] == {}
    assert post(REGISTER, {"email": "free@example.com", "password": "some other password"}).status_code == 201
    assert taken == CountingHasher.hashed - before == 1
    # A weak password is refused for both alike, before anybody looks whether the e-mail is taken.
    weak = [post(REGISTER, {"email": email, "password": "short"}) for email in (user.email, "unseen@example.com")]
    assert comparable(weak[0]) == comparable(weak[1])


def test_sign_in_ignores_case_and_a_stale_token_in_the_header(user: User):
    answer = post(LOGIN, {"email": "ANN@example.com", "password": PASSWORD}, headers={"authorization": "Bearer stale"})
    assert answer.status_code == 200
    assert AuditEvent.objects.filter(action="login", actor=user).count() == 1


def test_the_stored_hash_is_no_password(user: User):
    assert post(LOGIN, {"email": user.email, "password": user.password}).status_code == 401


def test_no_answer_holds_a_hash_or_a_secret(ann: Caller, user: User):
    bodies = [ann.get("/api/v1/auth/profile").content, post(LOGIN, {"email": user.email, "password": PASSWORD}).content]
    for body in bodies:
        assert user.password.encode() not in body and PASSWORD.encode() not in body and b"password" not in body


@pytest.mark.parametrize("by_body", [True, False])
def test_logout_ends_every_credential_of_the_session_and_no_other(ann: Caller, by_body: bool):
    elsewhere = Caller("ann@example.com")
    answer = post("/api/v1/auth/logout", {"refresh": ann.tokens.refresh}) if by_body else ann.post("/api/v1/auth/logout", {}, format="json")
    assert answer.status_code == 204
    assert not ann.works() and ann.refresh().status_code == 401
    assert elsewhere.works() and elsewhere.refresh().status_code == 200


def test_logout_twice_is_no_error_and_nonsense_is_401(ann: Caller):
    assert [post("/api/v1/auth/logout", {"refresh": ann.tokens.refresh}).status_code for _ in range(2)] == [204, 204]
    assert post("/api/v1/auth/logout", {"refresh": "nonsense"}).status_code == 401
    assert post("/api/v1/auth/logout", {}).status_code == 401


def test_logout_all_ends_all_sessions_but_not_the_keys(ann: Caller):
    key = ann.post("/api/v1/auth/api-keys", {"name": "k", "scopes": ["read"]}, format="json").json()["key"]
    elsewhere = Caller("ann@example.com")
    answer = ann.post("/api/v1/auth/logout-all")
    assert answer.status_code == 200 and answer.json() == {"sessions_ended": 2}
    for session in (ann, elsewhere):
        assert not session.works() and session.refresh().status_code == 401
    assert with_key(key).get("/api/v1/auth/profile").status_code == 200


def change(caller: Caller, current: str = PASSWORD, new: str = "a wholly new password", **more):
    return caller.post("/api/v1/auth/password", {"current_password": current, "new_password": new, **more}, format="json")


def test_a_new_password_ends_other_sessions_and_this_one_goes_on(ann: Caller):
    elsewhere = Caller("ann@example.com")
    answer = change(ann)
    assert answer.status_code == 200
    assert not elsewhere.works() and elsewhere.refresh().status_code == 401
    assert not ann.works()  # the access token in hand ended with the old password …
    ann.credentials(HTTP_AUTHORIZATION=f"Bearer {answer.json()['access']}")
    assert ann.works()  # … its successor is in the answer …
    assert ann.refresh().status_code == 200  # … and the session refreshes as ever
    assert post(LOGIN, {"email": "ann@example.com", "password": PASSWORD}).status_code == 401
    assert post(LOGIN, {"email": "ann@example.com", "password": "a wholly new password"}).status_code == 200


@pytest.mark.parametrize("revoke", [True, False])
def test_keys_outlive_a_new_password_unless_asked_otherwise(ann: Caller, revoke: bool):
    key = ann.post("/api/v1/auth/api-keys", {"name": "k", "scopes": ["read"]}, format="json").json()["key"]
    assert change(ann, revoke_api_keys=revoke).status_code == 200
    assert with_key(key).get("/api/v1/auth/profile").status_code == (401 if revoke else 200)
    assert ApiKey.objects.filter(revoked_at=None).exists() is not revoke


def test_a_wrong_current_or_weak_new_password_changes_nothing(ann: Caller):
    for answer, field in [(change(ann, current="wrong password"), "current_password"), (change(ann, new="short"), "new_password")]:
        assert answer.status_code == 400 and field in answer.json()["error"]["details"]
    assert ann.works() and TokenFamily.objects.get().revoked_at is None


def test_a_change_of_role_ends_sessions_from_whatever_code_it_comes(ann: Caller, user: User):
    user.role = User.Role.ADMIN
    user.save(update_fields=["role"])
    assert not ann.works() and ann.refresh().status_code == 401
    again = Caller(user.email)
    user.name = "only the name"
    user.save()
    assert again.works()


def test_a_users_browser_session_ends_with_the_epoch(user: User, client):
    User.objects.filter(pk=user.pk).update(is_staff=True, is_superuser=True)
    client.force_login(User.objects.get(pk=user.pk))
    assert client.get("/admin/").status_code == 200
    User.objects.get(pk=user.pk).end_sessions(reason="logout_all")
    assert client.get("/admin/").status_code == 302


def test_a_browser_session_needs_the_csrf_token_for_writes(user: User):
    browser = APIClient(enforce_csrf_checks=True)
    browser.force_login(user)
    assert browser.get("/api/v1/auth/profile").status_code == 200
    assert browser.patch("/api/v1/auth/profile", {"name": "X"}, format="json").status_code == 403
    token = "a" * 32
    browser.cookies["csrftoken"] = token
    assert browser.patch("/api/v1/auth/profile", {"name": "X"}, format="json", headers={"x-csrftoken": token}).status_code == 200


@pytest.mark.parametrize("path", ["register", "login", "refresh", "logout", "password", "api-keys", "profile"])
def test_the_browsable_api_shows_a_form(user: User, path: str):
    browser = APIClient()
    browser.force_login(user)
    answer = browser.get(f"/api/v1/auth/{path}", headers={"accept": "text/html"})
    assert "text/html" in answer["Content-Type"] and b"<form" in answer.content


def test_the_browsable_form_itself_is_accepted(user: User):
    form = {"email": user.email, "password": PASSWORD, "csrfmiddlewaretoken": "x"}
    assert APIClient().post(LOGIN, form, headers={"accept": "text/html"}).status_code == 200


@pytest.mark.parametrize("body", [[], "text", None, 1, {"email": ["a"], "password": {}}, {"email": "a\x00@b.io", "password": "\x00"}, {}])
def test_bodies_that_are_no_sign_in_are_400(db, body):
    assert APIClient().post(LOGIN, body, format="json").status_code == 400


def test_superusers_are_made_by_the_command_and_enter_the_admin(db, client, monkeypatch):
    from django.core.management import call_command

    monkeypatch.setenv("DJANGO_SUPERUSER_PASSWORD", PASSWORD)
    call_command("createsuperuser", email="Root@Example.com", interactive=False, verbosity=0)
    root = User.objects.get(email="root@example.com")
    assert root.is_admin and root.is_superuser
    answer = client.post("/admin/login/?next=/admin/", {"username": "ROOT@example.com", "password": PASSWORD})
    assert answer.status_code == 302 and client.get("/admin/").status_code == 200
