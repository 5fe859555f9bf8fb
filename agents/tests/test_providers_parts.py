"""The small parts: event splitting, reading of errors, the pool of connections, odd events of each wire."""

from __future__ import annotations

import asyncio
import itertools
import sys
import threading
from collections import OrderedDict
from dataclasses import replace

import aiohttp
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.events import Completed, ReasoningDelta, TextDelta
from agents.providers import errors, provider, relay, transport
from agents.providers.answer import MAX_OUTPUT_CHARACTERS
from agents.providers.anthropic.answer import MessageAnswer
from agents.providers.errors import ProviderBadResponse, ProviderError, clean, error_from_status
from agents.providers.google.answer import GeminiAnswer
from agents.providers.openai.answer import ChatAnswer
from agents.providers.relay import network_error
from agents.providers.transport import EventSplitter
from agents.simulator import Simulator
from agents.tests.vendors import KEY, VENDORS, ask, hear, target
from tests.kit.waiting import until


@given(
    payloads=st.lists(st.binary(min_size=1).filter(lambda raw: b"\n" not in raw and b"\r" not in raw and raw.strip() == raw), max_size=8),
    ending=st.sampled_from([b"\n", b"\r\n"]),
    cuts=st.lists(st.integers(0, 400), max_size=12),
)
def test_events_are_the_same_wherever_the_network_cuts_them(payloads: list[bytes], ending: bytes, cuts: list[int]):
    raw = b"".join(b"data: " + payload + ending + ending for payload in payloads)
    places = sorted({0, len(raw), *(cut for cut in cuts if cut < len(raw))})
    splitter = EventSplitter()
    got = [one for start, end in itertools.pairwise(places) for one in splitter.feed(raw[start:end]) or []]
    assert got == payloads


def test_comments_names_and_several_data_lines():
    splitter = EventSplitter()
    assert splitter.feed(b": keep-alive\n\n") == []
    assert splitter.feed(b"event: x\nid: 1\ndata:a\ndata: b\n\ndata: torn") == [b"a\nb"]
    assert splitter.feed(b" no") is None


def test_an_event_without_end_is_refused_after_the_whole_ones_were_given_out():
    splitter = EventSplitter(limit=100)
    assert splitter.feed(b"data: 1\n\ndata: " + b"x" * 200) == [b"1"]
    with pytest.raises(ProviderBadResponse):
        splitter.feed(b"x")


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        ("Incorrect key: sk-proj-abc***wxyz.", "Incorrect key: [removed]"),
        ("Bearer abcdefgh123 was wrong", "[removed] was wrong"),
        ("AIzaSyA-1234567 invalid", "[removed] invalid"),
        ("see https://user:pw@10.0.0.1/x?key=1 now", "see [link] now"),
        ("<html><body>nginx</body></html>", ""),
        ('{"internal": "dump"}', ""),
        ("two\nlines\x00 and\x1b[31m more", "two lines and [31m more"),
        (f"my {KEY} leaks", "my [removed] leaks"),
        ("x" * 500, "x" * 299 + "…"),
        ("\ud800 half", "half"),
    ],
)
def test_a_vendors_text_is_cleaned(said: str, shown: str):
    assert clean(said, (KEY, "", "abc")) == shown


def test_milliseconds_are_read_and_the_past_is_no_wish():
    assert errors.retry_after({"retry-after-ms": "1500", "retry-after": "9"}) == 1.5
    assert errors.retry_after({"retry-after": "Wed, 21 Oct 2015 07:28:00 GMT"}) is None
    assert errors.retry_after({"retry-after": "Wed, 21 Oct 2099 07:28:00 -0000"}) > 1e9
    assert errors.retry_after({"retry-after": "inf"}) is None
    assert errors.retry_after({}) is None


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("overloaded_error", errors.ProviderOverloaded), ("rate_limit_error", errors.ProviderRateLimited),
        ("authentication_error", errors.ProviderAuthFailed), ("billing_error", errors.ProviderQuotaExhausted),
        ("invalid_request_error", errors.ProviderBadRequest), ("timeout_error", errors.ProviderTimeout),
        ("context_length_exceeded", errors.ContextTooLong), ("insufficient_quota", errors.ProviderQuotaExhausted),
        ("something_new", errors.ProviderUnavailable), ("", errors.ProviderUnavailable),
    ],
)  # fmt: skip
def test_an_error_inside_a_200_is_classified_by_its_type(kind: str, expected: type):
    assert type(error_from_status(200, vendor="v", vendor_type=kind)) is expected


