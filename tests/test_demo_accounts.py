"""Demo accounts: only where one person can reach them, with passwords of their own; and what becomes of the published ones."""

from __future__ import annotations

import hashlib
import re
from importlib import import_module
from io import StringIO
from pathlib import Path

import pytest
from django.apps import apps
from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import ImproperlyConfigured, ValidationError
from django.core.management import call_command
from django.core.management.base import CommandError
from django.test import Client

from accounts import keys, principals
from accounts.models import ApiKey, AuditEvent, User
from accounts.sign_in import published_passwords, tokens
from aiagents import checks
from aiagents.local import demo, demo_work
from aiagents.management.commands import doctor
from tests.kit.source.tree import text_files

# Stored hashes, at bcrypt's lowest cost, of the two passwords that an earlier version published.
OLD_HASHES = [
    "bcrypt_sha256$$2b$04$BYAXkt.CHtgwZTRAvIoip.uiVVmu6hbohbcEhSnSxCsFZ9zLZ5oRi",
    "bcrypt_sha256$$2b$04$brvg9QlaDOq7AMfSam8nuuKeOQ1yrgq/KyMc/vczyah0oR.vSAkEW",
]
KNOWN = "a password that stands in a test"


@pytest.fixture
def own_machine(settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Where demo accounts may be. What they find there (agents, usage) is left out: tests/test_up.py makes it."""
    monkeypatch.setattr(demo_work, "seed", lambda admin, user: None)
    settings.ENVIRONMENT, settings.HOST, settings.SITE_URL = "development", "127.0.0.1", "http://localhost:8000"
    settings.TRUSTED_PROXIES, settings.DATA_DIR = [], tmp_path
    return settings


def seeded(*arguments: str) -> str:
    out = StringIO()
    call_command("seed", *arguments, stdout=out)
    return out.getvalue()


def shown_password(text: str, email: str) -> str:
    return re.search(rf"{re.escape(email)}\s+(.+)", text)[1]


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("ENVIRONMENT", "production", "production"),
        ("HOST", "0.0.0.0", "HOST"),
        ("HOST", "", "HOST"),
        ("HOST", "::", "HOST"),
        ("HOST", "192.168.1.5", "HOST"),
        ("HOST", "ai.example.com", "HOST"),
        ("SITE_URL", "https://localhost", "SITE_URL"),
        ("SITE_URL", "http://ai.example.com", "SITE_URL"),
        ("ALLOWED_HOSTS", ["localhost", "ai.example.com"], "ALLOWED_HOSTS"),
        ("ALLOWED_HOSTS", ["*"], "ALLOWED_HOSTS"),
        ("TRUSTED_PROXIES", ["127.0.0.1"], "TRUSTED_PROXIES"),
    ],
)
def test_there_are_no_demo_accounts_where_others_are_served(own_machine, name: str, value: object, reason: str):
    setattr(own_machine, name, value)
    with pytest.raises(CommandError, match=reason):
        call_command("seed")
    with pytest.raises(ImproperlyConfigured, match="createsuperuser"):
        demo.seed(new_passwords=True)
    assert not User.objects.exists()


@pytest.mark.django_db
@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1", "127.8.8.8"])
def test_a_loopback_address_is_ones_own_machine(own_machine, host: str):
    own_machine.HOST = host
    assert demo.refusal() == ""


@pytest.mark.django_db
def test_passwords_are_made_for_the_installation_and_shown_once(own_machine, client: Client):
    first = seeded()
    shown = {email: shown_password(first, email) for email in (demo.ADMIN, demo.USER)}
    assert len(set(shown.values())) == 2 and "aia_" in first
    for email, password in shown.items():
        assert User.objects.get(email=email).check_password(password) and len(password) >= 16
    admin = User.objects.get(email=demo.ADMIN)
    assert admin.is_admin and admin.is_staff and not User.objects.get(email=demo.USER).is_staff

    second = seeded()
    assert not any(password in second for password in shown.values())
    assert shown_password(second, demo.ADMIN) == demo.HOW_TO_RESET
    assert second.splitlines()[-1] == first.splitlines()[-1]  # the key is the same
    for path in own_machine.DATA_DIR.rglob("*"):
        assert not path.is_file() or not any(password in path.read_text() for password in shown.values())

    User.objects.all().delete()
    (own_machine.DATA_DIR / "demo-api-key").unlink()
    assert shown_password(seeded(), demo.ADMIN) != shown[demo.ADMIN]


@pytest.mark.django_db
def test_new_passwords_end_the_old_ones_and_enable_the_accounts(own_machine):
    old = shown_password(seeded(), demo.ADMIN)
    User.objects.filter(email=demo.ADMIN).update(is_active=False)
    new = shown_password(seeded("--new-passwords"), demo.ADMIN)
    admin = User.objects.get(email=demo.ADMIN)
    assert admin.is_active and admin.check_password(new) and not admin.check_password(old)
    assert AuditEvent.objects.filter(action="user.password_set", target_id=str(admin.pk)).exists()


@pytest.mark.django_db
def test_a_disabled_account_is_shown_as_disabled_until_it_gets_a_new_password(own_machine):
    seeded()
    User.objects.filter(email=demo.ADMIN).update(password=OLD_HASHES[0])
    assert [user.email for user in published_passwords.disable_holders()] == [demo.ADMIN]
    text = seeded()
    assert shown_password(text, demo.ADMIN) == demo.HOW_TO_ENABLE and "shown when it was made" not in demo.HOW_TO_ENABLE
    assert shown_password(text, demo.USER) == demo.HOW_TO_RESET
    new = shown_password(seeded("--new-passwords"), demo.ADMIN)
    assert User.objects.get(email=demo.ADMIN, is_active=True).check_password(new)
    assert shown_password(seeded(), demo.ADMIN) == demo.HOW_TO_RESET


# --- published passwords -------------------------------------------------------------------------


def test_both_published_passwords_are_known_by_their_stored_hash():
    assert [published_passwords.matches(encoded) for encoded in OLD_HASHES] == [True, True]
    assert [published_passwords.matches(encoded, demo.ADMIN) for encoded in OLD_HASHES] == [True, False]
    assert [published_passwords.matches(encoded, demo.USER) for encoded in OLD_HASHES] == [False, True]
    for other in ("", "!", "md5$a$b", "bcrypt_sha256$", "bcrypt_sha256$$2b$04$short", OLD_HASHES[0][:-1] + "j"):
        assert not published_passwords.matches(other), other


def test_no_published_password_stands_in_the_tree():
    """Words of the tree's text, alone and joined by hyphens as those were, none of which has one of the digests."""
    texts = list(text_files(".py", ".md", ".html", ".js", ".yml", ".example", ".toml"))
    assert len(texts) > 400
    words = {word for path in texts for word in re.findall(r"[A-Za-z0-9]+(?:-[A-Za-z0-9]+)+", path.read_text())}
    assert not [word for word in words if published_passwords.is_published(word)]


@pytest.fixture
def known(monkeypatch: pytest.MonkeyPatch) -> str:
    """A password that counts as published."""
    monkeypatch.setattr(
        published_passwords, "DIGESTS", dict.fromkeys(published_passwords.DIGESTS, hashlib.sha256(KNOWN.encode()).hexdigest())
    )
    return KNOWN


def holder(email: str, password: str, **extra: object) -> tuple[User, str, str]:
    """An account with a session and a key."""
    user = User.objects.create_user(email, password, **extra)
    _, raw = keys.create(user, name="k", scopes=["chat", "read"])
    return user, tokens.sign_in(user).access, raw


def status(client: Client, credential: str) -> int:
    principals.forget()
    return client.get("/api/v1/auth/profile", headers={"authorization": f"Bearer {credential}"}).status_code


def upgrade() -> None:
    import_module("accounts.migrations.0003_disable_published_passwords").disable(apps, None)


@pytest.mark.django_db
@pytest.mark.parametrize("step", [upgrade, published_passwords.disable_holders])
def test_an_account_with_a_published_password_is_disabled_with_all_it_had(known: str, client: Client, caplog, step):
    user, access, raw = holder(demo.ADMIN, known, is_staff=True, is_superuser=True, role="admin")
    _, kept_access, kept_key = holder(demo.USER, "something of its own")
    browser = Client()
    browser.force_login(user)
    assert browser.get("/admin/").status_code == 200
    assert [status(client, credential) for credential in (access, raw, kept_access, kept_key)] == [200] * 4
    caplog.clear()
    step()
    assert [status(client, credential) for credential in (access, raw, kept_access, kept_key)] == [401, 401, 200, 200]
    assert browser.get("/admin/").status_code == 302
    assert any(demo.ADMIN in record.getMessage() and "disabled" in record.getMessage() for record in caplog.records)
    assert AuditEvent.objects.filter(action=published_passwords.ACTION, target_id=str(user.pk)).count() == 1
    assert not ApiKey.objects.filter(user=user, revoked_at=None).exists()
    assert not user.token_families.filter(revoked_at=None).exists()
    # Enabled again by a click, the published password still does not open it.
    User.objects.filter(pk=user.pk).update(is_active=True)
    body = {"email": demo.ADMIN, "password": known}
    assert client.post("/api/v1/auth/login", body, content_type="application/json").status_code == 401
    User.objects.filter(pk=user.pk).update(is_active=False)
    step()  # and once more changes nothing
    assert AuditEvent.objects.filter(action=published_passwords.ACTION).count() == 1


@pytest.mark.django_db
def test_the_upgrade_looks_at_every_account_that_has_rights(known: str):
    staff, _, _ = holder("boss@example.com", known, is_staff=True)
    admin, _, _ = holder("chief@example.com", known, role="admin")
    plain, _, _ = holder("someone@example.com", known)
    upgrade()
    disabled = set(User.objects.filter(is_active=False))
    assert disabled == {staff, admin}
    assert User.objects.get(pk=plain.pk).is_active


@pytest.mark.django_db
def test_the_doctor_says_it_before_and_after(known: str):
    def said() -> list[tuple[str, str]]:
        return [(level, text) for level, subject, text in doctor.diagnose() if subject == "accounts"]

    assert said() == []
    user, _, _ = holder(demo.ADMIN, known)
    assert [(level, demo.ADMIN in text) for level, text in said()] == [("error", True)]
    published_passwords.disable_holders()
    assert [(level, "was disabled" in text) for level, text in said()] == [("warning", True)]
    user.refresh_from_db()
    user.set_password("something of its own")
    user.is_active = True
    user.save()
    assert said() == []


@pytest.mark.django_db
def test_production_does_not_start_while_an_account_has_one(known: str, settings):
    settings.ENVIRONMENT, settings.DEBUG, settings.ALLOWED_HOSTS = "production", False, ["ai.example.com"]
    settings.SECRET_KEY = "kq3v8LwZ0sYt5RnXbC7mPfJdHgEa2Uo9iT1yQx4VzWNcBrMS6lKhGjFpDu"
    settings.CORS_ALLOWED_ORIGINS = settings.WEBSOCKET_ORIGINS = []
    checks.refuse_if_unsafe()
    holder(demo.USER, known)
    with pytest.raises(ImproperlyConfigured, match="published demo password"):
        checks.refuse_if_unsafe()
    published_passwords.disable_holders()
    checks.refuse_if_unsafe()


@pytest.mark.django_db
def test_nobody_can_choose_one_again(known: str, client: Client, settings):
    settings.REGISTRATION = "open"
    with pytest.raises(ValidationError):
        validate_password(known)
    body = {"email": "new@example.com", "password": known}
    answer = client.post("/api/v1/auth/register", body, content_type="application/json")
    assert answer.status_code == 400 and "published" in answer.content.decode()
