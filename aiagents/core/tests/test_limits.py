"""The sliding window, in Valkey and without it."""

from __future__ import annotations

import asyncio
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from aiagents.core.http.client_address import bucket_ip, client_ip
from aiagents.core.ratelimit import sliding_window as ratelimit
from aiagents.core.ratelimit.sliding_window import Rule, hit, hit_all, hit_all_sync, hit_sync
from aiagents.core.valkey import pipeline


async def test_a_burst_over_the_edge_of_a_window_stays_within_the_limit():
    admitted: list[tuple[float, float]] = []  # asked, told: it was admitted between the two
    begun = time.monotonic()
    while (asked := time.monotonic()) - begun < 2.6:
        if (await hit("edge", 10, 1)).allowed:
            admitted.append((asked, time.monotonic()))
        await asyncio.sleep(0.01)  # the pace of the requests
    # The tenth after any one came a second after it at the soonest.
    assert min(later[1] - earlier[0] for earlier, later in zip(admitted, admitted[10:], strict=False)) >= 0.999
    assert len(admitted) >= 20


def test_threads_and_loops_share_one_exact_window():
    def loop() -> int:
        async def all_at_once() -> int:
            return sum(verdict.allowed for verdict in await asyncio.gather(*(hit("shared", 100, 60) for _ in range(50))))

        return asyncio.run(all_at_once())

    def plain() -> int:
        return sum(hit_sync("shared", 100, 60).allowed for _ in range(50))

    with ThreadPoolExecutor(4) as pool:
        results = [pool.submit(work) for work in (loop, plain, loop, plain)]
        assert sum(result.result() for result in results) == 100


async def test_a_hit_counts_in_all_buckets_or_in_none():
    narrow, wide = Rule("narrow", 1, 60), Rule("wide", 3, 60)
    first = await hit_all([wide, narrow])
    assert first.allowed and (first.limit, first.remaining) == (1, 0)
    refused = await hit_all([wide, narrow])
    assert not refused.allowed and refused.limit == 1 and 58 <= (refused.retry_after or 0) <= 60
    assert (await hit_all([wide])).remaining == 1
    assert hit_all_sync([wide]).remaining == 0
    assert (await hit_all([wide, narrow])).retry_after


async def test_a_costly_hit_needs_all_its_room():
    assert (await hit("cost", 10, 60, cost=7)).remaining == 3
    assert not (await hit("cost", 10, 60, cost=4)).allowed
    assert (await hit("cost", 10, 60, cost=3)).remaining == 0


@pytest.fixture
def no_valkey(settings: Any):
    settings.REDIS_URL = "unix:///nowhere/valkey.sock"
    pipeline.lines_by_loop.clear()
    ratelimit.breaker_client.cache_clear()
    yield
    pipeline.lines_by_loop.clear()
    ratelimit.breaker_client.cache_clear()


async def test_without_valkey_the_process_keeps_the_same_window_and_says_so_once(no_valkey: None, caplog: Any):
    verdicts = [await hit("alone", 5, 60) for _ in range(4)] + [hit_sync("alone", 5, 60) for _ in range(4)]
    assert [verdict.allowed for verdict in verdicts] == [True] * 5 + [False] * 3
    assert 58 <= (verdicts[-1].retry_after or 0) <= 60 and verdicts[4].remaining == 0
    assert caplog.text.count("Valkey is unavailable") == 1


async def test_a_valkey_that_hangs_costs_little_and_is_found_again(settings: Any, tmp_path: Any, monkeypatch: Any):
    async def silent(reader: Any, writer: Any) -> None:
        await asyncio.sleep(5)  # a server that hangs

    path = str(tmp_path / "s")
    server = await asyncio.start_unix_server(silent, path)
    real, settings.REDIS_URL = settings.REDIS_URL, f"unix://{path}"
    pipeline.lines_by_loop.clear()
    await hit("hung", 100, 60)  # learns it
    begun = time.perf_counter()
    for _ in range(50):
        assert (await hit("hung", 100, 60)).allowed
    assert time.perf_counter() - begun < 1.5
    server.close()
    settings.REDIS_URL = real
    pipeline.lines_by_loop.clear()
    monkeypatch.setattr(ratelimit.valkey_breaker, "_probe_at", 0)
    assert (await hit("hung", 100, 60)).remaining == 99
    assert not ratelimit.valkey_breaker._away


async def test_a_caller_that_gives_up_does_not_shift_the_replies_of_others():
    line = pipeline.line()
    await line.call("PING")

    async def ask(number: int) -> None:
        wanted = b"answer-%d" % number
        try:
            async with asyncio.timeout(0.0005 if number % 3 else 5):
                assert await line.call("ECHO", wanted) == wanted
        except TimeoutError:
            pass

    for _ in range(20):
        await asyncio.gather(*(ask(number) for number in range(100)))


def test_local_windows_are_bounded_and_exact_under_threads(monkeypatch: Any):
    monkeypatch.setattr(ratelimit, "MAX_LOCAL", 50)
    windows = ratelimit.LocalWindows()
    admitted = []

    def work() -> None:
        for number in range(100):
            windows.hit([Rule(f"other-{number}", 1, 60)], 1)
            admitted.append(windows.hit([Rule("one", 30, 60)], 1).allowed)

    threads = [threading.Thread(target=work) for _ in range(4)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    assert sum(admitted) == 30 and len(windows._hits) <= 50


@pytest.mark.parametrize(
    ("peer", "forwarded", "proxies", "wanted"),
    [
        ("203.0.113.9", "6.6.6.6", [], "203.0.113.9"),
        ("203.0.113.9", "6.6.6.6", ["10.0.0.0/8"], "203.0.113.9"),
        ("10.0.0.1", "6.6.6.6, 203.0.113.9", ["10.0.0.0/8"], "203.0.113.9"),
        ("10.0.0.1", "6.6.6.6, 203.0.113.9, 10.0.0.7", ["10.0.0.0/8"], "203.0.113.9"),
        ("10.0.0.1", "203.0.113.9:4711", ["10.0.0.0/8"], "203.0.113.9"),
        ("10.0.0.1", "[2001:db8::1]:4711", ["10.0.0.0/8"], "2001:db8::1"),
        ("10.0.0.1", "garbage", ["10.0.0.0/8"], "10.0.0.1"),
        ("10.0.0.1", "6.6.6.6, <script>", ["10.0.0.0/8"], "10.0.0.1"),
        ("10.0.0.1", "", ["10.0.0.0/8"], "10.0.0.1"),
        ("::ffff:10.0.0.1", "203.0.113.9", ["10.0.0.0/8"], "203.0.113.9"),
        ("", "203.0.113.9", ["unix"], "203.0.113.9"),
        ("", "203.0.113.9", ["10.0.0.0/8"], ""),
    ],
)
def test_the_client_is_the_right_most_address_that_is_no_proxy(peer: str, forwarded: str, proxies: list, wanted: str, settings: Any):
    settings.TRUSTED_PROXIES = proxies
    assert client_ip(peer, {"x-forwarded-for": forwarded, "x-real-ip": "7.7.7.7", "forwarded": "for=7.7.7.7"}) == wanted


def test_an_ipv6_network_is_one_bucket():
    assert bucket_ip("2001:db8:1:2:3::4") == bucket_ip("2001:db8:1:2::9") != bucket_ip("2001:db8:1:3::4")
    assert bucket_ip("::ffff:192.0.2.1") == bucket_ip("192.0.2.1") == "192.0.2.1"