def test_every_error_class_has_its_own_code_and_a_sane_status():
    classes = [cls for cls in vars(errors).values() if isinstance(cls, type) and issubclass(cls, ProviderError)]
    assert len({cls.code for cls in classes}) == len(classes) > 12
    assert all(cls.status in (400, 502, 503, 504) for cls in classes)
    assert not errors.ProviderBadRequest.opens_breaker and not errors.ContextTooLong.retryable


@pytest.mark.parametrize(
    ("raised", "expected"),
    [
        (aiohttp.ConnectionTimeoutError("x"), errors.ProviderTimeout), (aiohttp.SocketTimeoutError("x"), errors.ProviderTimeout),
        (aiohttp.ServerDisconnectedError("x"), errors.ProviderUnavailable), (aiohttp.InvalidURL("x"), errors.ProviderUnavailable),
        (ConnectionResetError(), errors.ProviderUnavailable), (ValueError(), type(None)),
    ],
)  # fmt: skip
def test_the_networks_errors_have_ours(raised: Exception, expected: type):
    assert type(network_error(raised)) is expected


async def test_an_unexpected_error_of_our_own_is_not_dressed_up_as_a_vendors(monkeypatch):
    async def broken(*_, **__):
        raise LookupError("a bug of ours")

    adapter = provider("openai")
    monkeypatch.setattr(type(adapter), "post", broken)
    with pytest.raises(LookupError):
        await hear("openai", ask("hi"), target(Simulator(), "openai"))


# Odd events that single servers send.


def test_openai_servers_speak_dialects():
    answer = ChatAnswer(True)
    events = answer.feed(
        [
            b'{"choices":[{"delta":{"role":"assistant","reasoning":"hm","content":null}}]}',
            b'{"choices":[{"delta":{"content":"A","tool_calls":[{"id":"c","function":{"name":"f","arguments":"{}"}}]}}]}',
            b'{"choices":[{"delta":{"tool_calls":[{"index":1,"function":{"name":"g"}}]}}],"usage":null}',
            b'{"choices":[{"delta":null,"finish_reason":"function_call"}]}',
            b"[DONE]",
        ]
    )
    assert [type(event).__name__ for event in events] == ["ReasoningDelta", "TextDelta", "ToolCall", "ToolCall"]
    assert events[2].call_id == "c" and events[3].arguments == "{}" and events[3].call_id.startswith("call_")
    assert answer.closed and answer.end() == [Completed("tool_calls", None)]


@pytest.mark.parametrize(
    ("code", "expected"), [(429, errors.ProviderRateLimited), ('"x"', errors.ProviderUnavailable), (7, errors.ProviderUnavailable)]
)
def test_an_openai_error_object_in_a_200(code, expected: type):
    body = b'{"error":{"message":"m","code":%b}}' % str(code).encode()
    answer = ChatAnswer(True)
    answer.feed([body])
    assert type(answer.error) is expected
    with pytest.raises(expected):
        ChatAnswer(True).feed_whole(body)
    with pytest.raises(errors.ProviderUnavailable):
        ChatAnswer(True).feed_whole(b'{"error":"just words"}')


def test_anthropic_blocks_that_start_with_content_and_redacted_thinking():
    answer = MessageAnswer()
    start = b'{"type":"content_block_start","index":%d,"content_block":%b}'
    events = answer.feed(
        [
            start % (0, b'{"type":"thinking","thinking":"hm"}'),
            start % (1, b'{"type":"redacted_thinking","data":"zzz"}'),
            start % (2, b'{"type":"text","text":"A"}'),
            start % (3, b'{"type":"tool_use","id":"t","name":"f","input":{"a":1}}'),
            b'{"type":"content_block_stop","index":2}',
            b'{"type":"content_block_stop","index":3}',
        ]
    )
    assert events[:3] == [ReasoningDelta("hm"), ReasoningDelta("", "redacted:zzz"), TextDelta("A")]
    assert events[3].arguments == '{"a":1}'
    assert not answer.closed
    with pytest.raises(errors.ProviderOverloaded):
        MessageAnswer().feed_whole(b'{"type":"error","error":{"type":"overloaded_error"}}')


