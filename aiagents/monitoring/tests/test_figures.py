"""What is counted in each process, added up over all of them, kept by the minute and by the hour."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from aiagents.core.errors import InvalidRequest
from aiagents.core.metrics import counters as metrics
from aiagents.core.metrics import counting
from aiagents.core.valkey.clients import sync_client
from aiagents.monitoring import sharing, system
from aiagents.monitoring.models import SystemMetric
from aiagents.monitoring.tasks import sample, sweep_metrics

Span = SystemMetric.Span


@pytest.fixture(autouse=True)
def _nothing_counted():
    counting.reset()
    metrics.reset()
    yield
    counting.reset()
    metrics.reset()


def serve(count: int, seconds: float = 0.004, status: int = 200, path: str = "/api/v1/auth/profile") -> None:
    for _ in range(count):
        counting.request(path, status, seconds)


# --- counting ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "area"),
    [
        ("/", "page"), ("/v1/chat/completions", "v1"), ("/api/v1/chat/send", "chat"), ("/api/v1/made-up/x", "other"), ("/admin/", "office"),
        ("/static/x.js", "static"), ("/health/ready", "system"), ("/api/v1/admin/users", "admin"), ("/wp-login.php", "other"), ("", "page"),
    ],
)  # fmt: skip
def test_a_path_becomes_one_of_few_names(path: str, area: str):
    assert counting.area_of(path) == area


def test_hostile_paths_make_no_new_series():
    for number in range(500):
        counting.request(f"/{number}/x", 404, 0.001)
        counting.request(f"/api/v1/{number}/x", 404, 0.001)
    assert list(counting.requests) == [("other", 404)] and counting.requests["other", 404] == 1000


def test_percentiles_come_from_the_buckets():
    for milliseconds in range(1, 101):
        counting.request("/", 200, milliseconds / 1000)
    found = counting.percentiles(counting.totals().latency)
    assert found["p50_ms"] == pytest.approx(50, abs=2) and found["p95_ms"] == pytest.approx(95, abs=6) and found["p99_ms"] <= 100
    assert counting.percentiles([0] * 26) == {"p50_ms": None, "p95_ms": None, "p99_ms": None}


def test_streams_and_errors_are_counted_and_not_timed():
    counting.request("/v1/messages", 200, 40, streamed=True)
    counting.request("/v1/messages", 200, 40, streamed=True, broke=True)
    counting.request("/v1/messages", 500, 0.01)
    found = counting.totals()
    assert (found.requests, found.errors, sum(found.latency)) == (3, 2, 1)


def test_counting_a_request_costs_next_to_nothing():
    begun = time.process_time()
    serve(20_000)
    assert (time.process_time() - begun) / 20_000 < 20e-6


# --- over several processes -----------------------------------------------------------------------


def two_processes() -> None:
    """This process and another one, both saying what they did."""
    web, other = sharing.Publisher("web"), sharing.Publisher("web")
    web.publish()
    other.publish()
    serve(30)
    serve(2, seconds=0.9, status=503)
    web.publish()
    other.publish()


def test_live_figures_add_up_over_processes(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(counting.gauges, "running_turns", lambda: 3)
    web, other = sharing.Publisher("web"), sharing.Publisher("worker")
    for publisher in (web, other):
        publisher.publish()
    serve(50)
    time.sleep(0.05)  # a rate needs time between two figures
    for publisher in (web, other):
        publisher.publish()
    alive, gone = sharing.living(sync_client().hgetall(sharing.PROCESSES))
    found = sharing.added(alive)
    assert found["processes"] == {"web": 1, "worker": 1} and not gone
    assert found["running_turns"] == 6
    # Both publishers of this process told of the same 50: twice.
    assert found["requests_per_second"] > 5
    assert found["latency"]["p50_ms"] == pytest.approx(4, abs=1)


def test_a_silent_process_is_not_counted_and_forgotten_later(monkeypatch: pytest.MonkeyPatch):
    sharing.Publisher("web").publish()
    raw = sync_client().hgetall(sharing.PROCESSES)
    assert len(sharing.living(raw)[0]) == 1
    now = time.time()
    monkeypatch.setattr(sharing.time, "time", lambda: now + sharing.STALE_SECONDS + 1)
    assert sharing.living(raw) == ([], [])
    monkeypatch.setattr(sharing.time, "time", lambda: now + sharing.DELETE_SECONDS + 1)
    assert len(sharing.living(raw)[1]) == 1


def test_what_was_counted_while_valkey_was_away_is_said_later_and_once(monkeypatch: pytest.MonkeyPatch):
    import redis

    publisher = sharing.Publisher("web")
    serve(5)
    with monkeypatch.context() as away:
        away.setattr(sharing.valkey, "sync_client", lambda: redis.Redis(port=1, socket_connect_timeout=0.1))
        publisher.publish()
    publisher.publish()
    publisher.publish()
    counts = sync_client().hgetall(sharing.minute_key(int(time.time() // 60)))
    assert int(counts[b"requests"]) == 5


# --- kept -----------------------------------------------------------------------------------------


def fill(minute: int, **numbers: int) -> None:
    sync_client().hset(sharing.minute_key(minute), mapping=numbers)


@pytest.mark.django_db
def test_a_sample_keeps_the_minute_that_ended_with_all_its_measures():
    two_processes()
    now = datetime.now(UTC)
    assert system.sample(now + timedelta(minutes=1)) == 1
    row = SystemMetric.objects.get()
    assert row.at == now.replace(second=0, microsecond=0) and row.span == Span.MINUTE
    assert (row.requests, row.errors, sum(row.latency)) == (64, 4, 64)
    assert row.processes == 2
    for name in ("cpu_percent", "memory_used_bytes", "memory_total_bytes", "disk_used_bytes", "database_bytes", "database_ms", "valkey_ms"):
        assert getattr(row, name) is not None, name
    assert row.valkey_bytes > 0 and 0 < row.memory_used_bytes < row.memory_total_bytes
    assert set(row.queues) == set(system.queue_names()) and row.open_holds == 0 and row.held_usd == Decimal(0)


@pytest.mark.django_db
def test_a_sample_is_safe_to_run_twice_and_makes_up_for_missed_minutes():
    now = datetime.now(UTC)
    last = int(now.timestamp() // 60) - 1
    fill(last, requests=7, l3=7)
    fill(last - 4, requests=11, l3=11)
    assert system.sample(now) == 2
    assert system.sample(now) == 0
    missed, sampled = SystemMetric.objects.order_by("at")
    assert (missed.requests, missed.cpu_percent) == (11, None)
    assert (sampled.requests, sampled.cpu_percent is None) == (7, False)


@pytest.mark.django_db
def test_queues_that_wait_are_measured():
    sync_client().rpush("celery", *range(3))
    sync_client().rpush("housekeeping", 1)
    sample()
    row = SystemMetric.objects.get()
    assert row.queues["celery"] == 3 and row.queued == 4


@pytest.mark.django_db
def test_without_valkey_the_rest_is_measured(monkeypatch: pytest.MonkeyPatch):
    import redis

    monkeypatch.setattr(system.valkey, "sync_client", lambda: redis.Redis(port=1, socket_connect_timeout=0.1))
    assert system.sample() == 1
    row = SystemMetric.objects.get()
    assert row.valkey_ms is None and row.database_ms is not None and row.cpu_percent is not None


def minutes(start: datetime, count: int, **values) -> None:
    buckets = [0] * (len(counting.BOUNDS) + 1)
    buckets[5] = 10
    SystemMetric.objects.bulk_create(
        SystemMetric(
            at=start + timedelta(minutes=number),
            requests=10,
            latency=buckets,
            cpu_percent=number % 2 * 100,
            queues={"celery": number},
            **values,
        )
        for number in range(count)
    )


@pytest.mark.django_db
def test_old_minutes_become_hours_and_old_hours_go(settings):
    now = datetime.now(UTC)
    old = (now - timedelta(days=settings.METRICS_DETAIL_DAYS + 1)).replace(minute=0, second=0, microsecond=0)
    minutes(old, 120, open_holds=4, held_usd=Decimal("0.5"))
    minutes(now - timedelta(minutes=30), 10)
    SystemMetric.objects.create(at=now - timedelta(days=settings.METRICS_KEPT_DAYS + 1), span=Span.HOUR)
    assert sweep_metrics() == 121
    hours = list(SystemMetric.objects.filter(span=Span.HOUR).order_by("at"))
    assert [hour.at for hour in hours] == [old, old + timedelta(hours=1)]
    assert (hours[0].requests, hours[0].latency[5], hours[0].cpu_percent) == (600, 600, 50)
    assert (hours[0].queues, hours[0].open_holds, hours[0].held_usd) == ({"celery": 59}, 4, Decimal("0.5"))
    assert SystemMetric.objects.filter(span=Span.MINUTE).count() == 10
    assert sweep_metrics() == 0


@pytest.mark.django_db
def test_history_joins_minutes_and_hours_and_keeps_true_percentiles():
    start = datetime(2026, 3, 1, tzinfo=UTC)
    minutes(start, 90)
    SystemMetric.objects.create(at=start - timedelta(hours=1), span=Span.HOUR, requests=3600, cpu_percent=10, latency=[])
    found = system.history(start - timedelta(hours=2), start + timedelta(hours=2), "hour")
    assert [point["requests"] for point in found["points"]] == [3600, 600, 300]
    before, first, second = found["points"]
    assert before["requests_per_second"] == 1.0 and before["latency"]["p50_ms"] is None
    assert first["at"] == "2026-03-01T00:00:00Z" and first["cpu_percent"] == 50
    assert 7.5 <= first["latency"]["p95_ms"] <= 10
    assert second["requests_per_second"] == pytest.approx(300 / 1800, abs=0.001)
    assert system.history(start, start + timedelta(hours=1))["bucket"] == "minute"
    assert system.history(start, start + timedelta(days=365))["bucket"] == "day"


@pytest.mark.parametrize(("hours", "bucket"), [(1, "second"), (-1, "auto"), (24 * 365, "minute")])
def test_history_refuses_what_it_cannot_answer(hours: int, bucket: str):
    start = datetime(2026, 3, 1, tzinfo=UTC)
    with pytest.raises(InvalidRequest):
        system.history(start, start + timedelta(hours=hours), bucket)


# --- Prometheus -----------------------------------------------------------------------------------


def exposed(name: str) -> float:
    lines = [line for line in metrics.exposition().decode().splitlines() if line.startswith(name)]
    return sum(float(line.rsplit(" ", 1)[1]) for line in lines)


def test_metrics_tell_requests_latency_tokens_cost_and_cache_hits():
    before = {
        name: exposed(name)
        for name in (
            'aiagents_requests_total{area="auth",status="200"}',
            'aiagents_request_seconds_count{area="auth"}',
            "aiagents_request_seconds_sum",
            "aiagents_tokens_total",
            "aiagents_cost_usd_total",
            "aiagents_model_calls_total",
            "aiagents_cache_lookups_total",
        )
    }
    serve(3)
    counting.call("openai", "gpt-x", "ok", 100, 20, Decimal("0.25"))
    counting.call("openai", "gpt-x", "failed", 10, 0, Decimal("0.05"))
    lookups = counting.cache("tests")
    lookups.hits += 4
    lookups.misses += 1
    more = {name: exposed(name) - value for name, value in before.items()}
    assert list(more.values()) == pytest.approx([3, 3, 0.012, 130, 0.3, 2, 5])
    assert {name: exposed(name) - value for name, value in before.items()} == more, "a second scrape counts nothing again"


def test_the_files_of_dead_processes_are_merged_and_no_sum_falls():
    import os
    import subprocess
    import sys
    from pathlib import Path

    folder = Path(os.environ["PROMETHEUS_MULTIPROC_DIR"])
    code = (
        "from aiagents.core.metrics import counters as m; m.REPLAYS.inc(3); m.GAUGES.labels('open_sockets').set(7);"
        "m.LATENCY.labels('chat').observe(0.2)"
    )
    before, timed = exposed("aiagents_replays_total"), exposed('aiagents_request_seconds_count{area="chat"}')
    for _ in range(2):
        subprocess.run([sys.executable, "-c", code], check=True, env=os.environ)
    assert exposed("aiagents_replays_total") == before + 6
    assert exposed("aiagents_replays_total") == before + 6
    assert exposed('aiagents_request_seconds_count{area="chat"}') == timed + 2
    assert exposed('aiagents_now{what="open_sockets"}') == 0, "the dead have no open sockets"
    files = [path.stem for path in folder.glob("*.db")]
    assert "counter_gone" in files
    assert len([name for name in files if name.startswith("counter_")]) < 10
