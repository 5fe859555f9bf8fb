"""What a vendor can do wrong, at every vendor: typed, in time, nothing left behind, what was said is kept."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import resource
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from agents.providers import errors, provider, transport
from agents.providers.errors import (
    ContextTooLong,
    ProviderAuthFailed,
    ProviderBadRequest,
    ProviderBadResponse,
    ProviderModelMissing,
    ProviderOverloaded,
    ProviderQuotaExhausted,
    ProviderRateLimited,
    ProviderTimeout,
    ProviderTruncated,
    ProviderUnavailable,
)
from agents.simulator import Simulator
from agents.tests.vendors import KEY, KINDS, VENDORS, WEATHER, Heard, ask, hear, target
from tests.kit.waiting import until

both = pytest.mark.parametrize("whole", [False, True], ids=["stream", "whole"])
every_kind = pytest.mark.parametrize("kind", KINDS)
every_vendor = pytest.mark.parametrize("kind", VENDORS)


async def fault(sim: Simulator, kind: str, directive: str, whole: bool = False, into: Heard | None = None) -> errors.ProviderError:
    """The error that a fault becomes."""
    tools = (WEATHER,) if "tool" in directive else ()
    with pytest.raises(errors.ProviderError) as caught:
        await hear(kind, ask(f"[[sim:{directive}]] hi", tools=tools), target(sim, kind), whole=whole, into=into)
    assert caught.value.details["vendor"] == kind
    return caught.value


@asynccontextmanager
async def connected_simulator(kind: str) -> AsyncIterator[Simulator]:
    """A simulator with an open, idle connection: what comes next measures the vendor's time only, not that of a first call."""
    async with Simulator() as sim:
        await hear(kind, ask("[[sim:chunks=1]] hi"), target(sim, kind))
        assert sim.open_connections == 1
        sim.requests.clear()
        yield sim


@both
@pytest.mark.parametrize(
    ("directive", "expected"),
    [
        ("400", ProviderBadRequest), ("400,context", ContextTooLong), ("401", ProviderAuthFailed), ("403", ProviderAuthFailed),
        ("404", ProviderModelMissing), ("408", ProviderTimeout), ("409", ProviderUnavailable), ("413", ProviderBadRequest),
        ("422", ProviderBadRequest), ("429", ProviderRateLimited), ("500", ProviderUnavailable), ("502", ProviderUnavailable),
        ("502,html", ProviderUnavailable), ("503", ProviderOverloaded), ("504", ProviderTimeout), ("529", ProviderOverloaded),
        ("429,quota", ProviderQuotaExhausted), ("402", ProviderQuotaExhausted), ("302", ProviderBadResponse),
        ("refuse", ProviderUnavailable), ("redirect", ProviderBadResponse), ("html", ProviderBadResponse), ("empty", ProviderBadResponse),
        ("gzip", ProviderBadResponse), ("badutf8", ProviderBadResponse), ("badjson", ProviderBadResponse),
        ("tools=1000", ProviderBadResponse),
    ],
)  # fmt: skip
async def test_each_fault_has_its_own_error_at_every_vendor(whole: bool, directive: str, expected: type):
    async with Simulator() as sim:
        for number, kind in enumerate(KINDS, 1):
            error = await fault(sim, kind, directive, whole)
            assert type(error) is expected, kind
            assert len(sim.requests) == number, kind  # agents/calls retries
            assert error.__suppress_context__ or error.__cause__ is None or KEY not in repr(error.__cause__), kind


@both
@pytest.mark.parametrize(("kind", "directive"), [("anthropic", "400,quota"), ("anthropic", "429,quota"), ("google", "429,quota")])
async def test_an_account_out_of_credit_is_distinguished_from_a_busy_vendor(kind: str, directive: str, whole: bool):
    async with Simulator() as sim:
        error = await fault(sim, kind, directive, whole)
    assert type(error) is ProviderQuotaExhausted and not error.retryable and error.retry_after is None and error.opens_breaker


async def test_a_key_that_google_calls_a_bad_request_is_our_key():
    async with Simulator() as sim:
        assert type(await fault(sim, "google", "400,badkey")) is ProviderAuthFailed


@every_kind
@pytest.mark.parametrize(
    ("wait", "low", "high"),
    [("1", 1, 1), ("none", None, None), ("date", 0.5, 3), ("-1", None, None), ("1e9", 1e9, 1e9), ("soon", None, None)],
)
async def test_the_vendors_wish_to_wait_is_read(kind: str, wait: str, low: float | None, high: float | None):
    async with Simulator() as sim:
        error = await fault(sim, kind, f"429,retry-after={wait}")
    assert type(error) is ProviderRateLimited and error.retryable
    assert error.retry_after is None if low is None or high is None else low <= (error.retry_after or 0) <= high


