"""The breaker: what opens it, what never does, how it heals, and what other processes see."""

from __future__ import annotations

import asyncio

import pytest

from agents.providers.errors import ProviderAuthFailed, ProviderBadRequest, ProviderRateLimited, ProviderUnavailable
from agents.routing import health


@pytest.fixture(autouse=True)
def _clean():
    health.reset()
    yield
    health.reset()


def fail(times: int, error=ProviderUnavailable) -> None:
    for _ in range(times):
        health.record("m", "@openai", ok=False, error=error())


def state(name: str = "m") -> str:
    return health.snapshot().get(name, health.HEALTHY).state


def test_failures_in_a_row_open_the_breaker_and_one_success_between_them_does_not():
    fail(4)
    health.record("m", "@openai", ok=True, ttft_ms=100)
    fail(4)
    assert state() == "closed"
    fail(1)
    assert state() == "open"


def test_a_high_share_of_failures_opens_it_too():
    for number in range(12):
        health.record("m", "@openai", ok=number % 3 == 0, error=None if number % 3 == 0 else ProviderUnavailable())
    assert state() == "open"


def test_what_is_old_no_longer_counts_and_only_the_newest_calls_do(monkeypatch):
    now = 1_000_000.0
    monkeypatch.setattr(health.time, "time", lambda: now)
    for _ in range(3):
        fail(1)
        health.record("m", "@openai", ok=True)
    health.snapshot()
    assert health.recent()["m"]["error_rate"] == 0.5
    now += 59
    health.record("m", "@openai", ok=True)
    assert health.recent()["m"]["error_rate"] == round(3 / 7, 3)
    now += 2
    health.record("m", "@openai", ok=True)
    assert health.recent()["m"]["error_rate"] == 0
    fail(1)
    for _ in range(499):
        health.record("m", "@openai", ok=True)
    assert health.recent()["m"]["error_rate"] == round(1 / 500, 3)
    health.record("m", "@openai", ok=True)
    assert health.recent()["m"]["error_rate"] == 0


def test_a_callers_own_mistake_never_counts():
    fail(50, ProviderBadRequest)
    assert state() == "closed" and health.snapshot().get("m", health.HEALTHY).error_rate == 0


def test_our_refused_key_takes_the_whole_connection_out():
    fail(1, ProviderAuthFailed)
    assert state("@openai") == "open" and state() == "closed"
    health.record("other", "@openai", ok=True)
    assert state("@openai") == "closed"


def test_a_rate_limit_is_a_cool_down_as_long_as_the_vendor_requests():
    health.record("m", "@openai", ok=False, error=ProviderRateLimited(retry_after=30))
    assert state() == "open"
    health.record("n", "@openai", ok=False, error=ProviderRateLimited())
    assert state("n") == "closed"


async def test_after_its_time_one_caller_tries_it_and_the_others_wait(monkeypatch):
    fail(5)
    monkeypatch.setattr(health, "states", {name: _expired(one) for name, one in health.states.items()})
    health.invalidate()
    assert state() == "half_open"
    assert [await health.allow("m") for _ in range(3)] == [True, False, False]
    health.record("m", "@openai", ok=True)
    assert state() == "closed" and await health.allow("m")


async def test_a_failed_trial_opens_it_again_at_once(monkeypatch):
    fail(5)
    monkeypatch.setattr(health, "states", {name: _expired(one) for name, one in health.states.items()})
    fail(1)
    assert state() == "open"


async def test_another_process_sees_the_breaker_and_the_measurements():
    fail(5)
    health.record("quick", "@openai", ok=True, ttft_ms=120, output_tokens=100, seconds=1)
    await health.exchange_with_others()
    mine, health.states = health.states, {}
    health.invalidate()
    assert state() == "closed"
    await health.exchange_with_others()
    assert state() == "open"
    assert health.snapshot()["quick"].ttft_ms == 120
    assert health.snapshot()["quick"].tokens_per_second == pytest.approx(100)
    health.states = mine


def test_rolling_means_follow_what_happens_now():
    health.record("m", "@openai", ok=True, ttft_ms=1000, output_tokens=100, seconds=1)
    for _ in range(30):
        health.record("m", "@openai", ok=True, ttft_ms=100, output_tokens=200, seconds=1)
    now = health.snapshot()["m"]
    assert now.ttft_ms is not None and now.ttft_ms < 120
    assert now.tokens_per_second is not None and now.tokens_per_second > 190
    assert health.recent()["m"]["samples"] == 31


async def test_without_valkey_each_process_judges_for_itself(settings, monkeypatch):
    import redis

    class Away:
        def pipeline(self, **_):
            raise redis.ConnectionError("away")

        async def set(self, *_, **__):
            raise redis.ConnectionError("away")

    monkeypatch.setattr(health.valkey, "client", lambda: Away())
    fail(5)
    await asyncio.sleep(0)
    await health.exchange_with_others()
    assert state() == "open"
    monkeypatch.setattr(health, "states", {name: _expired(one) for name, one in health.states.items()})
    assert [await health.allow("m"), await health.allow("m")] == [True, False]


def _expired(one):
    if one.open_until:
        one.open_until = 1.0
    return one
