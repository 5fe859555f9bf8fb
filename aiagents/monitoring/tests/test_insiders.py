"""Metrics and the details of readiness are for the installation's operators, also behind a proxy on the same host."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from accounts import keys
from accounts.models import ApiKey, User
from accounts.sign_in import tokens
from aiagents.core.http.client_address import comes_from
from aiagents.monitoring import health
from aiagents.settings.env import Env

pytestmark = pytest.mark.django_db
STRANGER = "203.0.113.9"
# What proxies, balancers and CDNs add to a request. Any one of them shows that the peer is not the client.
PROXIED = {
    "X-Forwarded-For": STRANGER, "X-Forwarded-Host": "ai.example.com", "X-Forwarded-Proto": "https", "X-Forwarded-Port": "443",
    "X-Forwarded-Server": "edge", "X-Forwarded": f"for={STRANGER}", "Forwarded": f"for={STRANGER}", "Via": "1.1 edge",
    "X-Real-IP": STRANGER, "X-Client-IP": STRANGER, "True-Client-IP": STRANGER, "CF-Connecting-IP": STRANGER, "CDN-Loop": "cloudflare",
    "X-Cluster-Client-IP": STRANGER, "Fastly-Client-IP": STRANGER, "X-Amzn-Trace-Id": "Root=1-2-3", "X-Envoy-External-Address": STRANGER,
}  # fmt: skip
FIGURES = ("latency_ms", "free_bytes", "available_bytes", "vendors", "queues", "last_seen_seconds", "reason")


async def _well() -> health.Finding:
    return health.Finding("ok", {"free_bytes": 1, "vendors": {"openai": {"status": "ok"}}, "queues": {"celery": 1}})


@pytest.fixture(autouse=True)
def _fresh(settings, monkeypatch):
    # Real probes take long on a busy machine; what they find is not the matter here.
    monkeypatch.setattr(health, "registered_probes", dict.fromkeys(("database", "valkey", "worker", "providers"), _well))
    health.forget()
    settings.METRICS_TOKEN, settings.TRUSTED_PROXIES = "scrape-me", []
    yield
    health.forget()


def seen(client, peer: str = "127.0.0.1", **headers: str) -> tuple[bool, bool]:
    """Whether this caller reads the metrics, and the details of readiness. The two refusals are checked here."""
    metrics = client.get("/metrics", headers=headers, REMOTE_ADDR=peer)
    assert metrics.status_code in (200, 401)
    if metrics.status_code == 401:
        assert metrics.json()["error"]["type"] == "not_authenticated" and b"aiagents_" not in metrics.content
        assert metrics.headers["WWW-Authenticate"].startswith("Bearer")
    ready = client.get("/health/ready", headers=headers, REMOTE_ADDR=peer)
    body = ready.json()
    assert (
        ready.status_code == 200
        and {"database", "valkey", "worker"} <= set(body["checks"])
        and body["checks"]["database"]["status"] == "ok"
    )
    details = "latency_ms" in body["checks"]["database"]
    if not details:
        assert not any(word in ready.content.decode() for word in FIGURES), body
        assert all(set(check) == {"status"} for check in body["checks"].values()) and set(body) == {"status", "checks"}
    return metrics.status_code == 200, details


@pytest.mark.parametrize("peer", ["127.0.0.1", "127.8.8.8", "::1", "::ffff:127.0.0.1"])
def test_loopback_reads_both(client, peer):
    assert seen(client, peer) == (True, True)


@pytest.mark.parametrize("peer", [STRANGER, "10.0.0.9", "192.168.1.1", "2001:db8::1", "::ffff:203.0.113.9", "", "garbage"])
def test_another_address_reads_neither(client, peer):
    assert seen(client, peer) == (False, False)


@pytest.mark.parametrize("name", PROXIED)
@pytest.mark.parametrize("value", ["as it is", "127.0.0.1", ""])
def test_what_a_proxy_passed_on_does_not_count_as_the_proxys(client, name, value):
    sent = PROXIED[name] if value == "as it is" else value
    assert seen(client, "127.0.0.1", **{name: sent}) == (False, False), "strangers behind a proxy on this host became local"


def test_a_proxy_in_a_listed_network_makes_nobody_an_insider(client, settings):
    settings.METRICS_NETWORKS = ["10.0.0.0/8"]
    assert seen(client, "10.0.0.9") == (True, True)
    assert seen(client, "127.0.0.1") == (False, False)
    assert seen(client, "10.0.0.9", **{"X-Forwarded-For": STRANGER}) == (False, False)
    assert seen(client, "10.0.0.9", **{"X-Forwarded-For": "10.0.0.8"}) == (False, False), "nobody has named this proxy"


def test_behind_a_trusted_proxy_the_clients_own_address_counts(client, settings):
    settings.TRUSTED_PROXIES, settings.METRICS_NETWORKS = ["127.0.0.1", "10.1.0.0/16"], ["127.0.0.0/8", "10.2.0.0/16"]
    assert seen(client, "127.0.0.1", **{"X-Forwarded-For": STRANGER}) == (False, False)
    assert seen(client, "127.0.0.1", **{"X-Forwarded-For": f"10.2.0.5, {STRANGER}"}) == (False, False), "the client wrote the first itself"
    assert seen(client, "127.0.0.1", **{"X-Forwarded-For": "10.2.0.5"}) == (True, True)
    assert seen(client, "10.1.0.1", **{"X-Forwarded-For": "10.2.0.5, 10.1.0.7"}) == (True, True)
    assert seen(client, "127.0.0.1", **{"X-Real-IP": "10.2.0.5"}) == (False, False), "this proxy forwarded no address that we read"
    for unknown in ("unknown", "10.2.0.5, unknown", "_hidden", ", ,", "10.2.0.5, -, 10.1.0.7"):
        assert seen(client, "127.0.0.1", **{"X-Forwarded-For": unknown}) == (False, False), "the proxy does not say who asks"


def test_the_token_opens_both_from_anywhere(client):
    for headers in ({}, {"X-Forwarded-For": STRANGER, "Via": "1.1 edge"}):
        assert seen(client, STRANGER, Authorization="Bearer scrape-me", **headers) == (True, True)
    for wrong in ("Bearer scrape", "Bearer scrape-me ", "scrape-me", "Bearer ", "Basic scrape-me", "Bearer scrape-mé"):
        assert seen(client, STRANGER, Authorization=wrong) == (False, False), wrong


@pytest.mark.parametrize("offered", ["", "Bearer ", "Bearer None", "Bearer"])
def test_without_a_token_in_the_settings_none_opens_anything(client, settings, offered):
    settings.METRICS_TOKEN = ""
    assert seen(client, STRANGER, Authorization=offered) == (False, False)


def test_staff_read_the_details_of_readiness_and_others_do_not(client, django_user_model):
    def made(name: str, **rights: object) -> tuple[User, str]:
        user = User.objects.create_user(f"{name}@example.com", "correct horse battery staple", **rights)
        return user, tokens.sign_in(user).access

    admin, admin_token = made("admin", role=User.Role.ADMIN)
    _, support_token = made("support", is_staff=True)
    user, user_token = made("user")
    admin_key = keys.create(admin, name="all", scopes=ApiKey.Scope.values)[1]
    for token, details in ((admin_token, True), (support_token, True), (user_token, False), (admin_key, False), ("a.b.c", False)):
        assert seen(client, STRANGER, Authorization=f"Bearer {token}") == (False, details)
    client.force_login(admin)
    assert seen(client, STRANGER) == (False, True)
    client.force_login(user)
    assert seen(client, STRANGER) == (False, False)


def test_readiness_answers_while_staff_cannot_be_recognised(client, monkeypatch):
    from aiagents.monitoring import insiders

    async def away(request: object) -> bool:
        raise ConnectionError("no database")

    async def hangs(request: object) -> bool:
        import asyncio

        await asyncio.sleep(60)
        return True

    monkeypatch.setattr(insiders, "STAFF_SECONDS", 0.05)
    for check in (away, hangs):
        monkeypatch.setattr(insiders, "registered_staff_check", check)
        assert seen(client, STRANGER, Authorization="Bearer x.y.z") == (False, False)


def test_no_network_at_all_is_a_word_and_a_wrong_one_stops_the_start(settings):
    assert Env(_env_file=None, metrics_networks="none").metrics_networks == []
    assert Env(_env_file=None, metrics_networks="10.0.0.0/8, ::1").metrics_networks == ["10.0.0.0/8", "::1"]
    for wrong in ("localhost", "10.0.0.0/99", "*", "none,127.0.0.1"):
        with pytest.raises(ValidationError):
            Env(_env_file=None, metrics_networks=wrong)
    settings.TRUSTED_PROXIES = []
    assert not comes_from("127.0.0.1", {}, [])