@both
@every_kind
@pytest.mark.parametrize("status", [400, 401, 403, 429, 500])
async def test_no_error_shows_our_key_or_an_address(kind: str, status: int, whole: bool):
    async with Simulator() as sim:
        error = await fault(sim, kind, f"{status},leak", whole)
    shown = f"{error.message} {error.details} {error!r} {error.__cause__!r}"
    assert KEY not in shown and "internal.example" not in shown


@every_vendor
@pytest.mark.parametrize(
    ("directive", "expected"), [("eof", ProviderTruncated), ("half", ProviderTruncated), ("cut", ProviderTruncated), ("error", None)]
)
@pytest.mark.parametrize("at", range(1, 7))
async def test_a_broken_stream_is_recognised_at_every_event_and_its_text_is_kept(kind: str, directive: str, expected: type | None, at: int):
    async with Simulator() as sim:
        heard = Heard()
        error = await fault(sim, kind, f"chunks=7,{directive},at={at}", into=heard)
        whole = (await hear(kind, ask("[[sim:chunks=7]] hi"), target(sim, kind))).text
    if expected is None:
        assert isinstance(error, ProviderUnavailable | ProviderOverloaded) and error.details["vendor_type"]
    elif directive == "half" and at == 1:
        assert isinstance(error, ProviderTruncated | ProviderBadResponse)  # nothing whole ever came
    else:
        assert type(error) is expected and error.retryable
    lead = {"openai": 1, "anthropic": 3, "google": 0}[kind]
    pieces = max(0, at - lead - (directive == "half"))
    assert whole.startswith(heard.text)
    assert heard.text.count(" ") == pieces


@every_vendor
async def test_a_connection_dropped_after_the_terminal_mark_is_a_whole_answer(kind: str):
    """OpenAI's finish reason and Gemini's come before their last words; Anthropic's mark is its last word."""
    last = {"openai": 8, "anthropic": 12, "google": 6}[kind]
    async with Simulator() as sim:
        heard = await hear(kind, ask(f"[[sim:chunks=6,cut,at={last}]] hi"), target(sim, kind))
    assert heard.end.finish_reason == "stop" and heard.text.count(" ") == 6


@every_vendor
async def test_a_vendor_that_stays_connected_after_its_last_event_does_not_delay_the_answer(kind: str):
    last = {"openai": 10, "anthropic": 12, "google": 6}[kind]
    began = time.monotonic()
    async with Simulator() as sim:
        heard = await hear(kind, ask(f"[[sim:chunks=6,stall,at={last}]] hi"), target(sim, kind))
        await until(lambda: sim.requests[0].client_gone)
    assert heard.end.finish_reason == "stop"
    assert time.monotonic() - began < 15


@every_vendor
@pytest.mark.parametrize("directive", ["malformed,pace=5", "badutf8,pace=5", "badjson,pace=5", "huge,pace=5"])
async def test_garbage_in_mid_stream_is_an_error_and_the_text_before_it_is_kept(kind: str, directive: str):
    async with Simulator() as sim:
        heard = Heard()
        error = await fault(sim, kind, f"chunks=8,{directive},at=6", into=heard)
        await until(lambda: sim.busy_connections == 0)
    assert isinstance(error, ProviderTruncated | ProviderBadResponse)
    assert heard.text


