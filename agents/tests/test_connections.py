"""Where a model is reached: saved connection, environment, simulator; and what never leaves the database."""

from __future__ import annotations

import pytest
from django.test import Client

from accounts.models import User
from agents import secrets
from agents.models import ProviderConnection
from agents.providers.errors import NotConfigured
from agents.routing import connections
from agents.tests.cards import card
from aiagents.core.errors import AppError
from aiagents.core.outbound import guard as outbound


@pytest.fixture(autouse=True)
def _fresh(settings):
    settings.VENDORS = {
        "openai": {"api_key": "sk-env", "base_url": "https://api.openai.com/v1"},
        "anthropic": {"api_key": "", "base_url": "https://api.anthropic.com"},
        "google": {"api_key": "", "base_url": "https://generativelanguage.googleapis.com"},
    }
    connections.invalidate()
    yield
    connections.invalidate()


def save(**fields) -> ProviderConnection:
    made = ProviderConnection.objects.create(
        **(
            {
                "slug": "own",
                "name": "Own",
                "kind": "openai",
                "base_url": "https://llm.example.com/v1",
                "api_key_encrypted": secrets.encrypt("sk-saved"),
            }
            | fields
        )
    )
    connections.invalidate()
    return made


@pytest.mark.django_db
async def test_the_environments_key_serves_until_a_default_connection_is_saved():
    assert (await connections.target(card("m"), 100)).api_key == "sk-env"


@pytest.mark.django_db
async def test_a_default_connection_replaces_the_environment():
    await ProviderConnection.objects.acreate(
        slug="own",
        name="Own",
        kind="openai",
        base_url="https://llm.example.com/v1",
        api_key_encrypted=secrets.encrypt("sk-saved"),
        is_default=True,
    )
    target = await connections.target(card("m"), 100)
    assert (target.api_key, target.base_url, target.connection) == ("sk-saved", "https://llm.example.com/v1", "own")


@pytest.mark.django_db
async def test_a_vendor_without_a_key_is_simulated_only_when_the_simulator_is_on(settings):
    claude = card("claude", provider="anthropic")
    settings.SIMULATOR = False
    with pytest.raises(NotConfigured):
        await connections.target(claude, 100)
    settings.SIMULATOR = True
    target = await connections.target(claude, 100)
    assert target.simulated and target.base_url == settings.SIMULATOR_URL
    with pytest.raises(NotConfigured):
        await connections.target(card("x", connection="missing"), 100)


@pytest.mark.django_db
def test_secrets_are_unreadable_at_rest_and_survive_a_rotation(settings):
    from cryptography.fernet import Fernet
    from django.core.management import call_command

    row = save()
    assert "sk-saved" not in row.api_key_encrypted
    settings.ENCRYPTION_KEYS = [Fernet.generate_key().decode()]
    call_command("rotate_secrets")
    row.refresh_from_db()
    assert secrets.decrypt(row.api_key_encrypted) == "sk-saved"
    settings.SECRET_KEY = "another" * 10
    assert secrets.decrypt(row.api_key_encrypted) == "sk-saved", "the new key alone is enough"
    settings.ENCRYPTION_KEYS = []
    with pytest.raises(secrets.SecretUnreadable):
        secrets.decrypt(row.api_key_encrypted)
    assert secrets.encrypt("") == secrets.decrypt("") == ""


@pytest.mark.django_db
def test_the_admin_never_shows_a_key_and_drops_it_when_the_address_changes(client: Client, monkeypatch):
    monkeypatch.setattr(outbound, "check_url", lambda url, **_: ["93.184.216.34"])
    row = save()
    client.force_login(User.objects.create_superuser("root@example.com", "correct horse battery staple"))
    for page in ("/admin/agents/providerconnection/", f"/admin/agents/providerconnection/{row.pk}/change/"):
        answer = client.get(page)
        assert answer.status_code == 200 and b"sk-saved" not in answer.content and row.api_key_encrypted.encode() not in answer.content
    form = {"name": "Own", "slug": "own", "kind": "openai", "base_url": row.base_url, "enabled": "on", "api_key": ""}
    client.post(f"/admin/agents/providerconnection/{row.pk}/change/", form)
    row.refresh_from_db()
    assert secrets.decrypt(row.api_key_encrypted) == "sk-saved"
    client.post(f"/admin/agents/providerconnection/{row.pk}/change/", form | {"base_url": "https://evil.example.com/v1"})
    row.refresh_from_db()
    assert row.base_url == "https://evil.example.com/v1" and row.api_key_encrypted == ""


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1", "10.0.0.1", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1", "0.0.0.0", "192.0.0.8", "198.18.0.1",
        "224.0.0.1", "240.0.0.1", "::1", "::127.0.0.1", "::ffff:10.0.0.1", "64:ff9b::a00:1", "64:ff9b:1::1", "2001::1", "2002:a00:1::1",
        "fc00::1", "fe80::1", "ff02::1",
    ],
)  # fmt: skip
def test_no_inner_address_counts_as_public(address: str):
    assert not outbound.is_public(address)


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1/", "http://127.1/", "http://2130706433/", "http://0x7f.1/", "http://0177.0.0.1/", "http://[::1]/", "http://[::ffff:127.0.0.1]/",
        "http://localhost/", "ftp://example.com/", "gopher://example.com/", "unix:/tmp/x", "http://user@example.com/", "http://a:b@example.com/",
        "http://exa mple.com/", "http://example.com\\@127.0.0.1/", "http://example.com:22/", "http://example.com\r\n/", "http:///x", "http://[bad/",
    ],
)  # fmt: skip
def test_hostile_urls_are_blocked_however_they_are_spelt(url: str):
    with pytest.raises(outbound.BlockedUrl):
        outbound.check_url(url)


def test_a_private_network_is_reached_only_where_staff_allowed_it_and_metadata_never():
    assert outbound.check_url("http://127.0.0.1:11434/v1", allow_private=True) == ["127.0.0.1"]
    with pytest.raises(AppError):
        outbound.check_url("http://169.254.169.254/latest", allow_private=True)
    assert outbound.is_public("93.184.216.34")