def test_a_prompt_that_gemini_blocks_ends_filtered():
    assert GeminiAnswer().feed_whole(b'{"promptFeedback":{"blockReason":"SAFETY"}}') == [Completed("content_filter", None)]


def test_a_gemini_call_without_id_gets_one():
    events = GeminiAnswer().feed([b'{"candidates":[{"content":{"parts":[{"functionCall":{"name":"f"}}]}}]}'])
    assert events[0].call_id.startswith("aia_call_") and events[0].arguments == "{}"


@pytest.mark.parametrize("make", [lambda: ChatAnswer(True), MessageAnswer, GeminiAnswer])
@pytest.mark.parametrize(
    "event", [b"[]", b"null", b"7", b'"x"', b'{"choices":7,"type":7,"candidates":7}', b"[" * 100_000, b'{"type":"content_block_delta"}']
)
def test_json_that_is_no_event_is_a_bad_response_or_ignored(make, event: bytes):
    answer = make()
    answer.feed([event])
    assert answer.error is None or type(answer.error) is ProviderBadResponse
    with pytest.raises(ProviderError):
        make().feed_whole(event)


@pytest.mark.parametrize("fragment", [b'{"content":"%b"}', b'{"tool_calls":[{"index":0,"function":{"arguments":"%b"}}]}'])
def test_the_sum_of_all_text_and_arguments_is_bounded(fragment: bytes):
    answer = ChatAnswer(True)
    event = b'{"choices":[{"delta":' + fragment % (b"x" * 1_000_000) + b"}]}"
    fed = 0
    while answer.error is None:
        answer.feed([event])
        fed += 1
        assert fed <= MAX_OUTPUT_CHARACTERS // 1_000_000 + 1
    assert type(answer.error) is ProviderBadResponse


# The pool.


@pytest.mark.parametrize("kind", VENDORS)
async def test_calls_one_after_another_share_one_connection(kind: str):
    async with Simulator() as sim:
        for number in range(6):
            await hear(kind, ask("[[sim:chunks=5,pace=2]] hi"), target(sim, kind), whole=bool(number % 2))
        assert sim.open_connections == 1


async def test_addresses_are_kept_per_key_and_the_oldest_forgotten_without_harm(monkeypatch):
    monkeypatch.setattr(relay, "MOST_ADDRESSES", 2)
    monkeypatch.setattr(relay, "known_addresses", OrderedDict())
    adapter = provider("openai")
    async with Simulator() as sim:

        async def at(key: str) -> relay.Address:
            return await adapter.address(replace(target(sim, "openai"), api_key=key), stream=True)

        first = await at("a")
        assert await at("a") is first and first.headers["authorization"] == "Bearer a"
        await at("b")
        await at("c")
        assert await at("b") is await at("b")
        again = await at("a")
        assert again is not first and again.headers == first.headers


async def test_an_address_does_not_show_its_key():
    async with Simulator() as sim:
        where = await provider("anthropic").address(replace(target(sim, "anthropic"), api_key="sk-very-secret"), stream=True)
        assert "secret" not in repr(where) and where.headers["authorization"] == "Bearer sk-very-secret"


def test_connections_close_with_their_loop_and_loops_do_not_share(monkeypatch):
    from agents.simulator import SimulatorThread

    with SimulatorThread() as sim:
        for _ in range(2):
            assert asyncio.run(hear("openai", ask("hi"), target(sim, "openai"))).text
        done: list[str] = []
        threads = [
            threading.Thread(target=lambda: done.append(asyncio.run(hear("anthropic", ask("hi"), target(sim, "anthropic"))).text))
            for _ in range(3)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(done) == 3
        asyncio.run(until(lambda: sim.open_connections == 0))

        async def pools() -> int:
            await transport.pool()
            return len([loop for loop in transport.pools_by_loop if loop.is_closed()])

        assert asyncio.run(pools()) == 0


async def test_a_closed_pool_is_opened_again():
    async with Simulator() as sim:
        await hear("openai", ask("hi"), target(sim, "openai"))
        await transport.close()
        await until(lambda: sim.open_connections == 0)
        await transport.close()
        assert (await hear("openai", ask("hi"), target(sim, "openai"))).text


def test_no_sdk_is_imported_before_it_is_needed():
    import subprocess

    names = ("openai", "anthropic", "google.genai")
    code = f"import django, sys; django.setup(); import agents.calls; print([name for name in {names} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout.strip().endswith("[]"), done.stdout + done.stderr[-2000:]