@both
@every_vendor
async def test_memory_is_bounded_whatever_comes(kind: str, whole: bool):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    async with Simulator() as sim:
        assert type(await fault(sim, kind, "huge,bytes=40000000", whole)) is ProviderBadResponse
    # The simulator itself holds the event four times in this process (as bytes, framed, joined, in the socket's buffer).
    assert (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024 < 4 * 40 + 64


@both
@every_vendor
@pytest.mark.parametrize("directive", ["hang", "slow-first=30", "stall,at=0"])
async def test_silence_before_the_first_event_ends_in_time(settings, kind: str, whole: bool, directive: str):
    if whole and directive.startswith("stall"):
        directive = "stall"
    async with connected_simulator(kind) as sim:
        settings.LLM_FIRST_TOKEN_TIMEOUT, settings.LLM_WHOLE_SECONDS_PER_TOKEN = 0.2, 0.0
        began = time.monotonic()
        error = await fault(sim, kind, directive, whole)
        took = time.monotonic() - began
        await until(lambda: sim.open_connections == 0)
        assert all(seen.client_gone for seen in sim.requests)
    assert type(error) is ProviderTimeout and error.details["phase"] == ("total" if whole else "first_token")
    assert 0.15 < took < 20


@every_vendor
@pytest.mark.parametrize("directive", ["stall,chunks=20,pace=10", "drip,chunks=20,pace=60"])
async def test_silence_and_a_drip_of_bytes_in_mid_stream_end_in_time(settings, kind: str, directive: str):
    """A byte now and then is no sign of life: only a complete event is."""
    async with connected_simulator(kind) as sim:
        if "stall" in directive:
            settings.LLM_IDLE_TIMEOUT = 0.3
        else:
            settings.LLM_FIRST_TOKEN_TIMEOUT = 0.3
        began = time.monotonic()
        heard = Heard()
        error = await fault(sim, kind, directive, into=heard)
        await until(lambda: sim.open_connections == 0)
    assert type(error) is ProviderTimeout
    assert error.details["phase"] == ("idle" if "stall" in directive else "first_token")
    assert bool(heard.text) is ("stall" in directive)
    assert time.monotonic() - began < 20


@every_vendor
async def test_the_whole_call_has_an_end(settings, kind: str):
    async with connected_simulator(kind) as sim:
        settings.LLM_TOTAL_TIMEOUT = 0.4
        heard = Heard()
        error = await fault(sim, kind, "chunks=1000,pace=20", into=heard)
        await until(lambda: sim.open_connections == 0)
    assert error.details["phase"] == "total" and heard.text


async def test_a_slow_reader_is_not_a_silent_vendor(settings):
    settings.LLM_IDLE_TIMEOUT = 0.1
    async with Simulator() as sim:
        got = []
        async for event in provider("openai").stream(ask("[[sim:chunks=4,pace=30]] hi"), target(sim, "openai")):
            got.append(event)
            await asyncio.sleep(0.25)  # a slow reader
    assert Heard(got).end.finish_reason == "stop"


@every_vendor
async def test_what_arrived_before_the_cut_is_not_lost_to_a_slow_reader(kind: str):
    async with Simulator() as sim:
        heard = Heard()
        with pytest.raises(ProviderTruncated):
            async for event in provider(kind).stream(ask("[[sim:die:6,chunks=9,pace=5]] hi"), target(sim, kind)):
                heard.append(event)
                if len(heard) == 1:
                    await asyncio.sleep(0.3)  # a slow reader
    assert heard.text.count(" ") == 6


async def test_keep_alive_comments_are_a_sign_of_life_but_no_first_token(settings):
    settings.LLM_IDLE_TIMEOUT = 0.3
    async with Simulator() as sim:
        heard = await hear("openai", ask("[[sim:comments,chunks=4,pace=100]] hi"), target(sim, "openai"))
    assert heard.text


@every_vendor
async def test_a_connection_that_cannot_be_made_fails_in_time(settings, kind: str):
    settings.LLM_CONNECT_TIMEOUT = 0.3
    async with Simulator() as sim:
        closed = target(sim, kind)
    began = time.monotonic()
    with pytest.raises(ProviderUnavailable):
        await hear(kind, ask("hi"), closed)
    assert time.monotonic() - began < 10


@every_vendor
async def test_a_connect_that_hangs_is_a_connect_time_out(settings, kind: str):
    """A listener whose queue is full takes no further connection."""
    import socket

    settings.LLM_CONNECT_TIMEOUT = 0.2
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        waiting = []
        for _ in range(3):
            filler = socket.socket()
            filler.setblocking(False)
            filler.connect_ex(listener.getsockname())
            waiting.append(filler)
        sim = Simulator()
        sim.port = listener.getsockname()[1]
        with pytest.raises(ProviderTimeout) as caught:
            await hear(kind, ask("hi"), target(sim, kind))
        for filler in waiting:
            filler.close()
    assert caught.value.details["phase"] == "connect"


@every_vendor
async def test_an_address_that_is_none_is_an_error_not_a_crash(kind: str):
    sim = Simulator()
    for url in ("http://127.0.0.1:1/v1", "ftp://127.0.0.1/v1"):
        where = target(sim, kind)
        object.__setattr__(where, "base_url", url)
        with pytest.raises(ProviderUnavailable):
            await hear(kind, ask("hi"), where)


@every_vendor
@pytest.mark.parametrize("how", ["aclose", "cancel", "cancel_before"])
async def test_leaving_closes_the_vendors_connection_at_once(kind: str, how: str):
    async with Simulator() as sim:
        before = asyncio.all_tasks()
        events = provider(kind).stream(ask("[[sim:chunks=500,pace=20]] hi"), target(sim, kind))
        if how == "aclose":
            await anext(events)
            await anext(events)
            await events.aclose()
        else:
            task = asyncio.create_task(_read(events, forever=True))
            await until(lambda: len(sim.requests) == 1 and (how == "cancel_before" or sim.requests[0].sent > 3))
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
        await until(lambda: sim.requests[0].client_gone)
        await until(lambda: sim.open_connections == 0)
        await asyncio.sleep(0)
        assert asyncio.all_tasks() == before


async def _read(events, forever: bool = False) -> list:
    return [event async for event in events]


@every_vendor
async def test_cancelled_between_two_events_it_closes_when_the_generator_is_closed(kind: str):
    async with Simulator() as sim:
        events = provider(kind).stream(ask("[[sim:chunks=500,pace=5]] hi"), target(sim, kind))
        await anext(events)
        await asyncio.sleep(0.1)  # the consumer is busy elsewhere
        await events.aclose()
        await until(lambda: sim.requests[0].client_gone)


@every_vendor
async def test_a_hundred_faulty_calls_leave_no_task_and_no_socket(settings, kind: str):
    settings.LLM_FIRST_TOKEN_TIMEOUT, settings.LLM_IDLE_TIMEOUT = 0.3, 0.2
    directives = ["eof", "half", "cut", "error", "stall", "hang", "refuse", "429", "500", "badjson", "die:2", "redirect", "html", "ok"]
    async with Simulator() as sim:
        await hear(kind, ask("warm"), target(sim, kind))
        before = asyncio.all_tasks()

        async def one(number: int) -> None:
            with contextlib.suppress(errors.ProviderError):
                await hear(kind, ask(f"[[sim:{directives[number % len(directives)]},chunks=8]] hi"), target(sim, kind))

        await asyncio.gather(*(one(number) for number in range(98)))
        await until(lambda: all(seen.ended_at or seen.client_gone for seen in sim.requests))
        gc.collect()
        await until(lambda: asyncio.all_tasks() == before)
        # What is left are connections whose answer was whole: idle, and used again.
        left = sim.open_connections
        assert sim.busy_connections == 0
        await hear(kind, ask("still there?"), target(sim, kind))
        assert sim.open_connections == left
        await transport.close()
        await until(lambda: sim.open_connections == 0)


@both
@every_vendor
async def test_a_redirect_is_not_followed_with_our_key(kind: str, whole: bool):
    async with Simulator() as sim, Simulator() as elsewhere:
        sim.redirect_to = elsewhere.openai_url + "/chat/completions"
        assert type(await fault(sim, kind, "redirect", whole)) is ProviderBadResponse
        assert len(elsewhere.requests) == 0
        await hear(kind, ask("again"), target(sim, kind), whole=whole)
        assert "cookie" not in sim.requests[-1].headers  # nor was its cookie kept


@both
@every_vendor
async def test_the_environments_proxy_and_keys_are_not_used(monkeypatch, kind: str, whole: bool):
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    for name in ("OPENAI_ORG_ID", "OPENAI_PROJECT_ID", "GOOGLE_API_KEY", "ANTHROPIC_AUTH_TOKEN", "OPENAI_API_KEY"):
        monkeypatch.setenv(name, "from-the-environment")
    async with Simulator() as sim:
        assert (await hear(kind, ask("hi"), target(sim, kind, model=f"env-{whole}"), whole=whole)).text
        assert "from-the-environment" not in str(sim.requests[0].headers)
        assert KEY in str(sim.requests[0].headers)


@every_vendor
async def test_text_that_no_database_can_hold_is_cleaned(kind: str):
    from agents.providers.anthropic.answer import MessageAnswer
    from agents.providers.google.answer import GeminiAnswer
    from agents.providers.openai.answer import ChatAnswer

    text = rb'"a\u0000b\ud83dc"'
    payload = {
        "openai": (ChatAnswer(True), b'{"choices":[{"delta":{"content":%b}}]}' % text),
        "anthropic": (MessageAnswer(), b'{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":%b}}' % text),
        "google": (GeminiAnswer(), b'{"candidates":[{"content":{"parts":[{"text":%b}]}}]}' % text),
    }
    answer, event = payload[kind]
    assert [one.text for one in answer.feed([event])] == ["ab?c"]
