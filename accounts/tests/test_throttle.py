"""Guessing is limited, by address and by account, and no address can lock out another user."""

from __future__ import annotations

import time
from types import SimpleNamespace

import pytest
import redis
from django.core.cache import cache
from django.test import Client
from django_ratelimit import core
from rest_framework.test import APIClient

from accounts.models import AuditEvent, User
from accounts.sign_in import throttle
from accounts.tests.conftest import PASSWORD
from aiagents.core.metrics import counters as metrics


@pytest.fixture(autouse=True)
def _small(settings, monkeypatch):
    # Windows begin at fixed moments: a test that runs over one counts in two.
    now = time.time()
    monkeypatch.setattr(core, "time", SimpleNamespace(time=lambda: now))
    settings.LOGIN_LIMIT_IP, settings.LOGIN_LIMIT_ACCOUNT, settings.LOGIN_LIMIT_STRANGERS = "10/5m", "4/5m", "6/5m"
    settings.REGISTER_LIMIT_IP = "3/h"
    throttle.forget()


def login(email: str = "ann@example.com", password: str = "wrong password", ip: str = "203.0.113.1", **headers):
    body = {"email": email, "password": password}
    return APIClient().post("/api/v1/auth/login", body, format="json", REMOTE_ADDR=ip, headers=headers)


def test_after_the_limit_even_the_right_password_is_429_from_there_but_not_from_elsewhere(user: User):
    codes = [login().status_code for _ in range(20)]
    assert codes == [401] * 4 + [429] * 16
    refused = login(password=PASSWORD)
    assert refused.status_code == 429 and 0 < int(refused["Retry-After"]) <= 300
    assert login(password=PASSWORD, ip="198.51.100.7").status_code == 200


def test_many_accounts_from_one_address_are_429_by_address(user: User):
    codes = [login(f"someone{n}@example.com").status_code for n in range(15)]
    assert codes == [401] * 10 + [429] * 5
    assert login(password=PASSWORD).status_code == 429


def test_an_unknown_account_is_limited_like_a_known_one(user: User):
    known = [login(ip="203.0.113.1").status_code for _ in range(6)]
    unknown = [login("nobody@example.com", ip="203.0.113.2").status_code for _ in range(6)]
    assert known == unknown == [401] * 4 + [429] * 2


def test_many_machines_close_the_account_to_strangers_but_not_to_its_owners_address(user: User):
    assert login(password=PASSWORD, ip="192.0.2.10").status_code == 200  # the owner's address is known from now on
    codes = [login(ip=f"203.0.113.{n}").status_code for n in range(10)]
    assert codes == [401] * 5 + [429] * 5
    assert login(password=PASSWORD, ip="198.51.100.7").status_code == 429
    assert login(password=PASSWORD, ip="192.0.2.10").status_code == 200


def test_one_address_that_is_refused_does_not_use_up_the_strangers_share(user: User):
    for _ in range(9):
        login()
    assert login(password=PASSWORD, ip="198.51.100.7").status_code == 200


def test_all_of_an_ipv6_network_is_one_address(user: User):
    codes = [login(ip=f"2001:db8::{n:x}").status_code for n in range(6)]
    assert codes == [401] * 4 + [429] * 2


def test_forged_forwarding_headers_change_nothing(user: User):
    forged = [{"x-forwarded-for": f"198.51.100.{n}", "x-real-ip": f"198.51.100.{n}", "forwarded": f"for=198.51.100.{n}"} for n in range(6)]
    assert [login(**headers).status_code for headers in forged] == [401] * 4 + [429] * 2


def test_an_admin_clears_an_account(user: User):
    for _ in range(5):
        login()
    assert login(password=PASSWORD).status_code == 429
    throttle.clear("ANN@example.com")
    assert login(password=PASSWORD).status_code == 200


def test_the_current_password_cannot_be_guessed_with_a_stolen_token(user: User):
    token = login(password=PASSWORD).json()["access"]
    body = {"current_password": "wrong password", "new_password": "a wholly new password"}
    client = APIClient()
    client.credentials(HTTP_AUTHORIZATION=f"Bearer {token}")
    codes = [client.post("/api/v1/auth/password", body, format="json", REMOTE_ADDR="203.0.113.1").status_code for _ in range(5)]
    assert codes == [400] * 3 + [429] * 2


