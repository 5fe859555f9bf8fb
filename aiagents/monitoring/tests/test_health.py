"""Health says what is down, quickly and without secrets; metrics add up over processes."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import time

import pytest

from aiagents.core import draining
from aiagents.core.metrics import counters as metrics
from aiagents.core.valkey.clients import sync_client
from aiagents.monitoring import health, supervised, system
from aiagents.monitoring.tasks import HEARTBEAT, heartbeat
from tests.kit import catalogue as installed_catalogue

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _fresh():
    health.forget()
    yield
    health.forget()
    draining.reset()


def ready(client) -> tuple[int, dict]:
    health.forget()
    answer = client.get("/health/ready")
    return answer.status_code, json.loads(answer.content)


def test_everything_up_is_ok_with_latencies(client):
    for queue in system.queue_names():
        heartbeat(queue)
    sync_client().set(health.HEARTBEATS["beat"], time.time())
    code, body = ready(client)
    assert (code, body["status"]) == (200, "ok"), body
    assert {"database", "valkey", "worker", "beat", "providers", "disk", "memory"} <= set(body["checks"])
    assert all(isinstance(check["latency_ms"], float) for check in body["checks"].values())


def test_without_worker_and_beat_it_is_degraded_but_ready(client):
    code, body = ready(client)
    assert (code, body["status"]) == (200, "degraded")
    assert body["checks"]["worker"]["status"] == body["checks"]["beat"]["status"] == "down"


def test_in_the_first_seconds_of_the_server_workers_are_starting_and_then_down(client, monkeypatch):
    monkeypatch.setattr(health, "began_at", None)
    health.begin()
    sync_client().set(health.HEARTBEATS["worker"], time.time() - health.STALE_SECONDS - 1)  # of the run before
    code, body = ready(client)
    assert (code, body["status"]) == (200, "starting"), body
    assert body["checks"]["worker"]["status"] == body["checks"]["beat"]["status"] == "starting"
    monkeypatch.setattr(health, "began_at", time.monotonic() - health.STARTING_SECONDS)
    code, body = ready(client)
    assert (code, body["status"]) == (200, "degraded")
    assert body["checks"]["worker"]["status"] == body["checks"]["beat"]["status"] == "down"


def test_what_is_done_about_an_embedded_server_stands_beside_its_check(client, settings, tmp_path):
    settings.DATA_DIR = tmp_path
    supervised.write(tmp_path, "valkey", "restarting", 2)
    assert ready(client)[1]["checks"]["valkey"]["server"] | {"since": ""} == {"state": "restarting", "since": "", "restarts": 2}
    supervised.clear(tmp_path)
    assert "server" not in ready(client)[1]["checks"]["valkey"]


def test_an_old_heartbeat_counts_as_down(client):
    sync_client().set(health.HEARTBEATS["worker"], time.time() - health.STALE_SECONDS - 1)
    assert ready(client)[1]["checks"]["worker"]["status"] == "down"


def test_a_queue_that_nobody_serves_is_named(client):
    heartbeat()
    code, body = ready(client)
    worker = body["checks"]["worker"]
    assert code == 200 and worker["status"] == "degraded"
    assert worker["queues"]["celery"] is not None and worker["queues"]["housekeeping"] is None


def test_only_beats_publishing_is_beats_sign_of_life():
    from celery import current_app

    assert sync_client().get(health.HEARTBEATS["beat"]) is None
    current_app.send_task(HEARTBEAT)
    assert sync_client().get(health.HEARTBEATS["beat"]) is not None
    assert sync_client().get(health.HEARTBEATS["worker"]) is None


@pytest.mark.parametrize("name", sorted(health.NEEDED))
def test_a_needed_part_that_is_down_makes_it_503_and_tells_no_secret(client, monkeypatch, name):
    async def away() -> health.Finding:
        raise ConnectionError("could not connect to host db.internal as user root with password hunter2")

    monkeypatch.setitem(health.registered_probes, name, away)
    code, body = ready(client)
    assert (code, body["status"]) == (503, "down")
    assert body["checks"][name] | {"latency_ms": 0} == {"status": "down", "reason": "ConnectionError", "latency_ms": 0}


def test_a_probe_that_hangs_costs_its_time_out_and_no_more(client, monkeypatch):
    async def hangs() -> health.Finding:
        await asyncio.sleep(60)
        return health.Finding("ok")

    monkeypatch.setattr(health, "PROBE_SECONDS", 0.2)
    monkeypatch.setitem(health.registered_probes, "disk", hangs)
    begun = time.monotonic()
    code, body = ready(client)
    assert time.monotonic() - begun < 20
    assert code == 200 and body["checks"]["disk"]["status"] == "down"


def test_asking_often_probes_once(client, monkeypatch):
    calls = []

    async def counted() -> health.Finding:
        calls.append(1)
        return health.Finding("ok")

    monkeypatch.setitem(health.registered_probes, "disk", counted)
    for _ in range(5):
        client.get("/health/ready")
    assert len(calls) == 1


def test_a_draining_process_is_not_ready_but_alive(client):
    draining.begin()
    assert ready(client)[0] == 503
    assert client.get("/health").status_code == 200


def test_metrics_name_every_counted_promise(client):
    metrics.HOLDS.inc()
    text = client.get("/metrics").content.decode()
    for name in ("holds", "swept_holds", "interrupted_turns", "fallbacks", "replays", "denied"):
        assert f"aiagents_{name}_total" in text


def test_metrics_of_other_processes_are_added(client):
    def replays() -> float:
        lines = client.get("/metrics").content.decode().splitlines()
        return float(next(line for line in lines if line.startswith("aiagents_replays_total")).split()[1])

    metrics.REPLAYS.inc()
    before = replays()
    code = "from aiagents.core.metrics import counters as metrics; metrics.REPLAYS.inc(3)"
    subprocess.run([sys.executable, "-c", code], check=True, env=os.environ)
    assert replays() == before + 3


def test_the_installation_says_what_it_is(client, settings):
    settings.SIMULATOR = True
    settings.VENDORS = {"openai": {"api_key": "", "base_url": ""}, "google": {"api_key": "real", "base_url": ""}}
    body = client.get("/api/v1/system/info").json()
    assert body["name"] == "aiagents"
    assert body["simulated_vendors"] == ["openai"]
    assert body["limits"]["max_body_bytes"] == settings.MAX_BODY_BYTES
    assert "real" not in json.dumps(body)


@pytest.mark.parametrize("path", ["/nothing/here", "/api/v1/nothing"])
def test_what_is_not_there_is_404_in_our_shape(client, path):
    answer = client.get(path)
    assert answer.status_code == 404
    assert answer.json()["error"]["type"] == "not_found"


def test_the_documents_are_served_without_another_host(client):
    page = client.get("/docs").content.decode()
    assert "swagger" in page.lower()
    assert "https://" not in page.replace("https://github.com", "")
    assert client.get("/api/schema/").status_code == 200


# --- vendors --------------------------------------------------------------------------------------


@pytest.fixture
def breakers(db):

    from agents.routing import health as found

    installed_catalogue.load()
    found.reset()
    yield found
    found.reset()


def vendors(client) -> dict:
    code, body = ready(client)
    assert code == 200, "a vendor that is down takes no process out of the balancer"
    return body["checks"]["providers"]


def test_each_vendor_stands_there_with_its_recent_outcomes(client, breakers):
    from agents.providers.errors import ProviderAuthFailed, ProviderUnavailable

    breakers.record("gpt-4o-mini", "@openai", ok=True, ttft_ms=200, output_tokens=50, seconds=1)
    found = vendors(client)
    assert found["status"] == "ok"
    assert found["vendors"]["openai"] | {"simulated": False} == {
        "status": "ok", "latency_ms": 200, "error_rate": 0.0, "samples": 1, "open": [], "simulated": False,
    }  # fmt: skip
    assert found["vendors"]["anthropic"]["status"] == found["vendors"]["google"]["status"] == "idle"

    for _ in range(5):
        breakers.record("gpt-4o", "@openai", ok=False, error=ProviderUnavailable())
    found = vendors(client)
    assert found["status"] == found["vendors"]["openai"]["status"] == "degraded"
    assert found["vendors"]["openai"]["open"] == ["gpt-4o"]

    breakers.record("gemini-2.5-flash", "@google", ok=False, error=ProviderAuthFailed())
    assert vendors(client)["vendors"]["google"]["status"] == "down"
