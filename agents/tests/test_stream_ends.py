"""The end of a vendor's stream: the last event counts though its empty line is missing, a torn one does not."""

from __future__ import annotations

import json
from typing import Any

import pytest

from agents.providers.base import Target
from agents.providers.errors import ProviderTruncated
from agents.providers.transport import EventSplitter
from agents.tests.scripted import MODELS, Scripted, anthropic_sdk, sse
from agents.tests.vendors import KEY, Heard, ask, hear

STREAMS: dict[str, list[dict[str, Any]]] = {
    "openai": [
        {"choices": [{"delta": {"content": "Hello"}}]},
        {"choices": [{"delta": {}, "finish_reason": "stop"}], "usage": {"prompt_tokens": 3, "completion_tokens": 1}},
    ],
    "anthropic": [
        {"type": "message_start", "message": {"usage": {"input_tokens": 3, "output_tokens": 1}}},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "Hello"}},
        {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 1}},
        {"type": "message_stop"},
    ],
    "google": [
        {"candidates": [{"content": {"parts": [{"text": "Hello"}]}}]},
        {"candidates": [{"finishReason": "STOP"}], "usageMetadata": {"promptTokenCount": 3, "candidatesTokenCount": 1}},
    ],
}
STREAMS["openai_compatible"] = STREAMS["openai"]
every_kind = pytest.mark.parametrize("kind", STREAMS)


async def heard(kind: str, body: bytes, settings: Any) -> Heard:
    async with Scripted(body).serve(settings):
        return await hear(kind, ask("hi"), Target(kind, "gemini-x", settings.SIMULATOR_URL, KEY, 1000))


def lines(kind: str) -> list[bytes]:
    return [b"data: " + json.dumps(event).encode() for event in STREAMS[kind]]


@every_kind
@pytest.mark.parametrize("ending", [b"\n", b"", b"\r\n", b"\r"])
async def test_a_last_event_without_an_empty_line_counts(kind: str, ending: bytes, settings):
    found = await heard(kind, b"\n\n".join(lines(kind)) + ending, settings)
    assert found.text == "Hello" and found.end.finish_reason == "stop"
    assert found.end.usage and (found.end.usage.input_tokens, found.end.usage.output_tokens) == (3, 1)


@every_kind
@pytest.mark.parametrize("done", [b"", b"\ndata: [DONE]", b"\ndata: [DONE]\n"])
async def test_events_that_end_with_one_line_break_each_count(kind: str, done: bytes, settings):
    found = await heard(kind, b"\n".join(lines(kind)) + done, settings)
    assert found.text == "Hello" and found.end.finish_reason == "stop"


@every_kind
async def test_a_torn_last_event_does_not_count(kind: str, settings):
    *whole, last = lines(kind)
    if kind == "anthropic":
        *whole, last = whole
    for cut in (1, 2, len(last) // 2, len(last) - 8):
        with pytest.raises(ProviderTruncated):
            await heard(kind, b"\n\n".join([*whole, last[:-cut]]), settings)


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("ending", [b"\n\n", b"\n", b""])
async def test_a_stream_that_passes_through_counts_its_last_event_too(caller, settings, ending: bytes):
    events: list[Any] = [{"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}}]
    first, delta, *rest = STREAMS["anthropic"]
    started = {"id": "msg_1", "type": "message", "role": "assistant", "model": "m", "content": [], **first["message"]}
    events = [{**first, "message": started}, *events, delta, {"type": "content_block_stop", "index": 0}, *rest]
    body = sse(*events).removesuffix(b"\n\n") + ending
    async with Scripted(body).serve(settings), anthropic_sdk(caller) as client:
        question: Any = {"model": MODELS["anthropic"], "max_tokens": 50, "messages": [{"role": "user", "content": "hi"}]}
        async with client.messages.stream(**question) as stream:
            answer = await stream.get_final_message()
    assert answer.stop_reason == "end_turn" and answer.content[0].text == "Hello"  # type: ignore[union-attr]  # it is text


def test_the_rest_is_given_once_and_only_what_is_whole():
    splitter = EventSplitter()
    assert splitter.feed(b'data: {"a":1}\n\nevent: x\ndata: {"b":\ndata: 2}') == [b'{"a":1}']
    assert splitter.rest() == [b'{"b":\n2}']
    assert splitter.rest() == []
    splitter.feed(b": comment\ndata: 12")
    assert splitter.rest() == []
