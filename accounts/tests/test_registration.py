"""Who may make an account: the same answer from the setting, the API, the public description and the page."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from decimal import Decimal
from html import unescape
from pathlib import Path
from typing import get_args

import pytest
from django.test import Client
from rest_framework.test import APIClient

from accounts.models import User
from accounts.tests.conftest import PASSWORD
from accounts.tests.hashers import CountingHasher
from aiagents.core import registration
from aiagents.core.registration import RegistrationClosed
from aiagents.management.commands import doctor
from aiagents.settings.values import Registration
from billing.models import Budget

REGISTER = "/api/v1/auth/register"
MODES = get_args(Registration)
ROOT = Path(__file__).resolve().parents[2]


def register(email: str = "new@example.com", **extra: object):
    return APIClient().post(REGISTER, {"email": email, "password": PASSWORD, **extra}, format="json")


def of_page() -> dict[str, str]:
    """What the page is given to draw the form from."""
    tag = re.search(r'<div id="app"[^>]*>', Client().get("/").content.decode())[0]
    return {name: unescape(value) for name, value in re.findall(r'data-registration-(\w+)="([^"]*)"', tag)}


def test_every_mode_is_known_here():
    assert set(MODES) == {"open", "invite", "domains", "closed"}


@pytest.mark.django_db
@pytest.mark.parametrize("mode", MODES)
def test_the_setting_the_description_the_page_and_the_endpoint_agree(settings, mode: str):
    settings.REGISTRATION, settings.REGISTRATION_DOMAINS = mode, ["example.com"]
    answer = register()
    described = APIClient().get("/api/v1/system/info").json()["registration"]
    admitted = answer.status_code == 201
    assert admitted is (mode in {"open", "domains"})
    assert described == registration.policy() and described["mode"] == mode and described["open"] is admitted
    assert of_page()["open"] == str(admitted).lower() and of_page()["message"] == described["message"]
    assert User.objects.exists() is admitted
    if not admitted:
        error = answer.json()["error"]
        assert answer.status_code == 403 and answer["Cache-Control"] == "no-store"
        assert (error["type"], error["code"]) == ("permission_denied", "registration_closed")
        assert error["message"] == described["message"] and error["details"]["registration"] == mode and error["request_id"]


@pytest.mark.django_db
@pytest.mark.parametrize("value", ["", "Open", "opened", None, "true"])
def test_a_mode_that_is_not_known_closes(settings, value: object):
    settings.REGISTRATION = value
    assert register().status_code == 403
    with pytest.raises(RegistrationClosed):
        registration.refuse_unless_admitted("new@example.com")


@pytest.mark.django_db
@pytest.mark.parametrize("mode", ["invite", "closed"])
@pytest.mark.parametrize("body", [{}, {"email": "x"}, {"email": "taken@example.com", "password": "short"}, {"role": "admin"}])
def test_a_closed_registration_says_so_whatever_the_body_and_hashes_nothing(settings, mode: str, body: dict):
    User.objects.create_user("taken@example.com", PASSWORD)
    settings.REGISTRATION, settings.PASSWORD_HASHERS = mode, ["accounts.tests.hashers.CountingHasher"]
    before = CountingHasher.hashed
    answer = APIClient().post(REGISTER, body, format="json")
    assert (answer.status_code, answer.json()["error"]["code"]) == (403, "registration_closed")
    assert CountingHasher.hashed == before


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("email", "admitted"),
    [
        ("ann@example.com", True),
        (" Ann@EXAMPLE.com ", True),
        ("ann@example.org", True),
        ("ann@sub.example.com", False),
        ("ann@notexample.com", False),
        ("ann@example.com.evil.net", False),
        ("ann@example.co", False),
        ('"a@example.com"@evil.net', False),
        ("example.com@evil.net", False),
    ],
)
def test_domains_admit_their_own_addresses_only(settings, email: str, admitted: bool):
    settings.REGISTRATION, settings.REGISTRATION_DOMAINS = "domains", ["example.com", "example.org"]
    answer = register(email)
    assert answer.status_code == (201 if admitted else 403), answer.content
    if not admitted:
        error = answer.json()["error"]
        assert (error["code"], error["param"]) == ("registration_closed", "email")
        assert "example.com or example.org" in error["message"]


@pytest.mark.django_db
def test_refusals_count_as_attempts_of_the_address(settings):
    settings.REGISTRATION, settings.REGISTRATION_DOMAINS, settings.REGISTER_LIMIT_IP = "domains", ["example.com"], "3/h"
    assert [register("a@evil.net").status_code for _ in range(4)] == [403, 403, 403, 429]


@pytest.mark.django_db
def test_staff_make_accounts_where_registration_is_closed(settings):
    settings.REGISTRATION = "invite"
    root = User.objects.create_superuser("root@example.com", PASSWORD)
    browser = Client()
    browser.force_login(root)
    answer = browser.post("/admin/accounts/user/add/", {"email": "new@example.com", "name": "New", "usable_password": "false"})
    assert answer.status_code == 302, answer.content.decode()[:2000]
    assert not User.objects.get(email="new@example.com").has_usable_password()


@pytest.mark.django_db
@pytest.mark.parametrize("limit", [Decimal("7.50"), None])
def test_a_new_account_has_the_budget_of_its_setting(settings, limit: Decimal | None):
    settings.REGISTRATION, settings.NEW_USER_MONTHLY_LIMIT = "open", limit
    assert register().status_code == 201
    assert Budget.objects.get(scope="user", scope_id=User.objects.get().pk).limit_usd == limit


@pytest.mark.parametrize(
    ("given", "mode"),
    [
        ({}, "open"),
        ({"HOST": "0.0.0.0"}, "invite"),
        ({"SITE_URL": "https://ai.example.com"}, "invite"),
        ({"ALLOWED_HOSTS": "localhost,ai.example.com"}, "invite"),
        ({"TRUSTED_PROXIES": "127.0.0.1"}, "invite"),
        ({"ENVIRONMENT": "production", "SECRET_KEY": "x"}, "invite"),
        ({"ENVIRONMENT": "production", "SECRET_KEY": "x", "REGISTRATION": "open"}, "open"),
        ({"REGISTRATION": "closed"}, "closed"),
    ],
)
def test_without_a_word_only_ones_own_machine_registers(tmp_path: Path, given: dict[str, str], mode: str):
    code = "import json; import aiagents.settings as s; print(json.dumps([s.REGISTRATION, str(s.MONTHLY_COST_LIMIT)]))"
    env = {"PATH": os.environ["PATH"], "DATA_DIR": str(tmp_path), **given}
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=env, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == [mode, "1000"]


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("environment", "mode", "level"), [("production", "open", "warning"), ("production", "invite", "ok"), ("development", "open", "ok")]
)
def test_the_doctor_says_who_may_register(settings, environment: str, mode: str, level: str):
    settings.ENVIRONMENT, settings.REGISTRATION = environment, mode
    found = [(one, text) for one, subject, text in doctor.diagnose() if subject == "registration"]
    assert found == [(level, f"REGISTRATION={mode}: {registration.policy()['message']}")]