def test_registrations_are_limited_by_address_refused_ones_included(user: User):
    def register(email: str, ip: str = "203.0.113.1") -> int:
        body = {"email": email, "password": PASSWORD}
        return APIClient().post("/api/v1/auth/register", body, format="json", REMOTE_ADDR=ip).status_code

    assert [register(user.email), register(user.email), register("new@example.com"), register("next@example.com")] == [400, 400, 201, 429]
    assert register("next@example.com", "198.51.100.7") == 201


def test_the_admins_login_page_has_the_same_limits(user: User):
    user.is_staff = True
    user.save()

    assert [enter(user.email, "wrong password").status_code for _ in range(4)] == [200] * 4
    assert enter(user.email, PASSWORD).status_code == 429
    assert login(password=PASSWORD).status_code == 429
    assert AuditEvent.objects.filter(action="admin.login.failed").count() == 4


def enter(email: str, password: str, accept: str = "text/html", ip: str = "203.0.113.1", **headers):
    headers = {"accept": accept, **headers}
    return Client(REMOTE_ADDR=ip).post("/admin/login/", {"username": email, "password": password}, headers=headers)


def test_a_lock_out_of_the_admin_says_so_as_a_page_and_as_json(user: User):
    for _ in range(4):
        enter(user.email, "wrong password")
    page, data = enter(user.email, PASSWORD), enter(user.email, PASSWORD, "application/json")
    assert (page.status_code, data.status_code) == (429, 429)
    assert page["Content-Type"].startswith("text/html") and b"Too many attempts" in page.content and b"<form" not in page.content
    assert data.json()["error"]["type"] == "rate_limited"
    assert all(0 < int(answer["Retry-After"]) <= 300 for answer in (page, data))
    assert enter(user.email, PASSWORD, ip="198.51.100.7").status_code == 200  # no staff: the form again, not locked out
    assert Client().get("/admin/login/").status_code == 200


def test_the_lock_out_of_the_admin_believes_trusted_proxies_only(user: User, settings):
    def tried(forwarded: str, peer: str) -> int:
        return enter(user.email, "wrong password", ip=peer, **{"x-forwarded-for": forwarded}).status_code

    # Whoever connects directly is who connects, whatever it writes there.
    assert [tried(f"198.51.100.{n}", "203.0.113.1") for n in range(5)] == [200] * 4 + [429]
    settings.TRUSTED_PROXIES = ["10.0.0.0/8"]
    # Behind our proxy it is the right-most address that the proxy saw; the text left of it is the client's own text.
    throttle.clear(user.email)
    assert [tried(f"198.51.100.{n}, 192.0.2.5", "10.0.0.1") for n in range(5)] == [200] * 4 + [429]
    assert tried("192.0.2.5, 192.0.2.6", "10.0.0.1") == 200


def test_one_refusal_is_counted_once(user: User):
    def denied() -> float:
        lines = metrics.exposition().decode().splitlines()
        return float(next(line for line in lines if line.startswith("aiagents_denied_total")).split()[1])

    for _ in range(4):
        login()
    before = denied()
    assert login().status_code == 429
    assert denied() == before + 1
    enter(user.email, "wrong password")
    assert denied() == before + 2


def test_while_valkey_is_away_sign_in_works_and_is_limited_in_this_process(user: User, settings):
    away = {"BACKEND": "django.core.cache.backends.redis.RedisCache", "LOCATION": "redis://127.0.0.1:1"}
    settings.CACHES = {"default": away}
    with pytest.raises(redis.ConnectionError):
        cache.get("anything")
    assert login(password=PASSWORD).status_code == 200
    assert [login().status_code for _ in range(5)] == [401] * 3 + [429] * 2
    assert login(password=PASSWORD, ip="198.51.100.7").status_code == 200


@pytest.mark.parametrize(
    ("rate", "limit", "seconds"),
    [("5/s", 5, 1), ("3/", 3, 1), ("10/m", 10, 60), ("30/5m", 30, 300), ("100/h", 100, 3600), ("7/2d", 7, 172_800)],
)
def test_this_process_reads_a_rate_as_the_library_does(rate: str, limit: int, seconds: int):
    assert throttle.limit_and_seconds(rate) == (limit, seconds)
    usage = core.get_usage(None, group="g", key=lambda *_: rate, rate=rate, increment=True)
    assert usage["limit"] == limit and 0 <= usage["time_left"] <= seconds


@pytest.mark.parametrize("rate", ["", "5", "m", "5/x", "5/m/m", "-1/m"])
def test_what_is_no_rate_is_an_error(rate: str):
    with pytest.raises(ValueError, match="is not a rate"):
        throttle.limit_and_seconds(rate)
